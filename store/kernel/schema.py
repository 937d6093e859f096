"""Every table of the record of truth, one schema for SQLite and SQL Server.

What must never be broken is a constraint here and not only a check in code: one active transfer of an image
to a device, one notification of a kind and number, one release of a member, one patch of (target, sources, profile),
one bundle of a number on a device. Source: docs/schema.md.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)

from contracts.states import ACTIVE_TRANSFER
from store.kernel.types import Json, UtcDateTime, blob, key, long_text, text

DIGEST = 71
"""Characters of ``sha256:`` and 64 hex digits."""
ID = 64
REFERENCE = 255
DEVICE = 128
NAME = 64
HOURS = 200

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

counters = Table(
    "counters",
    metadata,
    Column("name", key(NAME), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

# ---------------------------------------------------------------- images

layers = Table(
    "layers",
    metadata,
    Column("diff_id", key(DIGEST), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("file_index", key(DIGEST), nullable=False),
)

images = Table(
    "images",
    metadata,
    Column("image_id", key(DIGEST), primary_key=True),
    Column("platform", key(NAME), nullable=False),
    Column("config", blob(), nullable=False),
    Column("full_bytes", BigInteger, nullable=False),
    Column("signature", key(DIGEST), nullable=False),
    Column("registered_at", UtcDateTime, nullable=False),
)

image_layers = Table(
    "image_layers",
    metadata,
    Column("image_id", ForeignKey("images.image_id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("diff_id", ForeignKey("layers.diff_id"), nullable=False, index=True),
    PrimaryKeyConstraint("image_id", "position"),
)

image_references = Table(
    "image_references",
    metadata,
    Column("reference", key(REFERENCE), nullable=False),
    Column("platform", key(NAME), nullable=False),
    Column("image_id", ForeignKey("images.image_id"), nullable=False, index=True),
    Column("since", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("reference", "platform"),
)

image_origins = Table(
    "image_origins",
    metadata,
    Column("image_id", ForeignKey("images.image_id"), nullable=False),
    Column("origin", key(NAME), nullable=False),
    Column("repository", key(REFERENCE), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("image_id", "origin", "repository"),
    Index("ix_image_origins_repository_at", "repository", "at"),
)

registrations = Table(
    "registrations",
    metadata,
    Column("registration_id", key(ID), primary_key=True),
    Column("state", key(NAME), nullable=False, index=True),
    Column("origin", Json, nullable=False),
    Column("reference", key(REFERENCE)),
    Column("platform", key(NAME)),
    Column("images", Json, nullable=False),
    Column("code", key(NAME)),
    Column("detail", long_text()),
    Column("requested_by", text(256), nullable=False),
    Column("requested_at", UtcDateTime, nullable=False),
)

# ---------------------------------------------------------------- devices

devices = Table(
    "devices",
    metadata,
    Column("device_id", key(DEVICE), primary_key=True),
    Column("state", key(NAME), nullable=False),
    Column("hub", key(NAME), nullable=False),
    Column("hub_device_id", key(DEVICE), nullable=False),
    Column("platform", key(NAME), nullable=False),
    Column("also_runs", Json, nullable=False),
    Column("registry_address", key(REFERENCE)),
    Column("bytes_per_second", Float),
    Column("money_per_megabyte", Float),
    Column("link_rate", BigInteger),
    Column("link_hours", key(HOURS)),
    Column("installation_id", text(256)),
    Column("profiles", Json, nullable=False),
    Column("trusted_keys", Json, nullable=False),
    Column("bundle_forms", Json, nullable=False),
    Column("free_disk_bytes", BigInteger),
    Column("held_reason", text(256)),
    Column("last_inventory_at", UtcDateTime),
    Column("enrolled_at", UtcDateTime, nullable=False),
    Column("resync", Integer, nullable=False),
    Column("last_number", BigInteger, nullable=False),
    Column("twin_code", key(NAME)),
    Column("desired_digest", key(DIGEST)),
    Column("outbox_renew_after", UtcDateTime),
    Column("sync_at", UtcDateTime, index=True),
    Column("sync_tries", Integer, nullable=False, default=0),
    Column("heard_at", UtcDateTime),
    Column("silent_at", UtcDateTime, index=True),
    Column("silent_since", UtcDateTime, index=True),
    Column("hub_seen_at", UtcDateTime),
    Column("missing_since", UtcDateTime, index=True),
    Column("locks", BigInteger, nullable=False),
)

_bound = devices.c.state != "retired"
Index(
    "uq_devices_binding",
    devices.c.hub,
    devices.c.hub_device_id,
    unique=True,
    sqlite_where=_bound,
    mssql_where=_bound,
)
Index("ix_devices_hub_hub_device_id", devices.c.hub, devices.c.hub_device_id)

old_bindings = Table(
    "old_bindings",
    metadata,
    Column("hub", key(NAME), nullable=False),
    Column("hub_device_id", key(DEVICE), nullable=False),
    Column("device_id", ForeignKey("devices.device_id"), nullable=False),
    Column("ended_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("hub", "hub_device_id"),
)

hub_readings = Table(
    "hub_readings",
    metadata,
    Column("hub", key(NAME), primary_key=True),
    Column("read_at", UtcDateTime, index=True),
    Column("tries", Integer, nullable=False),
    Column("began_at", UtcDateTime),
    Column("after", long_text()),
    Column("ended_at", UtcDateTime),
    Column("code", key(NAME)),
    Column("detail", long_text()),
)

device_tags = Table(
    "device_tags",
    metadata,
    Column("device_id", ForeignKey("devices.device_id"), nullable=False),
    Column("name", key(NAME), nullable=False),
    Column("value", text(256), nullable=False),
    PrimaryKeyConstraint("device_id", "name"),
    Index("ix_device_tags_name_value", "name", "value"),
)

device_images = Table(
    "device_images",
    metadata,
    Column("device_id", ForeignKey("devices.device_id"), nullable=False),
    Column("image_id", key(DIGEST), nullable=False),
    Column("references", Json, nullable=False),
    Column("local_digest", text(256)),
    Column("seen_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("device_id", "image_id"),
    Index("ix_device_images_image_id_device_id", "image_id", "device_id"),
)

device_installations = Table(
    "device_installations",
    metadata,
    Column("device_id", ForeignKey("devices.device_id"), nullable=False),
    Column("installation_id", text(256), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("first_at", UtcDateTime, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("device_id", "installation_id"),
)

# ---------------------------------------------------------------- sets

sets = Table(
    "deployment_sets",
    metadata,
    Column("set_id", key(ID), primary_key=True),
    Column("ordinal", BigInteger, nullable=False, unique=True),
    Column("state", key(NAME), nullable=False),
    Column("name", text(128), nullable=False),
    Column("workstream", key(NAME), nullable=False),
    Column("owner_name", text(128), nullable=False),
    Column("owner_email", text(256), nullable=False),
    Column("ordered_by", text(256), nullable=False),
    Column("priority", key(NAME)),
    Column("release_policy", key(NAME), nullable=False),
    Column("release_by", key(NAME), nullable=False),
    Column("canaries", Json, nullable=False),
    Column("promoted", Boolean, nullable=False),
    Column("deadline", UtcDateTime),
    Column("overdue", Boolean, nullable=False),
    Column("max_bytes_per_device", BigInteger),
    Column("max_bytes", BigInteger),
    Column("allow_full_bundles", Boolean, nullable=False),
    Column("approved_by", text(256)),
    Column("manifest", Json),
    Column("images", Json, nullable=False),
    Column("release_requested", Boolean, nullable=False),
    Column("code", key(NAME)),
    Column("detail", long_text()),
    Column("asked_bytes", BigInteger),
    Column("rollback_of", key(ID)),
    Column("trace", key(NAME)),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("settled_at", UtcDateTime),
    Column("settle_at", UtcDateTime, index=True),
    Column("plan_at", UtcDateTime, index=True),
    Column("locks", BigInteger, nullable=False),
    Index("ix_deployment_sets_state_ordinal", "state", "ordinal"),
    Index("ix_deployment_sets_workstream_ordinal", "workstream", "ordinal"),
    Index("ix_deployment_sets_owner_email_ordinal", "owner_email", "ordinal"),
)

members = Table(
    "members",
    metadata,
    Column("set_id", ForeignKey("deployment_sets.set_id"), nullable=False),
    Column("device_id", ForeignKey("devices.device_id"), nullable=False),
    Column("state", key(NAME), nullable=False),
    Column("code", key(NAME)),
    Column("detail", long_text()),
    Column("agent_version", BigInteger),
    Column("lease_until", UtcDateTime),
    Column("released_version", BigInteger),
    Column("released_at", UtcDateTime),
    Column("seen_at", UtcDateTime),
    Column("plan_at", UtcDateTime),
    Column("next_try_at", UtcDateTime),
    Column("tries", Integer, nullable=False, default=0),
    Column("updated_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("set_id", "device_id"),
    Index("ix_members_set_id_plan_at", "set_id", "plan_at"),
    Index("ix_members_device_id_state", "device_id", "state"),
    Index("ix_members_state_next_try_at", "state", "next_try_at"),
    Index("ix_members_set_id_state_next_try_at", "set_id", "state", "next_try_at"),
)

# ---------------------------------------------------------------- patches, transfers, bundles

patches = Table(
    "patches",
    metadata,
    Column("patch_id", key(ID), primary_key=True),
    Column("target", key(DIGEST), nullable=False),
    Column("sources_key", key(NAME), nullable=False),
    Column("sources", Json, nullable=False),
    Column("profile", key(NAME), nullable=False),
    Column("state", key(NAME), nullable=False),
    Column("worker", text(256)),
    Column("lease_until", UtcDateTime),
    Column("next_try_at", UtcDateTime),
    Column("prepare_at", UtcDateTime, index=True),
    Column("tries", Integer, nullable=False, default=0),
    Column("blob", key(REFERENCE)),
    Column("bytes", BigInteger),
    Column("sha256", key(DIGEST)),
    Column("crc32", BigInteger),
    Column("chunks", key(DIGEST)),
    Column("memory_bytes", BigInteger),
    Column("estimated_bytes", BigInteger),
    Column("code", key(NAME)),
    Column("detail", long_text()),
    Column("bytes_read", BigInteger),
    Column("seconds", Float),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("target", "sources_key", "profile"),
    Index("ix_patches_state_next_try_at", "state", "next_try_at"),
    Index("ix_patches_created_at_patch_id", "created_at", "patch_id"),
)

transfers = Table(
    "transfers",
    metadata,
    Column("transfer_id", key(ID), primary_key=True),
    Column("device_id", ForeignKey("devices.device_id"), nullable=False),
    Column("image_id", ForeignKey("images.image_id"), nullable=False, index=True),
    Column("reference", key(REFERENCE), nullable=False),
    Column("state", key(NAME), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("sources", Json),
    Column("refused_sources", Json, nullable=False),
    Column("patch_id", ForeignKey("patches.patch_id")),
    Column("priority", key(NAME), nullable=False),
    Column("estimated_bytes", BigInteger),
    Column("full_bytes", BigInteger, nullable=False),
    Column("code", key(NAME)),
    Column("detail", long_text()),
    Column("unregistered", Json),
    Column("local_digest", text(256)),
    Column("evidence_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Index("ix_transfers_state_created_at", "state", "created_at"),
    Index("ix_transfers_patch_id_transfer_id", "patch_id", "transfer_id"),
    Index("ix_transfers_created_at_transfer_id", "created_at", "transfer_id"),
)

_active = transfers.c.state.in_(sorted(ACTIVE_TRANSFER))
Index(
    "uq_transfers_active",
    transfers.c.device_id,
    transfers.c.image_id,
    unique=True,
    sqlite_where=_active,
    mssql_where=_active,
)
Index("ix_transfers_device_id_image_id", transfers.c.device_id, transfers.c.image_id)

member_transfers = Table(
    "member_transfers",
    metadata,
    Column("set_id", ForeignKey("deployment_sets.set_id"), nullable=False),
    Column("device_id", ForeignKey("devices.device_id"), nullable=False),
    Column("image_id", ForeignKey("images.image_id"), nullable=False),
    Column("transfer_id", ForeignKey("transfers.transfer_id"), nullable=False, index=True),
    Column("reference", key(REFERENCE), nullable=False),
    Column("since_attempt", Integer, nullable=False),
    Column("until_attempt", Integer),
    Column("planned_before", BigInteger, nullable=False),
    Column("sent_before", BigInteger, nullable=False),
    PrimaryKeyConstraint("set_id", "device_id", "image_id"),
)

bundles = Table(
    "bundles",
    metadata,
    Column("transfer_id", ForeignKey("transfers.transfer_id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("device_id", ForeignKey("devices.device_id"), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("lowest", BigInteger, nullable=False),
    Column("blob", key(REFERENCE)),
    Column("estimated_bytes", BigInteger, nullable=False),
    Column("bytes", BigInteger),
    Column("published_at", UtcDateTime),
    Column("received_at", UtcDateTime),
    Column("bytes_fetched", BigInteger),
    Column("seconds_on_link", Float),
    Column("revoked_at", UtcDateTime),
    PrimaryKeyConstraint("transfer_id", "attempt"),
    UniqueConstraint("device_id", "number"),
)

# ---------------------------------------------------------------- what happened

history = Table(
    "history",
    metadata,
    Column("event_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", UtcDateTime, nullable=False),
    Column("hour", UtcDateTime, nullable=False),
    Column("kind", key(NAME), nullable=False),
    Column("set_id", ForeignKey("deployment_sets.set_id"), index=True),
    Column("transfer_id", ForeignKey("transfers.transfer_id"), index=True),
    Column("subject", key(DEVICE), nullable=False),
    Column("attempt", Integer),
    Column("sequence", Integer),
    Column("old", key(NAME)),
    Column("new", key(NAME), nullable=False),
    Column("code", key(NAME)),
    Column("detail", long_text()),
    Column("who", text(256)),
    Column("bytes", BigInteger),
    Index("ix_history_kind_hour", "kind", "hour"),
    sqlite_autoincrement=True,
)

transfer_hours = Table(
    "transfer_hours",
    metadata,
    Column("hour", UtcDateTime, primary_key=True),
    Column("succeeded", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)

notifications = Table(
    "notifications",
    metadata,
    Column("notification_id", key(ID), primary_key=True),
    Column("set_id", ForeignKey("deployment_sets.set_id"), nullable=False),
    Column("channel", key(NAME), nullable=False),
    Column("kind", key(NAME), nullable=False),
    Column("number", Integer, nullable=False),
    Column("recipient", text(256)),
    Column("subject", text(256)),
    Column("body", long_text()),
    Column("state", key(NAME), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("not_before", UtcDateTime, nullable=False),
    Column("detail", long_text()),
    Column("created_at", UtcDateTime, nullable=False),
    Column("sent_at", UtcDateTime),
    Column("locks", BigInteger, nullable=False),
    UniqueConstraint("set_id", "channel", "kind", "number"),
    Index("ix_notifications_state_not_before", "state", "not_before"),
)

heartbeats = Table(
    "heartbeats",
    metadata,
    Column("kind", key(NAME), primary_key=True),
    Column("done_at", UtcDateTime, nullable=False),
    Column("failed_at", UtcDateTime),
    Column("code", key(NAME)),
    Column("lease_until", UtcDateTime),
)

releases = Table(
    "releases",
    metadata,
    Column("set_id", ForeignKey("deployment_sets.set_id"), nullable=False),
    Column("device_id", ForeignKey("devices.device_id"), nullable=False, index=True),
    Column("hub", key(NAME), nullable=False),
    Column("workstream", key(NAME), nullable=False),
    Column("modules", Json, nullable=False),
    Column("content", Json, nullable=False),
    Column("previous", Json, nullable=False),
    Column("base_version", BigInteger),
    Column("version", BigInteger, nullable=False),
    Column("applied_by_us", Boolean, nullable=False),
    Column("layer_id", key(DEVICE)),
    Column("released_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("set_id", "device_id"),
    Index("ix_releases_layer_id_device_id", "layer_id", "device_id"),
)

hub_layers = Table(
    "hub_layers",
    metadata,
    Column("hub", key(NAME), nullable=False),
    Column("layer_id", key(DEVICE), nullable=False),
    Column("set_id", key(ID), nullable=False),
    Column("workstream", key(NAME), nullable=False),
    Column("wanted_at", UtcDateTime, nullable=False),
    Column("made_at", UtcDateTime),
    Column("look_at", UtcDateTime, index=True),
    Column("leaves_until", UtcDateTime),
    PrimaryKeyConstraint("hub", "layer_id"),
    Index("ix_hub_layers_hub_workstream", "hub", "workstream"),
)

audit = Table(
    "audit",
    metadata,
    Column("entry_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("order_id", key(ID), nullable=False, unique=True),
    Column("request_digest", key(DIGEST), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("who", text(256), nullable=False),
    Column("how", key(NAME), nullable=False),
    Column("action", key(NAME), nullable=False),
    Column("subject", key(REFERENCE), nullable=False),
    Column("detail", Json, nullable=False),
    Index("ix_audit_at_entry_id", "at", "entry_id"),
    Index("ix_audit_who_at_entry_id", "who", "at", "entry_id"),
    Index("ix_audit_action_at_entry_id", "action", "at", "entry_id"),
    Index("ix_audit_subject_at_entry_id", "subject", "at", "entry_id"),
    sqlite_autoincrement=True,
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("entry_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("hub", key(NAME), nullable=False),
    Column("device_id", key(DEVICE), nullable=False),
    Column("module_id", key(DEVICE), nullable=False),
    Column("reason", key(NAME), nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("first_at", UtcDateTime, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("kept_at", UtcDateTime, nullable=False),
    Column("detail", long_text(), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("body", blob(), nullable=False),
    Column("properties", Json, nullable=False),
    UniqueConstraint("device_id", "module_id", "reason", "hub"),
    Index("ix_quarantine_at_entry_id", "at", "entry_id", "bytes"),
    sqlite_autoincrement=True,
)
