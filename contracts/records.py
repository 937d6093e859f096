"""What SQL remembers, as plain frozen records: the rows that steps, triggers and plans pass around.

Times are UTC and aware. Ids of our own making are ``<kind>-<32 hex digits>``, older ones
sorted first: safe in URLs, instance ids and file names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from contracts.states import stage_of, waits_for
from imagedelta.platforms import best_of

ARCHIVE = "archive"
"""Where images come from that no registry gave: an upload, a blob."""


@dataclass(frozen=True)
class ImageRecord:
    image_id: str
    platform: str
    config: bytes
    diff_ids: tuple[str, ...]
    full_bytes: int
    """Uncompressed layers plus config: what a transfer without imagedelta would move uncompressed."""
    signature: str
    """Digest of the signature blob (container ``signatures``)."""
    references: tuple[str, ...]
    registered_at: datetime


@dataclass(frozen=True)
class LayerRecord:
    diff_id: str
    size: int
    index: str
    """Digest of the file index blob (container ``indexes``); the tar is ``layers/<hex of diff_id>``."""


@dataclass(frozen=True)
class Registration:
    registration_id: str
    state: str
    """queued, reading, registered or failed."""
    origin: Mapping[str, str]
    """Exactly one of upload, blob, registry; with event, the id of the registry's notice, when that asked for it."""
    reference: str | None
    images: Mapping[str, str]
    """platform -> image ID, once registered."""
    code: str | None
    detail: str | None
    """Why it failed; of a registered one, what of the archive was passed over."""
    requested_by: str
    requested_at: datetime
    platform: str | None = None
    """What the image is for, where the person who registers it says so."""


@dataclass(frozen=True)
class Device:
    device_id: str
    state: str
    hub: str
    platform: str
    tags: Mapping[str, str]
    registry_address: str | None
    bytes_per_second: float | None
    money_per_megabyte: float | None
    link_rate: int | None
    link_hours: str | None
    """What its twin allows bundles of its link; None leaves it to the device's settings."""
    installation_id: str | None
    profiles: tuple[str, ...]
    trusted_keys: tuple[str, ...]
    bundle_forms: tuple[str, ...]
    """Forms of a bundle that it fetches beside the composed one."""
    free_disk_bytes: int | None
    held_reason: str | None
    last_inventory_at: datetime | None
    enrolled_at: datetime
    resync: int
    desired_digest: str | None
    """sha256 of the desired properties last written to the twin."""
    outbox_renew_after: datetime | None
    also_runs: tuple[str, ...] = ()
    """Further platforms that the device states, best first."""
    twin_code: str | None = None
    """Why its twin could not be written the last time; None once it was, or before the first try."""
    hub_device_id: str = ""
    """Its id in the hub, which may become another."""
    heard_at: datetime | None = None
    """When its last message was sent that was believed, to the hour."""
    silent_since: datetime | None = None
    """It was to be heard from by then, and was not."""
    missing_since: datetime | None = None
    """Its hub does not know it, or not its module."""

    @property
    def binding(self) -> tuple[str, str]:
        return self.hub, self.hub_device_id

    @property
    def waits_for(self) -> str | None:
        return waits_for(self.state, self.twin_code)

    @property
    def platforms(self) -> tuple[str, ...]:
        """What the device states that it runs, best first."""
        return (self.platform, *self.also_runs)

    def image_of(self, by_platform: Mapping[str, str]) -> str | None:
        """Return the ID of the image that this device should take; ``None`` when it runs none of them."""
        platform = best_of(self.platforms, by_platform)
        return by_platform[platform] if platform is not None else None


@dataclass(frozen=True)
class DeviceImage:
    """An image that the last inventory of the device has confirmed."""

    image_id: str
    references: tuple[str, ...]
    local_digest: str | None
    seen_at: datetime
    """Since when its inventories name it."""


ReleaseBy = Literal["auto", "device", "condition"]


@dataclass(frozen=True)
class DeploymentSet:
    set_id: str
    ordinal: int
    """Grows with every set; per workstream and device, nothing older is released after something newer."""
    state: str
    name: str
    workstream: str
    owner_name: str
    owner_email: str
    ordered_by: str
    priority: str | None
    release_policy: str
    release_by: ReleaseBy
    canaries: tuple[str, ...]
    promoted: bool
    deadline: datetime | None
    overdue: bool
    max_bytes_per_device: int | None
    max_bytes: int | None
    allow_full_bundles: bool
    approved_by: str | None
    manifest: Mapping[str, Any] | None
    """With every ${NAME} resolved; None for a set of images alone."""
    images: Mapping[str, Mapping[str, str]]
    """reference -> platform -> image ID, frozen when the set was created."""
    release_requested: bool
    """An operator or pipeline asked for release (policy ``manual``)."""
    code: str | None
    detail: str | None
    asked_bytes: int | None
    """What the plan that a person is asked to approve would send; nothing of it is recorded before."""
    rollback_of: str | None
    created_at: datetime
    updated_at: datetime
    trace: str | None = None
    """W3C traceparent of its order: what is done for it belongs to that trace."""


@dataclass(frozen=True)
class Figures:
    """What a set, or one device of it, costs on the links. A transfer that two sets wait for counts in both."""

    planned_bytes: int
    """Estimates of the present attempts, and of those before that arrived."""
    sent_bytes: int
    """Of bundles known to have arrived."""
    whole_bytes: int
    """What the images that arrived are when they are sent whole, uncompressed."""


@dataclass(frozen=True)
class Cost:
    """What a set would send to one device, as its recorded plan says."""

    device_id: str
    bytes: int
    full: tuple[FullBundle, ...] = ()
    """Images that no image on the device can help with."""


@dataclass(frozen=True)
class FullBundle:
    reference: str
    unregistered: tuple[str, ...] = ()
    """Images on the device that could have been sources, had they been registered."""


@dataclass(frozen=True)
class Trouble:
    """Members of a set that are in one state for one reason."""

    state: str
    code: str | None
    detail: str | None
    """Of the first of them."""
    devices: int
    named: tuple[str, ...]
    """Ids in order, as many as a person reads; the rest is only counted."""


@dataclass(frozen=True)
class Waiting:
    """Devices whose own side keeps a set waiting, for one reason."""

    code: str
    devices: int
    example: str
    """The first of them."""


@dataclass(frozen=True)
class Unregistered:
    """Devices that hold images which could have been sources, had they been registered."""

    reference: str
    """What was sent in full, or from a source further away."""
    held: tuple[str, ...]
    devices: int
    example: str
    estimated_bytes: int
    """What all these transfers cost as planned."""


@dataclass(frozen=True)
class Member:
    set_id: str
    device_id: str
    state: str
    code: str | None
    detail: str | None
    agent_version: int | None
    """``$version`` of $edgeAgent's desired properties when the set was planned."""
    released_version: int | None
    released_at: datetime | None
    updated_at: datetime
    seen_at: datetime | None = None
    """Since when the device has known the manifest that was released to it."""


@dataclass(frozen=True)
class MemberShown:
    """A member as people see it."""

    member: Member
    waits_for: str | None
    """Code of what its device keeps it waiting for."""
    figures: Figures | None
    """None before a plan is recorded."""


@dataclass(frozen=True)
class Patch:
    """One immutable blob per (target, sources, profile), built once."""

    patch_id: str
    target: str
    sources: tuple[str, ...]
    """Image IDs, in order; empty for a full patch."""
    profile: str
    state: str
    blob: str | None
    """Name in container ``patches``."""
    bytes: int | None
    sha256: str | None
    crc32: int | None
    chunks: str | None
    """Digest of the chunk list blob (container ``patches``)."""
    memory_bytes: int | None
    estimated_bytes: int | None
    code: str | None
    detail: str | None
    bytes_read: int | None
    seconds: float | None
    worker: str | None
    """Who builds it now."""
    tries: int
    """Steps begun since one ended."""
    next_try_at: datetime | None


@dataclass(frozen=True)
class Transfer:
    """One image to one device."""

    transfer_id: str
    device_id: str
    image_id: str
    reference: str
    """Friendly name:tag the image gets on the device."""
    state: str
    attempt: int
    sequence: int
    """Of the last report taken into account within the attempt."""
    sources: tuple[str, ...] | None
    """Image IDs the patch starts from; () for a full bundle; None until planned."""
    refused_sources: tuple[str, ...]
    """Sources the device reported missing: never planned again for this transfer, until a person retries it."""
    patch_id: str | None
    priority: str
    number: int | None
    """Per device, grows with every bundle."""
    bundle: str | None
    """Name in the device's outbox container."""
    bundle_bytes: int | None
    estimated_bytes: int | None
    full_bytes: int
    code: str | None
    detail: str | None
    local_digest: str | None
    bytes_fetched: int | None
    """Of this attempt's bundle, as the device counted them; so are the seconds."""
    seconds_on_link: float | None
    created_at: datetime
    updated_at: datetime
    floor: int | None = None
    """Given with ``number``: the lowest number of a bundle that was still wanted on the device by then."""
    received_at: datetime | None = None
    """When the bundle of this attempt was first known to be on the device."""
    patch_state: str | None = None
    """Of the patch it waits for; None until it is planned."""
    unregistered: tuple[str, ...] | None = None
    """Images on the device that the plan could have started from, had they been registered; () is never stored."""

    @property
    def bundle_id(self) -> str:
        """Of this attempt's bundle: sealed in its head, repeated in reports, named when it is revoked."""
        return f"{self.transfer_id}-{self.attempt}"

    @property
    def stage(self) -> str:
        return stage_of(self.state, self.patch_state)


@dataclass(frozen=True)
class Publication:
    """A bundle that has its number and name, and everything that its head says."""

    transfer: Transfer
    """Building; ``number``, ``floor`` and ``bundle`` are given."""
    platform: str
    hub_device_id: str
    """Of the device, which knows itself by that name."""
    trusted_keys: tuple[str, ...]
    """Of the device."""
    patch_sha256: str
    """Names its blob, too."""
    patch_bytes: int
    patch_crc32: int
    patch_chunks: str
    """Digest of the chunk list."""
    patch_memory_bytes: int
    patch_sources: tuple[str, ...]


@dataclass(frozen=True)
class TransferEvent:
    transfer_id: str
    attempt: int
    sequence: int
    old: str | None
    new: str
    code: str | None
    detail: str | None
    source: str
    """Who said so: report, inventory, orchestrator, api."""
    at: datetime


@dataclass(frozen=True)
class Notification:
    notification_id: str
    set_id: str
    channel: str
    """Of contracts.channels."""
    kind: str
    """arrived, completed, failed, overdue, awaiting_approval, member_failed, conflict, apply_failed."""
    number: int
    """A further one of the kind tells what happened since the one before was on its way."""
    recipient: str | None
    """Mail address; of a mail alone."""
    subject: str | None
    """As it was sent; so is the body."""
    body: str | None
    state: str
    tries: int
    detail: str | None
    created_at: datetime
    sent_at: datetime | None


@dataclass(frozen=True)
class Census:
    """How many there are now, by state."""

    transfers: Mapping[str, int]
    """Under way."""
    dead_notifications: Mapping[str, int]
    """By channel."""
    devices: Mapping[str, int]
    """Without retired ones."""
    silent_devices: int
    """Active, and without an inventory for three days."""


@dataclass(frozen=True)
class Release:
    """A manifest set on one device for one set: at most one per member."""

    set_id: str
    device_id: str
    hub: str
    workstream: str
    modules: tuple[str, ...]
    content: Mapping[str, Any]
    """modulesContent as written to the hub."""
    previous: Mapping[str, Any]
    """modulesContent before, kept for rollback."""
    version: int
    """$edgeAgent desired $version after it."""
    applied_by_us: bool
    """False: the twin already held this content, it was only recorded."""
    released_at: datetime
    base_version: int | None = None
    """$version before it, where it was ours that made the next: so versions of our own making are told from others'."""
    layer_id: str | None = None
    """Of the layer that a tag has put the device into; then ``content`` holds no more than its images, and ``version``
    is the one before."""


@dataclass(frozen=True)
class Heartbeat:
    """When a kind of the timer's work was last done."""

    kind: str
    done_at: datetime
    failed_at: datetime | None
    """When some of it last went wrong in a way nobody foresaw."""
    code: str | None


@dataclass(frozen=True)
class AuditEntry:
    entry_id: int
    order_id: str
    """Made before the order is done, of its Idempotency-Key where it has one: an order is done once."""
    request_digest: str
    """sha256 of what the order was asked with."""
    at: datetime
    who: str
    how: str
    """How it was known who that is: ``key``, ``person`` and object id, ``application`` and client id."""
    action: str
    subject: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class QuarantinedMessage:
    """Messages of one sender that could not be taken for one reason, and one of them whole."""

    entry_id: int
    count: int
    first_at: datetime
    at: datetime
    """When the last one came; so ``first_at`` the first."""
    kept_at: datetime
    """When the one came that detail, body and properties are of."""
    hub: str
    device_id: str | None
    module_id: str | None
    reason: str
    detail: str
    body: str
    """base64."""
    properties: Mapping[str, Any]


@dataclass(frozen=True)
class Page:
    """One page of a list in stable order; ``next`` is the opaque continuation or None."""

    items: tuple[Any, ...]
    next: str | None


@dataclass(frozen=True)
class Underway:
    """A transfer that is not over, and the name of its attempt's bundle; None before it has one."""

    transfer_id: str
    bundle: str | None
