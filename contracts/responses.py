"""Answers of the HTTP interface: what callers may rely on; the OpenAPI document is generated from them.

Every view is built from a record of contracts.records by attribute, so a renamed field fails at once.
Source: docs/api.md.
"""

from __future__ import annotations

import base64
from datetime import datetime
from functools import cache
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, computed_field, create_model, field_validator
from pydantic.alias_generators import to_camel

from contracts.records import DeploymentSet, Figures, MemberShown, ReleaseBy
from contracts.states import DEVICE_STATES, MEMBER, NOTIFICATION, PATCH, SET, STAGES, TRANSFER, StateMachine
from imagedelta.errors import REMEDIES


def _states(machine: StateMachine) -> Any:
    names: list[JsonValue] = [*sorted(machine.states)]
    return Field(json_schema_extra={"enum": names})


_WAITS = "Code of what is missing on the device's side: not in its hub, held, or no inventory yet."


class View(BaseModel):
    """Base of all answers: camelCase on the wire, read from records by attribute."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, from_attributes=True, extra="ignore", frozen=True
    )

    @classmethod
    def of(cls, record: object) -> Self:
        return cls.model_validate(record)

    def to_json(self) -> bytes:
        return self.model_dump_json(by_alias=True).encode()


class Outcome(View):
    """Part of every view that can have gone wrong: a stable code, what happened, what to do."""

    code: str | None = None
    detail: str | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def remedy(self) -> str | None:
        return REMEDIES.get(self.code, REMEDIES["internal"]) if self.code else None


class Problem(View):
    """application/problem+json (RFC 9457) with a stable code and what to do."""

    type: str = Field(description="urn:imagedelta:problem:<code>")
    title: str
    status: int
    detail: str
    code: str
    remedy: str
    instance: str = Field(description="Path of the request.")


class WorkHealth(View):
    """A kind of work that falls due by itself."""

    last_done_at: datetime | None = Field(description="When the timer last looked after it; null before it ever did.")
    oldest_due_at: datetime | None = Field(description="Since when the oldest of it is due; null when nothing is.")
    late: bool = Field(description="It waits, or was not looked after, for longer than it should.")


class DeviceHealth(View):
    silent: int = Field(description="Devices that are not heard from as they should.")
    missing: int = Field(description="Devices that their hub does not know.")


class Health(View):
    status: Literal["ok", "late", "unavailable"] = Field(
        description="late: it answers, but work that is due is not done. Let a watchdog look for ok."
    )
    version: str
    checks: dict[str, Literal["ok", "unavailable"]]
    work: dict[str, WorkHealth] = Field(description="By kind of work; empty while the database does not answer.")
    devices: DeviceHealth | None = Field(description="Null while the database does not answer.")
    remedies: dict[str, str] = Field(description="What to do about a check that is not ok, where we know it.")


class Upload(View):
    """Where to put an archive before ``expiresAt``: by one request with the method and headers given, or, if it has
    more than ``blockBytes``, in blocks (Put Block, Put Block List of the Azure Blob REST API)."""

    upload_id: str
    url: str
    method: Literal["PUT"] = "PUT"
    headers: dict[str, str]
    expires_at: datetime
    max_bytes: int
    block_bytes: int = Field(description="Of a block; what was staged already need not be sent again.")


class RegistrationView(Outcome):
    registration_id: str
    state: Literal["queued", "reading", "registered", "failed"]
    origin: dict[str, str]
    reference: str | None
    platform: str | None
    images: dict[str, str] = Field(description="platform -> image ID, once registered")
    requested_by: str
    requested_at: datetime


class PassedOverView(Outcome):
    event: str


class NoticeView(View):
    """What became of a registry's notice."""

    registrations: list[RegistrationView]
    passed_over: list[PassedOverView] = Field(description="Events that nothing is registered for, and why.")


class ImageView(View):
    image_id: str
    platform: str
    references: list[str]
    diff_ids: list[str]
    full_bytes: int = Field(description="Uncompressed layers plus config.")
    registered_at: datetime


class UpdateCost(View):
    """Of the devices for which this version is the nearest of those that they have."""

    image_id: str
    references: list[str]
    devices: int
    estimated_bytes: int = Field(description="Of one patch from it; what else a device has can make it cheaper.")


class UpdateCosts(View):
    """What it would cost to bring the image to the devices that have another version of it."""

    image_id: str
    references: list[str]
    full_bytes: int
    items: list[UpdateCost] = Field(description="Dearest first.")
    devices_not_measured: int = Field(
        description="Whose versions have no readable signature, or are too many to look at."
    )


class DeviceView(View):
    device_id: str
    state: str = _states(DEVICE_STATES)
    hub: str
    hub_device_id: str = Field(description="Its id in the hub.")
    platform: str
    also_runs: list[str]
    tags: dict[str, str]
    registry_address: str | None
    bytes_per_second: float | None
    money_per_megabyte: float | None
    link_rate: int | None = Field(description="The most bytes a second that bundles may take of its link.")
    link_hours: str | None = Field(description="Hours of the day, in UTC, in which it fetches bundles.")
    installation_id: str | None
    profiles: list[str]
    trusted_keys: list[str]
    bundle_forms: list[str] = Field(description="Forms of a bundle that it fetches beside the composed one: shared.")
    free_disk_bytes: int | None
    held_reason: str | None
    last_inventory_at: datetime | None
    heard_at: datetime | None = Field(description="When its last message that was believed was sent, to the hour.")
    silent_since: datetime | None = Field(description="It was to be heard from by then, and was not.")
    missing_since: datetime | None = Field(description="Since then its hub does not know it, or not its module.")
    enrolled_at: datetime
    waits_for: str | None = Field(description=_WAITS)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def remedy(self) -> str | None:
        return REMEDIES[self.waits_for] if self.waits_for else None


class DeviceImageView(View):
    """An image that an inventory of the device has confirmed."""

    image_id: str
    references: list[str]
    registered: bool = Field(description="Only registered images can be what a patch starts from.")
    local_digest: str | None
    seen_at: datetime = Field(description="Since when the device's inventories name it.")


class SetSummary(Outcome):
    """A set as it was ordered, and where it is: what a list shows. What it costs is added up for one set at a time."""

    set_id: str
    ordinal: int
    state: str = _states(SET)
    name: str
    workstream: str
    owner_name: str
    owner_email: str
    ordered_by: str
    priority: str | None
    release_policy: Literal["set", "device", "manual"]
    release_by: ReleaseBy
    canaries: list[str]
    promoted: bool
    deadline: datetime | None
    overdue: bool
    max_bytes_per_device: int | None
    max_bytes: int | None
    allow_full_bundles: bool
    approved_by: str | None
    images: dict[str, dict[str, str]] = Field(description="reference -> platform -> image ID, frozen at creation")
    release_requested: bool
    rollback_of: str | None
    created_at: datetime
    updated_at: datetime


class SetView(SetSummary):
    planned_bytes: int | None = Field(
        description="Estimated for all attempts that arrived and for the present ones; null before a plan is made."
    )
    sent_bytes: int = Field(description="Of bundles that are known to have arrived.")
    whole_bytes: int = Field(description="Of the images that arrived, uncompressed: what whole ones would have been.")

    @classmethod
    def of_set(cls, record: DeploymentSet, figures: Figures | None) -> Self:
        """Before a plan is recorded, what is planned is what a person is asked to approve."""
        planned = {"planned_bytes": figures.planned_bytes if figures else record.asked_bytes}
        sent = {"sent_bytes": figures.sent_bytes, "whole_bytes": figures.whole_bytes} if figures else {}
        return cls.model_validate(vars(record) | {"sent_bytes": 0, "whole_bytes": 0} | planned | sent)


class MemberView(Outcome):
    set_id: str
    device_id: str
    state: str = _states(MEMBER)
    agent_version: int | None
    released_version: int | None
    released_at: datetime | None
    updated_at: datetime


class MemberDetail(MemberView):
    waits_for: str | None = Field(description=_WAITS)
    planned_bytes: int | None = Field(description="Null before a plan is made.")
    sent_bytes: int

    @classmethod
    def of(cls, record: object) -> Self:
        if not isinstance(record, MemberShown):
            raise TypeError(f"a member is shown of MemberShown, not of {type(record).__name__}")
        its = record.figures
        costs = {"planned_bytes": its.planned_bytes if its else None, "sent_bytes": its.sent_bytes if its else 0}
        return cls.model_validate(vars(record.member) | {"waits_for": record.waits_for} | costs)


class NotificationView(View):
    notification_id: str = Field(description="The webhook-id; of a mail, the part of its Message-ID before the @.")
    channel: Literal["mail", "webhook"]
    kind: str
    number: int = Field(description="A further one tells what happened since the one before was on its way.")
    recipient: str | None = Field(description="Null for the webhook.")
    subject: str | None = Field(description="As it was sent.")
    state: str = _states(NOTIFICATION)
    tries: int
    detail: str | None
    created_at: datetime
    sent_at: datetime | None


class ReleaseView(View):
    device_id: str
    hub: str
    workstream: str
    modules: list[str]
    version: int = Field(description="$version of the device's deployment with it; by a layer, the one before it.")
    layer_id: str | None = Field(description="The layered deployment that brings it; null when written to the device.")
    applied_by_us: bool
    released_at: datetime


class WaitingView(Outcome):
    """Devices that a set waits for, for one reason: ``code``."""

    devices: int
    example: str


class UnregisteredView(Outcome):
    """Devices hold an image that a patch could have started from, had it been registered."""

    reference: str
    held: list[str]
    devices: int
    example: str
    estimated_bytes: int


class TroubleView(Outcome):
    """Members that are in one state for one reason: failed, in conflict, not running, or kept from being released."""

    state: str = _states(MEMBER)
    devices: int
    named: list[str] = Field(description="The first of them, by id.")


class SetDetail(SetView):
    """A set as a whole, as large for ten devices as for ten thousand: what there is of each device is in lists."""

    member_states: dict[str, int] = Field(description="state -> number of members")
    transfer_stages: dict[str, int] = Field(description="stage (as in Transfer) -> number of transfers")
    troubles: list[TroubleView] = Field(description="Members that failed or are in conflict, most of them first.")
    waiting: list[WaitingView]
    warnings: list[UnregisteredView]
    notifications: list[NotificationView] = Field(description="The newest; the rest in their list.")
    links: dict[str, str] = Field(description="members, transfers, releases, notifications, events -> their list.")


class SetEvent(Outcome):
    at: datetime
    kind: str
    subject: str
    old: str | None
    new: str | None
    who: str | None


class PlannedImage(View):
    reference: str
    image_id: str
    already_present: bool
    source: str | None = Field(description="Image ID the patch starts from; null for a full bundle or none at all.")
    source_references: list[str] = Field(description="Names the source is registered under.")
    unregistered: list[str] = Field(description="On the device, and a nearer source if it were registered.")
    estimated_bytes: int
    full_bytes: int


class PlannedDevice(Outcome):
    device_id: str
    state: str
    images: list[PlannedImage]
    estimated_bytes: int
    hours_on_link: float | None = Field(
        description="At the slower of bytesPerSecond, or the tag link-kbits-per-second, and linkRate, with the hours "
        "in which nothing is fetched. Null when neither is known."
    )
    money: float | None = Field(
        description="Null when neither the device's moneyPerMegabyte nor its tag money-per-megabyte is known."
    )


_ALL = "Of all devices; null in further pages:"


class Plan(View):
    """What a deployment set would move, before anything is stored or sent."""

    devices: list[PlannedDevice] = Field(description="A page of them, in order of id.")
    next: str | None = Field(description="For `after`; null on the last page.")
    device_count: int | None = Field(default=None, description=f"{_ALL} how many there are.")
    states: dict[str, int] | None = Field(default=None, description=f"{_ALL} state -> number of devices.")
    total_bytes: int | None = Field(default=None, description=f"{_ALL} what they would get.")
    longest_hours: float | None = Field(default=None, description=f"{_ALL} hoursOnLink of the slowest known link.")
    hours_unknown: int | None = Field(default=None, description=f"{_ALL} to how many with bytes to get it is unknown.")
    total_money: float | None = Field(default=None, description=f"{_ALL} the sum where the price is known.")
    money_unknown: int | None = Field(default=None, description=f"{_ALL} for how many with bytes to get it is not.")
    needs_approval: bool | None = Field(default=None, description=f"{_ALL} whether a person must approve it first.")
    reasons: list[str] = Field(default=[], description="Why; the first devices are named, the others counted.")
    waiting: list[WaitingView] = []
    warnings: list[UnregisteredView] = []


class TransferView(Outcome):
    transfer_id: str
    device_id: str
    image_id: str
    reference: str
    state: str = _states(TRANSFER)
    stage: str = Field(
        description="As people see it: before it is published unplanned, queued (its patch waits to be built), "
        "building or publishing, then its state.",
        json_schema_extra={"enum": [*sorted({*STAGES} | (TRANSFER.states - {"queued", "building"}))]},
    )
    attempt: int
    sequence: int
    sources: list[str] | None
    patch_id: str | None
    priority: str
    number: int | None
    bundle: str | None
    bundle_bytes: int | None
    estimated_bytes: int | None
    full_bytes: int
    unregistered: list[str] | None = Field(description="On the device, and a nearer source had it been registered.")
    local_digest: str | None
    bytes_fetched: int | None
    seconds_on_link: float | None
    created_at: datetime
    updated_at: datetime


class TransferEventView(Outcome):
    transfer_id: str
    attempt: int
    sequence: int
    old: str | None
    new: str
    source: str
    at: datetime


class ExportedBundle(View):
    """A bundle that can be carried to its device by hand."""

    transfer_id: str
    reference: str
    image_id: str
    bundle: str = Field(description="Its name in the outbox: of the whole bundle, or `.shared`, for one in two parts.")
    bundle_bytes: int = Field(description="Of the whole bundle.")
    url: str = Field(description="Where that file is read until `expiresAt`.")
    patch_url: str | None = Field(description="Of the part that the file of a shared bundle leaves out; else null.")


class NotExported(Outcome):
    """On its way, and nothing to carry: not built yet, or on the device already."""

    transfer_id: str
    reference: str
    stage: str


class DeviceExport(View):
    device_id: str
    expires_at: datetime
    bundles: list[ExportedBundle] = Field(description="In the order in which the device takes them.")
    not_ready: list[NotExported]


class Bucket(View):
    bucket_start: datetime
    succeeded: int
    failed: int
    bytes: int


class TimeSeries(View):
    bucket: Literal["hour", "day", "week"]
    start: datetime = Field(alias="from")
    end: datetime = Field(alias="to")
    items: list[Bucket]


class PatchView(Outcome):
    patch_id: str
    target: str
    target_references: list[str]
    sources: list[str]
    source_references: list[list[str]] = Field(description="Names of each source.")
    profile: str
    state: str = _states(PATCH)
    bytes: int | None
    sha256: str | None
    memory_bytes: int | None
    estimated_bytes: int | None
    bytes_read: int | None
    seconds: float | None
    tries: int = Field(description="Steps of its build begun since one ended; code and detail say why.")
    next_try_at: datetime | None = Field(description="It is not built before.")


class AuditView(View):
    entry_id: int
    at: datetime
    who: str
    how: str = Field(description="How that was known: key, person and object id, application and client id.")
    action: str
    subject: str
    detail: dict[str, Any]


class QuarantineView(View):
    """Messages of one sender that could not be taken for one reason, and one of them whole; ``body`` is base64."""

    entry_id: int
    count: int
    first_at: datetime
    at: datetime = Field(description="When the last one came.")
    kept_at: datetime = Field(description="When the one came that detail, body and properties are of.")
    hub: str
    device_id: str | None
    module_id: str | None
    reason: str
    detail: str
    body: str
    properties: dict[str, Any]

    @field_validator("body", mode="before")
    @classmethod
    def _as_base64(cls, body: object) -> object:
        return base64.b64encode(body).decode() if isinstance(body, bytes) else body


@cache
def page_of(view: type[View]) -> type[View]:
    """The model of one page of ``view``: items in stable order, and where the next page starts."""
    page: type[View] = create_model(
        f"{view.__name__.removesuffix('View')}Page",
        __base__=View,
        items=(list[view], ...),  # type: ignore[valid-type]
        next=(str | None, Field(description="Give it as ``after`` to read on; null on the last page.")),
    )
    return page


class DeviceImageList(View):
    items: list[DeviceImageView]


class TransferHistory(View):
    items: list[TransferEventView]
