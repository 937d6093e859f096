"""first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from store.kernel import types

revision = "20261129"
down_revision = None
branch_labels = None
depends_on = None

ACTIVE = sa.text(
    "state IN ('applying', 'blocked', 'building', 'published', 'queued', 'received', 'receiving', 'source_missing')"
)


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("entry_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("order_id", types.key(64), nullable=False),
        sa.Column("request_digest", types.key(71), nullable=False),
        sa.Column("at", types.UtcDateTime(), nullable=False),
        sa.Column("who", types.text(256), nullable=False),
        sa.Column("how", types.key(64), nullable=False),
        sa.Column("action", types.key(64), nullable=False),
        sa.Column("subject", types.key(255), nullable=False),
        sa.Column("detail", types.Json(), nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_audit")),
        sa.UniqueConstraint("order_id", name=op.f("uq_audit_order_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_action_at_entry_id", "audit", ["action", "at", "entry_id"], unique=False)
    op.create_index("ix_audit_at_entry_id", "audit", ["at", "entry_id"], unique=False)
    op.create_index("ix_audit_subject_at_entry_id", "audit", ["subject", "at", "entry_id"], unique=False)
    op.create_index("ix_audit_who_at_entry_id", "audit", ["who", "at", "entry_id"], unique=False)
    op.create_table(
        "counters",
        sa.Column("name", types.key(64), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counters")),
    )
    op.create_table(
        "deployment_sets",
        sa.Column("set_id", types.key(64), nullable=False),
        sa.Column("ordinal", sa.BigInteger(), nullable=False),
        sa.Column("state", types.key(64), nullable=False),
        sa.Column("name", types.text(128), nullable=False),
        sa.Column("workstream", types.key(64), nullable=False),
        sa.Column("owner_name", types.text(128), nullable=False),
        sa.Column("owner_email", types.text(256), nullable=False),
        sa.Column("ordered_by", types.text(256), nullable=False),
        sa.Column("priority", types.key(64), nullable=True),
        sa.Column("release_policy", types.key(64), nullable=False),
        sa.Column("release_by", types.key(64), nullable=False),
        sa.Column("canaries", types.Json(), nullable=False),
        sa.Column("promoted", sa.Boolean(), nullable=False),
        sa.Column("deadline", types.UtcDateTime(), nullable=True),
        sa.Column("overdue", sa.Boolean(), nullable=False),
        sa.Column("max_bytes_per_device", sa.BigInteger(), nullable=True),
        sa.Column("max_bytes", sa.BigInteger(), nullable=True),
        sa.Column("allow_full_bundles", sa.Boolean(), nullable=False),
        sa.Column("approved_by", types.text(256), nullable=True),
        sa.Column("manifest", types.Json(), nullable=True),
        sa.Column("images", types.Json(), nullable=False),
        sa.Column("release_requested", sa.Boolean(), nullable=False),
        sa.Column("code", types.key(64), nullable=True),
        sa.Column("detail", types.long_text(), nullable=True),
        sa.Column("asked_bytes", sa.BigInteger(), nullable=True),
        sa.Column("rollback_of", types.key(64), nullable=True),
        sa.Column("trace", types.key(64), nullable=True),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("settled_at", types.UtcDateTime(), nullable=True),
        sa.Column("settle_at", types.UtcDateTime(), nullable=True),
        sa.Column("plan_at", types.UtcDateTime(), nullable=True),
        sa.Column("locks", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("set_id", name=op.f("pk_deployment_sets")),
        sa.UniqueConstraint("ordinal", name=op.f("uq_deployment_sets_ordinal")),
    )
    op.create_index(
        "ix_deployment_sets_owner_email_ordinal", "deployment_sets", ["owner_email", "ordinal"], unique=False
    )
    op.create_index(op.f("ix_deployment_sets_plan_at"), "deployment_sets", ["plan_at"], unique=False)
    op.create_index(op.f("ix_deployment_sets_settle_at"), "deployment_sets", ["settle_at"], unique=False)
    op.create_index("ix_deployment_sets_state_ordinal", "deployment_sets", ["state", "ordinal"], unique=False)
    op.create_index("ix_deployment_sets_workstream_ordinal", "deployment_sets", ["workstream", "ordinal"], unique=False)
    op.create_table(
        "devices",
        sa.Column("device_id", types.key(128), nullable=False),
        sa.Column("state", types.key(64), nullable=False),
        sa.Column("hub", types.key(64), nullable=False),
        sa.Column("hub_device_id", types.key(128), nullable=False),
        sa.Column("platform", types.key(64), nullable=False),
        sa.Column("also_runs", types.Json(), nullable=False),
        sa.Column("registry_address", types.key(255), nullable=True),
        sa.Column("bytes_per_second", sa.Float(), nullable=True),
        sa.Column("money_per_megabyte", sa.Float(), nullable=True),
        sa.Column("link_rate", sa.BigInteger(), nullable=True),
        sa.Column("link_hours", types.key(200), nullable=True),
        sa.Column("installation_id", types.text(256), nullable=True),
        sa.Column("profiles", types.Json(), nullable=False),
        sa.Column("trusted_keys", types.Json(), nullable=False),
        sa.Column("bundle_forms", types.Json(), nullable=False),
        sa.Column("free_disk_bytes", sa.BigInteger(), nullable=True),
        sa.Column("held_reason", types.text(256), nullable=True),
        sa.Column("last_inventory_at", types.UtcDateTime(), nullable=True),
        sa.Column("enrolled_at", types.UtcDateTime(), nullable=False),
        sa.Column("resync", sa.Integer(), nullable=False),
        sa.Column("last_number", sa.BigInteger(), nullable=False),
        sa.Column("twin_code", types.key(64), nullable=True),
        sa.Column("desired_digest", types.key(71), nullable=True),
        sa.Column("outbox_renew_after", types.UtcDateTime(), nullable=True),
        sa.Column("sync_at", types.UtcDateTime(), nullable=True),
        sa.Column("sync_tries", sa.Integer(), nullable=False),
        sa.Column("heard_at", types.UtcDateTime(), nullable=True),
        sa.Column("silent_at", types.UtcDateTime(), nullable=True),
        sa.Column("silent_since", types.UtcDateTime(), nullable=True),
        sa.Column("hub_seen_at", types.UtcDateTime(), nullable=True),
        sa.Column("missing_since", types.UtcDateTime(), nullable=True),
        sa.Column("locks", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("device_id", name=op.f("pk_devices")),
    )
    op.create_index("ix_devices_hub_hub_device_id", "devices", ["hub", "hub_device_id"], unique=False)
    op.create_index(op.f("ix_devices_missing_since"), "devices", ["missing_since"], unique=False)
    op.create_index(op.f("ix_devices_silent_at"), "devices", ["silent_at"], unique=False)
    op.create_index(op.f("ix_devices_silent_since"), "devices", ["silent_since"], unique=False)
    op.create_index(op.f("ix_devices_sync_at"), "devices", ["sync_at"], unique=False)
    op.create_index(
        "uq_devices_binding",
        "devices",
        ["hub", "hub_device_id"],
        unique=True,
        sqlite_where=sa.text("state != 'retired'"),
        mssql_where=sa.text("state != 'retired'"),
    )
    op.create_table(
        "hub_readings",
        sa.Column("hub", types.key(64), nullable=False),
        sa.Column("read_at", types.UtcDateTime(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("began_at", types.UtcDateTime(), nullable=True),
        sa.Column("after", types.long_text(), nullable=True),
        sa.Column("ended_at", types.UtcDateTime(), nullable=True),
        sa.Column("code", types.key(64), nullable=True),
        sa.Column("detail", types.long_text(), nullable=True),
        sa.PrimaryKeyConstraint("hub", name=op.f("pk_hub_readings")),
    )
    op.create_index(op.f("ix_hub_readings_read_at"), "hub_readings", ["read_at"], unique=False)
    op.create_table(
        "images",
        sa.Column("image_id", types.key(71), nullable=False),
        sa.Column("platform", types.key(64), nullable=False),
        sa.Column("config", types.blob(), nullable=False),
        sa.Column("full_bytes", sa.BigInteger(), nullable=False),
        sa.Column("signature", types.key(71), nullable=False),
        sa.Column("registered_at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("image_id", name=op.f("pk_images")),
    )
    op.create_table(
        "layers",
        sa.Column("diff_id", types.key(71), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("file_index", types.key(71), nullable=False),
        sa.PrimaryKeyConstraint("diff_id", name=op.f("pk_layers")),
    )
    op.create_table(
        "patches",
        sa.Column("patch_id", types.key(64), nullable=False),
        sa.Column("target", types.key(71), nullable=False),
        sa.Column("sources_key", types.key(64), nullable=False),
        sa.Column("sources", types.Json(), nullable=False),
        sa.Column("profile", types.key(64), nullable=False),
        sa.Column("state", types.key(64), nullable=False),
        sa.Column("worker", types.text(256), nullable=True),
        sa.Column("lease_until", types.UtcDateTime(), nullable=True),
        sa.Column("next_try_at", types.UtcDateTime(), nullable=True),
        sa.Column("prepare_at", types.UtcDateTime(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("blob", types.key(255), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("sha256", types.key(71), nullable=True),
        sa.Column("crc32", sa.BigInteger(), nullable=True),
        sa.Column("chunks", types.key(71), nullable=True),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=True),
        sa.Column("estimated_bytes", sa.BigInteger(), nullable=True),
        sa.Column("code", types.key(64), nullable=True),
        sa.Column("detail", types.long_text(), nullable=True),
        sa.Column("bytes_read", sa.BigInteger(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("patch_id", name=op.f("pk_patches")),
        sa.UniqueConstraint("target", "sources_key", "profile", name=op.f("uq_patches_target_sources_key_profile")),
    )
    op.create_index("ix_patches_state_next_try_at", "patches", ["state", "next_try_at"], unique=False)
    op.create_index("ix_patches_created_at_patch_id", "patches", ["created_at", "patch_id"], unique=False)
    op.create_index(op.f("ix_patches_prepare_at"), "patches", ["prepare_at"], unique=False)
    op.create_table(
        "quarantine",
        sa.Column("entry_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("hub", types.key(64), nullable=False),
        sa.Column("device_id", types.key(128), nullable=False),
        sa.Column("module_id", types.key(128), nullable=False),
        sa.Column("reason", types.key(64), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("first_at", types.UtcDateTime(), nullable=False),
        sa.Column("at", types.UtcDateTime(), nullable=False),
        sa.Column("kept_at", types.UtcDateTime(), nullable=False),
        sa.Column("detail", types.long_text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("body", types.blob(), nullable=False),
        sa.Column("properties", types.Json(), nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_quarantine")),
        sa.UniqueConstraint(
            "device_id", "module_id", "reason", "hub", name=op.f("uq_quarantine_device_id_module_id_reason_hub")
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_quarantine_at_entry_id", "quarantine", ["at", "entry_id", "bytes"], unique=False)
    op.create_table(
        "registrations",
        sa.Column("registration_id", types.key(64), nullable=False),
        sa.Column("state", types.key(64), nullable=False),
        sa.Column("origin", types.Json(), nullable=False),
        sa.Column("reference", types.key(255), nullable=True),
        sa.Column("platform", types.key(64), nullable=True),
        sa.Column("images", types.Json(), nullable=False),
        sa.Column("code", types.key(64), nullable=True),
        sa.Column("detail", types.long_text(), nullable=True),
        sa.Column("requested_by", types.text(256), nullable=False),
        sa.Column("requested_at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("registration_id", name=op.f("pk_registrations")),
    )
    op.create_index(op.f("ix_registrations_state"), "registrations", ["state"], unique=False)
    op.create_table(
        "device_images",
        sa.Column("device_id", types.key(128), nullable=False),
        sa.Column("image_id", types.key(71), nullable=False),
        sa.Column("references", types.Json(), nullable=False),
        sa.Column("local_digest", types.text(256), nullable=True),
        sa.Column("seen_at", types.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_device_images_device_id")),
        sa.PrimaryKeyConstraint("device_id", "image_id", name=op.f("pk_device_images")),
    )
    op.create_index("ix_device_images_image_id_device_id", "device_images", ["image_id", "device_id"], unique=False)
    op.create_table(
        "old_bindings",
        sa.Column("hub", types.key(64), nullable=False),
        sa.Column("hub_device_id", types.key(128), nullable=False),
        sa.Column("device_id", types.key(128), nullable=False),
        sa.Column("ended_at", types.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_old_bindings_device_id")),
        sa.PrimaryKeyConstraint("hub", "hub_device_id", name=op.f("pk_old_bindings")),
    )
    op.create_table(
        "device_installations",
        sa.Column("device_id", types.key(128), nullable=False),
        sa.Column("installation_id", types.text(256), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("first_at", types.UtcDateTime(), nullable=False),
        sa.Column("last_at", types.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_device_installations_device_id")),
        sa.PrimaryKeyConstraint("device_id", "installation_id", name=op.f("pk_device_installations")),
    )
    op.create_table(
        "device_tags",
        sa.Column("device_id", types.key(128), nullable=False),
        sa.Column("name", types.key(64), nullable=False),
        sa.Column("value", types.text(256), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_device_tags_device_id")),
        sa.PrimaryKeyConstraint("device_id", "name", name=op.f("pk_device_tags")),
    )
    op.create_index("ix_device_tags_name_value", "device_tags", ["name", "value"], unique=False)
    op.create_table(
        "image_layers",
        sa.Column("image_id", types.key(71), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("diff_id", types.key(71), nullable=False),
        sa.ForeignKeyConstraint(["diff_id"], ["layers.diff_id"], name=op.f("fk_image_layers_diff_id")),
        sa.ForeignKeyConstraint(["image_id"], ["images.image_id"], name=op.f("fk_image_layers_image_id")),
        sa.PrimaryKeyConstraint("image_id", "position", name=op.f("pk_image_layers")),
    )
    op.create_index(op.f("ix_image_layers_diff_id"), "image_layers", ["diff_id"], unique=False)
    op.create_table(
        "image_origins",
        sa.Column("image_id", types.key(71), nullable=False),
        sa.Column("origin", types.key(64), nullable=False),
        sa.Column("repository", types.key(255), nullable=False),
        sa.Column("at", types.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["images.image_id"], name=op.f("fk_image_origins_image_id")),
        sa.PrimaryKeyConstraint("image_id", "origin", "repository", name=op.f("pk_image_origins")),
    )
    op.create_index("ix_image_origins_repository_at", "image_origins", ["repository", "at"], unique=False)
    op.create_table(
        "image_references",
        sa.Column("reference", types.key(255), nullable=False),
        sa.Column("platform", types.key(64), nullable=False),
        sa.Column("image_id", types.key(71), nullable=False),
        sa.Column("since", types.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["images.image_id"], name=op.f("fk_image_references_image_id")),
        sa.PrimaryKeyConstraint("reference", "platform", name=op.f("pk_image_references")),
    )
    op.create_index(op.f("ix_image_references_image_id"), "image_references", ["image_id"], unique=False)
    op.create_table(
        "members",
        sa.Column("set_id", types.key(64), nullable=False),
        sa.Column("device_id", types.key(128), nullable=False),
        sa.Column("state", types.key(64), nullable=False),
        sa.Column("code", types.key(64), nullable=True),
        sa.Column("detail", types.long_text(), nullable=True),
        sa.Column("agent_version", sa.BigInteger(), nullable=True),
        sa.Column("lease_until", types.UtcDateTime(), nullable=True),
        sa.Column("released_version", sa.BigInteger(), nullable=True),
        sa.Column("released_at", types.UtcDateTime(), nullable=True),
        sa.Column("seen_at", types.UtcDateTime(), nullable=True),
        sa.Column("plan_at", types.UtcDateTime(), nullable=True),
        sa.Column("next_try_at", types.UtcDateTime(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_members_device_id")),
        sa.ForeignKeyConstraint(["set_id"], ["deployment_sets.set_id"], name=op.f("fk_members_set_id")),
        sa.PrimaryKeyConstraint("set_id", "device_id", name=op.f("pk_members")),
    )
    op.create_index("ix_members_device_id_state", "members", ["device_id", "state"], unique=False)
    op.create_index("ix_members_state_next_try_at", "members", ["state", "next_try_at"], unique=False)
    op.create_index("ix_members_set_id_plan_at", "members", ["set_id", "plan_at"], unique=False)
    op.create_index("ix_members_set_id_state_next_try_at", "members", ["set_id", "state", "next_try_at"], unique=False)
    op.create_table(
        "notifications",
        sa.Column("notification_id", types.key(64), nullable=False),
        sa.Column("set_id", types.key(64), nullable=False),
        sa.Column("channel", types.key(64), nullable=False),
        sa.Column("kind", types.key(64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("recipient", types.text(256), nullable=True),
        sa.Column("subject", types.text(256), nullable=True),
        sa.Column("body", types.long_text(), nullable=True),
        sa.Column("state", types.key(64), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("not_before", types.UtcDateTime(), nullable=False),
        sa.Column("detail", types.long_text(), nullable=True),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("sent_at", types.UtcDateTime(), nullable=True),
        sa.Column("locks", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["set_id"], ["deployment_sets.set_id"], name=op.f("fk_notifications_set_id")),
        sa.PrimaryKeyConstraint("notification_id", name=op.f("pk_notifications")),
        sa.UniqueConstraint(
            "set_id", "channel", "kind", "number", name=op.f("uq_notifications_set_id_channel_kind_number")
        ),
    )
    op.create_index("ix_notifications_state_not_before", "notifications", ["state", "not_before"], unique=False)
    op.create_table(
        "heartbeats",
        sa.Column("kind", types.key(64), nullable=False),
        sa.Column("done_at", types.UtcDateTime(), nullable=False),
        sa.Column("failed_at", types.UtcDateTime(), nullable=True),
        sa.Column("code", types.key(64), nullable=True),
        sa.Column("lease_until", types.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_heartbeats")),
    )
    op.create_table(
        "releases",
        sa.Column("set_id", types.key(64), nullable=False),
        sa.Column("device_id", types.key(128), nullable=False),
        sa.Column("hub", types.key(64), nullable=False),
        sa.Column("workstream", types.key(64), nullable=False),
        sa.Column("modules", types.Json(), nullable=False),
        sa.Column("content", types.Json(), nullable=False),
        sa.Column("previous", types.Json(), nullable=False),
        sa.Column("base_version", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("applied_by_us", sa.Boolean(), nullable=False),
        sa.Column("layer_id", types.key(128), nullable=True),
        sa.Column("released_at", types.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_releases_device_id")),
        sa.ForeignKeyConstraint(["set_id"], ["deployment_sets.set_id"], name=op.f("fk_releases_set_id")),
        sa.PrimaryKeyConstraint("set_id", "device_id", name=op.f("pk_releases")),
    )
    op.create_index(op.f("ix_releases_device_id"), "releases", ["device_id"], unique=False)
    op.create_index("ix_releases_layer_id_device_id", "releases", ["layer_id", "device_id"], unique=False)
    op.create_table(
        "hub_layers",
        sa.Column("hub", types.key(64), nullable=False),
        sa.Column("layer_id", types.key(128), nullable=False),
        sa.Column("set_id", types.key(64), nullable=False),
        sa.Column("workstream", types.key(64), nullable=False),
        sa.Column("wanted_at", types.UtcDateTime(), nullable=False),
        sa.Column("made_at", types.UtcDateTime(), nullable=True),
        sa.Column("look_at", types.UtcDateTime(), nullable=True),
        sa.Column("leaves_until", types.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("hub", "layer_id", name=op.f("pk_hub_layers")),
    )
    op.create_index(op.f("ix_hub_layers_look_at"), "hub_layers", ["look_at"], unique=False)
    op.create_index("ix_hub_layers_hub_workstream", "hub_layers", ["hub", "workstream"], unique=False)
    op.create_table(
        "transfers",
        sa.Column("transfer_id", types.key(64), nullable=False),
        sa.Column("device_id", types.key(128), nullable=False),
        sa.Column("image_id", types.key(71), nullable=False),
        sa.Column("reference", types.key(255), nullable=False),
        sa.Column("state", types.key(64), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("sources", types.Json(), nullable=True),
        sa.Column("refused_sources", types.Json(), nullable=False),
        sa.Column("patch_id", types.key(64), nullable=True),
        sa.Column("priority", types.key(64), nullable=False),
        sa.Column("estimated_bytes", sa.BigInteger(), nullable=True),
        sa.Column("full_bytes", sa.BigInteger(), nullable=False),
        sa.Column("code", types.key(64), nullable=True),
        sa.Column("detail", types.long_text(), nullable=True),
        sa.Column("unregistered", types.Json(), nullable=True),
        sa.Column("local_digest", types.text(256), nullable=True),
        sa.Column("evidence_at", types.UtcDateTime(), nullable=True),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_transfers_device_id")),
        sa.ForeignKeyConstraint(["image_id"], ["images.image_id"], name=op.f("fk_transfers_image_id")),
        sa.ForeignKeyConstraint(["patch_id"], ["patches.patch_id"], name=op.f("fk_transfers_patch_id")),
        sa.PrimaryKeyConstraint("transfer_id", name=op.f("pk_transfers")),
    )
    op.create_index("ix_transfers_created_at_transfer_id", "transfers", ["created_at", "transfer_id"], unique=False)
    op.create_index("ix_transfers_device_id_image_id", "transfers", ["device_id", "image_id"], unique=False)
    op.create_index(op.f("ix_transfers_image_id"), "transfers", ["image_id"], unique=False)
    op.create_index("ix_transfers_patch_id_transfer_id", "transfers", ["patch_id", "transfer_id"], unique=False)
    op.create_index("ix_transfers_state_created_at", "transfers", ["state", "created_at"], unique=False)
    op.create_index(
        "uq_transfers_active",
        "transfers",
        ["device_id", "image_id"],
        unique=True,
        sqlite_where=ACTIVE,
        mssql_where=ACTIVE,
    )
    op.create_table(
        "bundles",
        sa.Column("transfer_id", types.key(64), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("device_id", types.key(128), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("lowest", sa.BigInteger(), nullable=False),
        sa.Column("blob", types.key(255), nullable=True),
        sa.Column("estimated_bytes", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("published_at", types.UtcDateTime(), nullable=True),
        sa.Column("received_at", types.UtcDateTime(), nullable=True),
        sa.Column("bytes_fetched", sa.BigInteger(), nullable=True),
        sa.Column("seconds_on_link", sa.Float(), nullable=True),
        sa.Column("revoked_at", types.UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_bundles_device_id")),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfers.transfer_id"], name=op.f("fk_bundles_transfer_id")),
        sa.PrimaryKeyConstraint("transfer_id", "attempt", name=op.f("pk_bundles")),
        sa.UniqueConstraint("device_id", "number", name=op.f("uq_bundles_device_id_number")),
    )
    op.create_table(
        "transfer_hours",
        sa.Column("hour", types.UtcDateTime(), nullable=False),
        sa.Column("succeeded", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", name=op.f("pk_transfer_hours")),
    )
    op.create_table(
        "history",
        sa.Column("event_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", types.UtcDateTime(), nullable=False),
        sa.Column("hour", types.UtcDateTime(), nullable=False),
        sa.Column("kind", types.key(64), nullable=False),
        sa.Column("set_id", types.key(64), nullable=True),
        sa.Column("transfer_id", types.key(64), nullable=True),
        sa.Column("subject", types.key(128), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=True),
        sa.Column("sequence", sa.Integer(), nullable=True),
        sa.Column("old", types.key(64), nullable=True),
        sa.Column("new", types.key(64), nullable=False),
        sa.Column("code", types.key(64), nullable=True),
        sa.Column("detail", types.long_text(), nullable=True),
        sa.Column("who", types.text(256), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["set_id"], ["deployment_sets.set_id"], name=op.f("fk_history_set_id")),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfers.transfer_id"], name=op.f("fk_history_transfer_id")),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_history")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_history_kind_hour", "history", ["kind", "hour"], unique=False)
    op.create_index(op.f("ix_history_set_id"), "history", ["set_id"], unique=False)
    op.create_index(op.f("ix_history_transfer_id"), "history", ["transfer_id"], unique=False)
    op.create_table(
        "member_transfers",
        sa.Column("set_id", types.key(64), nullable=False),
        sa.Column("device_id", types.key(128), nullable=False),
        sa.Column("image_id", types.key(71), nullable=False),
        sa.Column("transfer_id", types.key(64), nullable=False),
        sa.Column("reference", types.key(255), nullable=False),
        sa.Column("since_attempt", sa.Integer(), nullable=False),
        sa.Column("until_attempt", sa.Integer(), nullable=True),
        sa.Column("planned_before", sa.BigInteger(), nullable=False),
        sa.Column("sent_before", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_member_transfers_device_id")),
        sa.ForeignKeyConstraint(["image_id"], ["images.image_id"], name=op.f("fk_member_transfers_image_id")),
        sa.ForeignKeyConstraint(["set_id"], ["deployment_sets.set_id"], name=op.f("fk_member_transfers_set_id")),
        sa.ForeignKeyConstraint(
            ["transfer_id"], ["transfers.transfer_id"], name=op.f("fk_member_transfers_transfer_id")
        ),
        sa.PrimaryKeyConstraint("set_id", "device_id", "image_id", name=op.f("pk_member_transfers")),
    )
    op.create_index(op.f("ix_member_transfers_transfer_id"), "member_transfers", ["transfer_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_member_transfers_transfer_id"), table_name="member_transfers")
    op.drop_table("member_transfers")
    op.drop_index(op.f("ix_history_transfer_id"), table_name="history")
    op.drop_index(op.f("ix_history_set_id"), table_name="history")
    op.drop_index("ix_history_kind_hour", table_name="history")
    op.drop_table("history")
    op.drop_table("transfer_hours")
    op.drop_table("bundles")
    op.drop_index(
        "uq_transfers_active",
        table_name="transfers",
        sqlite_where=ACTIVE,
        mssql_where=ACTIVE,
    )
    op.drop_index("ix_transfers_state_created_at", table_name="transfers")
    op.drop_index("ix_transfers_patch_id_transfer_id", table_name="transfers")
    op.drop_index(op.f("ix_transfers_image_id"), table_name="transfers")
    op.drop_index("ix_transfers_device_id_image_id", table_name="transfers")
    op.drop_index("ix_transfers_created_at_transfer_id", table_name="transfers")
    op.drop_table("transfers")
    op.drop_index("ix_hub_layers_hub_workstream", table_name="hub_layers")
    op.drop_index(op.f("ix_hub_layers_look_at"), table_name="hub_layers")
    op.drop_table("hub_layers")
    op.drop_index("ix_releases_layer_id_device_id", table_name="releases")
    op.drop_index(op.f("ix_releases_device_id"), table_name="releases")
    op.drop_table("releases")
    op.drop_table("heartbeats")
    op.drop_index("ix_notifications_state_not_before", table_name="notifications")
    op.drop_table("notifications")
    op.drop_index("ix_members_device_id_state", table_name="members")
    op.drop_table("members")
    op.drop_index(op.f("ix_image_references_image_id"), table_name="image_references")
    op.drop_table("image_references")
    op.drop_index("ix_image_origins_repository_at", table_name="image_origins")
    op.drop_table("image_origins")
    op.drop_index(op.f("ix_image_layers_diff_id"), table_name="image_layers")
    op.drop_table("image_layers")
    op.drop_index("ix_device_tags_name_value", table_name="device_tags")
    op.drop_table("device_tags")
    op.drop_table("old_bindings")
    op.drop_table("hub_readings")
    op.drop_table("device_installations")
    op.drop_index("ix_device_images_image_id_device_id", table_name="device_images")
    op.drop_table("device_images")
    op.drop_index(op.f("ix_registrations_state"), table_name="registrations")
    op.drop_table("registrations")
    op.drop_index("ix_quarantine_at_entry_id", table_name="quarantine")
    op.drop_table("quarantine")
    op.drop_index("ix_patches_created_at_patch_id", table_name="patches")
    op.drop_index(op.f("ix_patches_prepare_at"), table_name="patches")
    op.drop_table("patches")
    op.drop_table("layers")
    op.drop_table("images")
    op.drop_table("devices")
    op.drop_index("ix_deployment_sets_workstream_ordinal", table_name="deployment_sets")
    op.drop_index("ix_deployment_sets_state_ordinal", table_name="deployment_sets")
    op.drop_index("ix_deployment_sets_owner_email_ordinal", table_name="deployment_sets")
    op.drop_table("deployment_sets")
    op.drop_table("counters")
    op.drop_index("ix_audit_who_at_entry_id", table_name="audit")
    op.drop_index("ix_audit_subject_at_entry_id", table_name="audit")
    op.drop_index("ix_audit_at_entry_id", table_name="audit")
    op.drop_index("ix_audit_action_at_entry_id", table_name="audit")
    op.drop_table("audit")
