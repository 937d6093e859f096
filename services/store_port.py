"""What steps and triggers may ask of the record of truth (SQL).

Each method is one transaction. Every change of state is a conditional UPDATE along contracts.states, so
that any call can be made twice; a call that finds its work already done changes nothing and says so.
Raises: RequestError (``request.*``) for the impossible, DependencyError when SQL does not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from contracts.messages import Inventory, Report
from contracts.records import (
    ARCHIVE,
    AuditEntry,
    Census,
    Cost,
    DeploymentSet,
    Device,
    DeviceImage,
    Figures,
    Heartbeat,
    ImageRecord,
    LayerRecord,
    Member,
    Notification,
    Page,
    Patch,
    Publication,
    Registration,
    Release,
    Transfer,
    TransferEvent,
    Trouble,
    Underway,
    Unregistered,
    Waiting,
)
from contracts.requests import EnrolDevice, RegisterImage, StartDeployment

T = TypeVar("T")


@dataclass(frozen=True)
class Origin:
    """Who sent a message, by the hub's own connection properties; never by the message body."""

    hub: str
    device_id: str
    module_id: str | None
    message_id: str | None
    enqueued_at: datetime
    hub_device_id: str = ""
    """The sender's id in its hub; ``device_id`` when empty."""

    @property
    def binding(self) -> tuple[str, str]:
        return self.hub, self.hub_device_id or self.device_id


@dataclass(frozen=True)
class Senders:
    """Who identities of a hub are."""

    devices: Mapping[str, str]
    """Id in the hub -> device."""
    past: frozenset[str]
    """Ids in the hub that were a device's before it got another."""


@dataclass(frozen=True)
class Outcome:
    """What became of a message: applied, duplicate, stale, unknown or held; ``detail`` for the log.

    ``set_ids`` are the open sets that have something to plan because of it.
    """

    result: str
    detail: str
    set_ids: tuple[str, ...] = ()
    transfer: Transfer | None = None
    """As it is now, where a report moved it."""
    arrived_bytes: int = 0
    """Of its bundle, once, when it is first known to be on the device."""


@dataclass(frozen=True)
class SyncClaim:
    """The right to write one device's twin, until then."""

    device: Device
    until: datetime
    tries: int
    """Since it was last written, this one included."""


@dataclass(frozen=True)
class MemberDue:
    """A member that is to be released, or to be seen running, and the hub to ask."""

    set_id: str
    device_id: str
    hub: str
    hub_device_id: str = ""
    """The device's id there; ``device_id`` when empty."""


@dataclass(frozen=True)
class MemberClaim:
    """The right to release or confirm one member, until then."""

    member: Member
    until: datetime
    tries: int
    """Since it came to its state, this one included."""


@dataclass(frozen=True)
class HubLayer:
    """A deployment of ours by target condition, in one hub."""

    hub: str
    layer_id: str
    set_id: str
    workstream: str


@dataclass(frozen=True)
class Confirmation:
    """What was found of a released member: the state it is in, or comes to."""

    claim: MemberClaim
    state: str
    again_at: datetime | None
    """When to look next; None when nothing can change any more."""
    seen_at: datetime | None = None
    """Since when the device has known the manifest."""
    code: str | None = None
    detail: str | None = None


@dataclass(frozen=True)
class Untaken:
    """A message that could not be taken, and why."""

    hub: str
    device_id: str | None
    module_id: str | None
    reason: str
    detail: str
    body: bytes
    properties: Mapping[str, Any]


@dataclass(frozen=True)
class BundleResult:
    """What became of the blobs of a bundle: they lie in the outbox, or never will."""

    transfer: Transfer
    """Of the publication."""
    bytes: int = 0
    """Of the whole bundle."""
    code: str | None = None
    """Why it can never be made as things are."""
    detail: str | None = None


@dataclass(frozen=True)
class PlannedTransfer:
    """What planning decided for one image on one device."""

    device_id: str
    image_id: str
    reference: str
    already_present: bool
    sources: tuple[str, ...]
    profile: str
    estimated_bytes: int
    full_bytes: int
    priority: str
    unregistered: tuple[str, ...] = ()
    """Images on the device that could have been sources, had they been registered."""


@dataclass(frozen=True)
class WantedPatch:
    """A patch that devices would get, were its image ordered today."""

    image_id: str
    sources: tuple[str, ...]
    profile: str
    estimated_bytes: int


Range = tuple[str, str]
"""The first and the last device of some members of a set, in order of id."""


@dataclass(frozen=True)
class PlanningBegun:
    """``state`` of the set, and the members that have to be planned, in ranges."""

    state: str
    claim: datetime | None
    """Given back when planning ends; None when the set is in no state to be planned."""
    ranges: tuple[Range, ...] = ()


@dataclass(frozen=True)
class Unplanned:
    """A member that has to be planned."""

    device: Device
    refused: Mapping[str, tuple[frozenset[str], int]]
    """Image ID -> sources that are never planned again for it, and the attempt that is to come."""


@dataclass(frozen=True)
class PlannedMember:
    device_id: str
    agent_version: int
    """``$version`` of $edgeAgent's desired properties now: a release over another one is a conflict."""
    inventory_at: datetime | None
    """Of the inventory that the plan was made from."""
    transfers: tuple[PlannedTransfer, ...]


@dataclass(frozen=True)
class Decisions:
    """What planning decided for a batch of members."""

    planned: Sequence[PlannedMember] = ()
    failed: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Device -> code and detail of why it cannot be planned for."""
    put_off: Collection[str] = ()
    """Devices whose hub does not answer."""
    silent: Collection[str] = ()
    """Devices that have to tell first what they have."""

    @property
    def device_ids(self) -> set[str]:
        return {*(member.device_id for member in self.planned), *self.failed, *self.put_off, *self.silent}


class Images(Protocol):
    def request_registration(
        self, request: RegisterImage, by: str, at: datetime, event: str | None = None
    ) -> Registration:
        """Args:
        event: Id of the registry's notice that led to it.
        """
        ...

    def registration(self, registration_id: str) -> Registration | None: ...
    def open_registrations(self, limit: int) -> tuple[str, ...]:
        """Registrations queued or being read, oldest first: the timer starts again those whose reader died."""
        ...

    def start_registration(self, registration_id: str) -> Registration: ...
    def finish_registration(
        self, registration_id: str, images: Mapping[str, str], at: datetime, detail: str | None = None
    ) -> None:
        """Mark registered and point the registration's references at ``images`` (platform -> image ID).

        ``detail``: what of the archive was passed over.
        """
        ...

    def fail_registration(self, registration_id: str, code: str, detail: str) -> None: ...
    def known_layers(self, diff_ids: Sequence[str]) -> Mapping[str, LayerRecord]: ...
    def add_layer(self, layer: LayerRecord) -> None: ...
    def add_image(self, image: ImageRecord, origin: str = ARCHIVE, asked_at: datetime | None = None) -> None:
        """Adding what is known changes nothing but its references and origins.

        Args:
            origin: Configured name of the registry that it comes from.
            asked_at: When that was asked for: a reference that was given to another image since then stays there.
        """
        ...

    def origins(self, image_ids: Collection[str]) -> Mapping[str, frozenset[str]]:
        """Of registered images: all that they came from."""
        ...

    def previous(self, image_id: str) -> str | None:
        """The image of the same platform that was registered last before it from a repository of the same path."""
        ...

    def fleet_versions(self, image_id: str) -> Mapping[frozenset[str], int]:
        """Versions of the image that devices hold together -> how many hold just those; see store.fleet_versions."""
        ...

    def image(self, image_id: str) -> ImageRecord | None: ...
    def images(self, image_ids: Sequence[str]) -> Mapping[str, ImageRecord]: ...
    def names(self, image_ids: Collection[str]) -> Mapping[str, tuple[str, ...]]:
        """Of registered images: the references that name them now."""
        ...

    def resolve(self, references: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """reference -> platform -> image ID; unknown references are absent."""
        ...

    def find_ids(self, prefix: str, limit: int) -> tuple[str, ...]:
        """IDs of registered images that start so, in order."""
        ...

    def list_images(self, *, reference: str | None, platform: str | None, limit: int, after: str | None) -> Page: ...
    def devices_with(self, image_id: str, *, limit: int, after: str | None) -> Page:
        """Of Device records."""
        ...


class Devices(Protocol):
    def enrol(self, device_id: str, request: EnrolDevice, by: str, at: datetime) -> tuple[Device, bool]:
        """The device and whether it is new. Another hub than before, or another id there, holds the device until it is
        heard from under its new binding (``hub mismatch``).

        Raises: RequestError ``request.binding_taken`` (409): Another device has that identity.
        """
        ...

    def rebind(self, device_id: str, hub: str, hub_device_id: str, by: str, at: datetime) -> Device:
        """Give the device another identity, as ``enrol`` does, and change nothing else of it."""
        ...

    def senders(self, hub: str, hub_device_ids: Collection[str]) -> Senders:
        """Which devices these identities of a hub are."""
        ...

    def device(self, device_id: str) -> Device | None: ...
    def list_devices(
        self,
        *,
        state: str | None,
        hub: str | None,
        tag: tuple[str, str] | None,
        silent: bool | None = None,
        missing: bool | None = None,
        limit: int,
        after: str | None,
    ) -> Page: ...
    def machines(self) -> tuple[tuple[str, ...], ...]:
        """Of devices that are not retired: the platforms that they run, best first; each such list once."""
        ...

    def matching(self, query: str, device_ids: Collection[str]) -> frozenset[str]:
        """Those of the devices that a tag query finds. Raises: RequestError ``request.invalid``."""
        ...

    def images_on(self, device_id: str) -> tuple[DeviceImage, ...]: ...
    def images_on_many(self, device_ids: Sequence[str]) -> Mapping[str, tuple[DeviceImage, ...]]: ...
    def record_inventory(self, origin: Origin, inventory: Inventory) -> Outcome:
        """Evidence beats every state: confirms images, heals transfers both ways, finds replaced and
        duplicate devices. An inventory older than the last one of its installation is stale."""
        ...

    def retire(self, device_id: str, by: str, at: datetime) -> Device: ...
    def replace(self, device_id: str, by: str, at: datetime) -> Device:
        """The hardware was replaced: what SQL believed of its images is dropped and sent again."""
        ...

    def resync(self, device_id: str, by: str, at: datetime) -> Device:
        """Ask the device for an inventory now; releases a held device."""
        ...

    def to_sync(self, at: datetime, limit: int) -> tuple[str, ...]:
        """Devices whose twin may lack what the cloud wants, those that wait longest first: never written, changed
        (also by retiring), or SAS past half its life."""
        ...

    def claim_sync(self, device_id: str, lease: timedelta, at: datetime) -> SyncClaim | None: ...
    def desired_facts(self, device_id: str) -> Mapping[str, Any]:
        """keepImages (those that matter most first), revokedBundles (newest first), paused, resync, link: what the twin
        should hold besides the SAS."""
        ...

    def synced(self, claim: SyncClaim, digest: str, renew_after: datetime | None, code: str | None) -> None:
        """The twin holds what was wanted when it was claimed.

        Args:
            renew_after: When it is to be written again, whatever happens; None for never.
            code: Why it does not hold all of it.
        """
        ...

    def unwell(self) -> Mapping[str, int]:
        """How many are ``silent``, how many ``missing``."""
        ...

    def to_notice(self, at: datetime, limit: int) -> tuple[str, ...]:
        """Devices that were to be heard from by now."""
        ...

    def notice_silent(self, device_ids: Sequence[str], at: datetime) -> None:
        """Mark those that were not, and have the owners of open sets told that wait for them."""
        ...

    def put_off_silence(self, device_ids: Sequence[str], until: datetime) -> None: ...
    def put_off_syncs(self, hub: str, until: datetime, at: datetime) -> None:
        """All that are due of a hub that does not answer."""
        ...

    def sync_failed(self, claim: SyncClaim, code: str | None, until: datetime) -> None:
        """Keep why the twin cannot be written, until it is; it is due again then, or at the next change."""
        ...


@dataclass(frozen=True)
class HubDevice:
    """A device that has our module, as its hub says."""

    hub_device_id: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class ReadingClaim:
    """The right to read the next page of a hub's devices, until then."""

    hub: str
    until: datetime
    began_at: datetime
    """When the first page was read."""
    after: str | None
    """Asks for the page; None for the first."""
    tries: int


@dataclass(frozen=True)
class PageOutcome:
    enrolled: tuple[str, ...]
    changed: tuple[str, ...]
    """Devices whose tags are other ones now."""
    taken: tuple[str, ...]
    """Ids of new ones that another device has already."""


class Hubs(Protocol):
    """Reading the hubs' devices: which have our module, and what their tags are."""

    def expect(self, hubs: Collection[str], at: datetime) -> None:
        """These are to be read, others not any more."""
        ...

    def to_read(self, at: datetime) -> tuple[str, ...]:
        """Hubs of which a page is due, longest waiting first."""
        ...

    def claim(self, hub: str, lease: timedelta, at: datetime) -> ReadingClaim | None: ...
    def record(
        self, claim: ReadingClaim, seen: Sequence[HubDevice], enrol: Mapping[str, EnrolDevice], at: datetime
    ) -> PageOutcome:
        """Take a page: known devices are there and have these tags; ``enrol`` (id in the hub -> order) are new ones
        that may come in. Recording it twice changes nothing."""
        ...

    def go_on(self, claim: ReadingClaim, after: str, at: datetime) -> None: ...
    def begin_anew(self, claim: ReadingClaim, at: datetime) -> None: ...
    def end(self, claim: ReadingClaim, next_at: datetime, at: datetime) -> int:
        """Devices of the hub that were on no page are missing from now on; how many came to be."""
        ...

    def failed(self, claim: ReadingClaim, code: str, detail: str, until: datetime) -> None: ...
    def put_off(self, hub: str, until: datetime) -> None: ...


class Sets(Protocol):
    def create(
        self,
        request: StartDeployment,
        *,
        images: Mapping[str, Mapping[str, str]],
        manifest: Mapping[str, Any] | None,
        by: str,
        at: datetime,
        rollback_of: str | None = None,
        trace: str | None = None,
    ) -> DeploymentSet:
        """Store an accepted set and its members (waiting_inventory), devices resolved from ids or query.

        Raises: RequestError ``request.unknown_device``, ``request.no_device``, ``request.retired_device``.
        """
        ...

    def select_devices(self, request: StartDeployment) -> tuple[Device, ...]:
        """The devices a request names, for a dry run; same errors as ``create``."""
        ...

    def deployment_set(self, set_id: str) -> DeploymentSet | None: ...
    def ran_before(self, set_id: str) -> Mapping[str, str | None]:
        """Device that the set was released to -> the newest older set of the workstream with a manifest that was, too;
        None where there is none. In order of device."""
        ...

    def member(self, set_id: str, device_id: str) -> Member:
        """Raises: RequestError ``request.not_found`` (404)."""
        ...

    def members(self, set_id: str) -> tuple[Member, ...]: ...
    def list_sets(
        self,
        *,
        owner: str | None,
        state: str | None,
        workstream: str | None,
        device_id: str | None = None,
        limit: int,
        after: str | None,
    ) -> Page: ...
    def events(self, set_id: str, *, limit: int, after: str | None) -> Page:
        """Everything that happened to the set, its members and transfers, oldest first, as dicts
        {at, kind, subject, old, new, code, detail, who}."""
        ...

    def move(
        self,
        set_id: str,
        old: str,
        new: str,
        mover: str,
        at: datetime,
        *,
        code: str | None = None,
        detail: str | None = None,
    ) -> bool:
        """True when this call moved it; checks contracts.states."""
        ...

    def move_member(
        self,
        set_id: str,
        device_id: str,
        old: str,
        new: str,
        mover: str,
        at: datetime,
        *,
        code: str | None = None,
        detail: str | None = None,
    ) -> bool: ...
    def begin_plan(self, set_id: str, lease: timedelta, size: int, at: datetime) -> PlanningBegun:
        """accepted -> planning; takes the planning of the set for ``lease`` and finds who has to be planned.

        Raises: RequestError ``request.not_found``.
        """
        ...

    def unplanned(self, set_id: str, within: Range, at: datetime) -> tuple[Unplanned, ...]:
        """The members of a range that have to be planned."""
        ...

    def record_plan(self, set_id: str, decisions: Decisions, at: datetime) -> None:
        """Record what was decided: a transfer created or joined for each image, its patch requested, members planned,
        failed or put off. Nothing is started by it. Planning twice changes nothing; what the inventory contradicts by
        now, or is not to be planned any more, is left as it is."""
        ...

    def is_unplanned(self, set_id: str, at: datetime) -> bool:
        """Whether any of its members has to be planned now."""
        ...

    def costs(self, set_id: str) -> tuple[Cost, ...]:
        """Of its members that are planned and not started, in order of device."""
        ...

    def ask_approval(self, set_id: str, asked_bytes: int, detail: str, at: datetime) -> bool:
        """planning -> awaiting_approval, with what the plan would send."""
        ...

    def hold_back(self, set_id: str, reasons: Mapping[str, str], at: datetime) -> None:
        """Fail members (device -> why) that are planned and need approval in a set that is on its way."""
        ...

    def to_start(self, set_id: str, size: int) -> tuple[Range, ...]:
        """Ranges of members that are planned, when the set may be started."""
        ...

    def start(self, set_id: str, within: Range, weighed_at: datetime, at: datetime) -> None:
        """Start members of a range that were planned by ``weighed_at`` and have a whole plan: they become in_transit
        or ready when all is there. Their patches are due, and older sets of the workstream give way there."""
        ...

    def end_plan(self, set_id: str, claim: datetime, at: datetime) -> None:
        """Give the planning of the set up, until the next of its members has to be planned."""
        ...

    def to_plan(self, at: datetime, limit: int) -> tuple[str, ...]:
        """Sets that have members to plan or to start, longest due first."""
        ...

    def figures(self, set_ids: Sequence[str]) -> Mapping[str, Figures]:
        """Of the sets for which a plan was recorded."""
        ...

    def member_states(self, set_id: str) -> Mapping[str, int]:
        """state -> number of members."""
        ...

    def troubles(self, set_id: str, states: Collection[str]) -> tuple[Trouble, ...]:
        """Members in these states, by state and code, most of them first."""
        ...

    def list_members(
        self, set_id: str, *, state: str | None, device_id: str | None = None, limit: int, after: str | None
    ) -> Page:
        """Of MemberShown, in order of device."""
        ...

    def waiting(self, set_id: str) -> tuple[Waiting, ...]:
        """What devices themselves keep their members waiting for: unseen, silent or held."""
        ...

    def silent(self, set_id: str) -> tuple[Waiting, ...]:
        """Devices that the set waits for and that are not heard from."""
        ...

    def unregistered(self, set_id: str) -> tuple[Unregistered, ...]: ...

    def figures_of_members(self, set_id: str) -> Mapping[str, Figures]:
        """device -> its part of the set's figures."""
        ...

    def approve(self, set_id: str, by: str, at: datetime) -> DeploymentSet: ...
    def cancel(self, set_id: str, by: str, at: datetime) -> DeploymentSet:
        """Cancels the set; its members and what was sent for them alone follow by ``withdraw_part``."""
        ...

    def withdraw_part(self, set_id: str, at: datetime) -> bool:
        """Let the next members of a cancelled set go, cancel transfers that no open set needs and revoke their bundles.
        Whether more are left."""
        ...

    def request_release(self, set_id: str, by: str, at: datetime) -> DeploymentSet:
        """Raises: RequestError ``request.not_ready`` (409) naming the images and devices still missing."""
        ...

    def promote(self, set_id: str, by: str, at: datetime) -> DeploymentSet: ...
    def exclude_member(self, set_id: str, device_id: str, by: str, at: datetime) -> Member: ...
    def retry_member(self, set_id: str, device_id: str, by: str, at: datetime) -> Member:
        """failed -> planned; its failed transfers start a new attempt."""
        ...

    def rebase_member(self, set_id: str, device_id: str, agent_version: int, by: str, at: datetime) -> Member: ...
    def skip_member(self, set_id: str, device_id: str, by: str, at: datetime) -> Member: ...
    def to_settle(self, at: datetime, limit: int) -> tuple[str, ...]:
        """Sets whose members moved, that were ordered to go on, or whose deadline has come; longest waiting first."""
        ...

    def settle(self, set_id: str, at: datetime) -> DeploymentSet:
        """Move the set to where its members are, as far as the facts allow; mark it overdue; make those members due
        that may be released now. It stays due while more of that is left to do."""
        ...

    def put_off_settling(self, set_id: str, until: datetime, at: datetime) -> None: ...


class Transfers(Protocol):
    def transfer(self, transfer_id: str) -> Transfer | None: ...
    def of_member(self, set_id: str, device_id: str) -> tuple[Transfer, ...]: ...
    def of_set(self, set_id: str) -> tuple[Transfer, ...]: ...
    def list_transfers(
        self,
        *,
        device_id: str | None,
        image_id: str | None,
        state: str | None,
        set_id: str | None,
        limit: int,
        after: str | None,
    ) -> Page:
        """``state`` may be ``in_transit`` for all the states that people see so."""
        ...

    def history(self, transfer_id: str) -> tuple[TransferEvent, ...]: ...
    def timeseries(
        self,
        bucket: str,
        start: datetime,
        end: datetime,
        *,
        set_id: str | None = None,
        device_id: str | None = None,
        workstream: str | None = None,
    ) -> tuple[Mapping[str, Any], ...]:
        """[{bucketStart, succeeded, failed, bytes}], bucket hour, day or week (ISO); of what is named alone."""
        ...

    def stages(self, set_id: str) -> Mapping[str, int]:
        """Stage (contracts.states.stage_of) -> number of transfers that the set is linked to."""
        ...

    def wanted_bundles(self, device_id: str) -> Collection[tuple[str, int]]:
        """(transfer, attempt) of bundles that lie in the device's outbox, or will, and are to be fetched."""
        ...

    def record_reports(self, reports: Sequence[tuple[Origin, Report]], *, max_attempts: int) -> tuple[Outcome, ...]:
        """All of them in their order, or none: what became of each.

        Forward only within (attempt, sequence). source_missing queues the next attempt, bounded; the
        refused source is corrected in the inventory. Unknown transfers, other devices' transfers and
        older attempts change nothing."""
        ...


class Patches(Protocol):
    def prepare(self, wanted: Sequence[WantedPatch], at: datetime) -> int:
        """Have these built ahead of any order, when nothing that is ordered waits for a build; how many that are.

        What fails ahead of orders is left for the order that wants it.
        """
        ...

    def to_build(self, at: datetime, limit: int) -> tuple[str, ...]:
        """Those that are being built, and of the due ones those that wait longest; ``limit`` in all. If there are none
        of either, one that is to be prepared."""
        ...

    def to_publish(self, at: datetime, limit: int) -> tuple[str, ...]:
        """Verified ones that somebody waits for."""
        ...

    def patch(self, patch_id: str) -> Patch | None: ...
    def list_patches(self, *, state: str | None, target: str | None, limit: int, after: str | None) -> Page: ...
    def begin_step(self, patch_id: str, worker: str, lease: timedelta, at: datetime) -> Patch | None:
        """The patch when this worker may build it now: it is requested and due, its own, or its worker's lease is over.

        None also when no started set waits for it, unless it is prepared and no other one is due for a set. ``tries``
        counts the steps begun since the last one that ended.
        """
        ...

    def keep(self, patch_id: str, worker: str, lease: timedelta, at: datetime) -> bool:
        """Hold the patch for as long again; False when the worker must stop: it lost the lease, or nobody waits."""
        ...

    def end_step(self, patch_id: str, worker: str, *, bytes_read: int, seconds: float, at: datetime) -> bool:
        """A part of the build is done: its tries begin anew, and what it took is added up."""
        ...

    def abandon(self, patch_id: str, worker: str, at: datetime) -> bool:
        """building -> requested when this worker builds it and no started set waits for it any more."""
        ...

    def put_off(self, patch_id: str, worker: str, code: str, detail: str, max_tries: int, at: datetime) -> str | None:
        """A step failed, and trying again may help: building -> requested, due at once, then after pauses that grow;
        after ``max_tries`` as by ``failed``. Returns the new state; None when this worker builds it no more."""
        ...

    def verified(
        self,
        patch_id: str,
        worker: str,
        *,
        size: int,
        sha256: str,
        crc32: int,
        chunks: str,
        memory_bytes: int,
        bytes_read: int,
        seconds: float,
        at: datetime,
    ) -> bool: ...
    def lost(self, sha256: str, at: datetime) -> int:
        """The blob of these bytes is not there: verified -> requested, due at once; how many patches that are.

        What cannot go on without the old bytes begins its next attempt: bundles that are not whole in their outbox
        yet, and shared ones that are not fetched.
        """
        ...

    def failed(self, patch_id: str, worker: str, code: str, detail: str, at: datetime) -> bool:
        """building -> failed, and the transfers that wait for it fail with the same code, in one transaction."""
        ...


class Publications(Protocol):
    def claim(self, patch_id: str, after: str, limit: int, *, shared: bool, at: datetime) -> tuple[Publication, ...]:
        """Transfers of any started set that this verified patch can be sent for now, behind transfer ``after``.

        queued -> building; gives each attempt number, floor and name once, and the same when called again.

        Args:
            shared: Devices that fetch shared bundles get such.
        """
        ...

    def finish(self, patch_id: str, results: Sequence[BundleResult], at: datetime, *, last: bool) -> int:
        """building -> published or failed; returns how many became published.

        Args:
            last: Everybody who waited for the patch has been served: it is due again when the next one waits.
        """
        ...


class Notifications(Protocol):
    def due(self, at: datetime, limit: int) -> tuple[str, ...]:
        """Pending ones, and claimed ones whose lease is over."""
        ...

    def claim(self, notification_id: str, lease: timedelta, max_tries: int, at: datetime) -> Notification | None:
        """None when it is not due any more. One that was claimed ``max_tries`` times in vain is dead."""
        ...

    def sent(self, notification_id: str, subject: str, body: str, at: datetime) -> bool:
        """The text is kept as it went out."""
        ...

    def drop(self, notification_id: str) -> bool:
        """claimed -> dropped: what it would tell is no longer so."""
        ...

    def failed(self, notification_id: str, detail: str, until: datetime | None) -> bool:
        """Back to pending until then, or dead (None)."""
        ...

    def put_off(self, channel: str, until: datetime, at: datetime) -> None:
        """All that are due that way: its service does not answer."""
        ...

    def of_set(self, set_id: str) -> tuple[Notification, ...]: ...
    def list_of_set(self, set_id: str, *, limit: int, after: str | None) -> Page:
        """Newest first."""
        ...


class Releases(Protocol):
    def due(self, at: datetime, limit: int, room: Mapping[str, int] | None = None) -> tuple[MemberDue, ...]:
        """Members that may be released, or whose release was begun and has to be taken over; longest waiting first, and
        of every set some when there are more than ``limit``.

        Args:
            room: Hub -> how many manifests it takes now.
        """
        ...

    def claim(self, set_id: str, device_id: str, lease: timedelta, at: datetime) -> MemberClaim | None:
        """ready -> releasing under a lease, or a releasing one whose lease is over; None when it may not
        be released (any more): another worker has it, released, superseded by a newer set."""
        ...

    def record(self, release: Release, at: datetime) -> bool:
        """Store the release and move the member releasing -> released."""
        ...

    def refuse(self, claim: MemberClaim, state: str, code: str, detail: str, at: datetime) -> bool:
        """releasing -> conflict, failed or ready (given back, and tried again later)."""
        ...

    def put_off(
        self,
        set_id: str,
        device_id: str,
        until: datetime,
        *,
        claim: MemberClaim | None = None,
        code: str | None = None,
        detail: str | None = None,
    ) -> None:
        """It is due again then. What another worker has claimed meanwhile stays with that one.

        Args:
            code: Why it waits, shown with the member until it goes on.
        """
        ...

    def put_off_hub(self, hub: str, until: datetime, at: datetime) -> None:
        """Everything that is to be released or confirmed through a hub that does not answer."""
        ...

    def due_to_confirm(self, at: datetime, limit: int) -> tuple[MemberDue, ...]:
        """Released members that are to be looked at; longest waiting first."""
        ...

    def claim_confirmations(
        self, these: Collection[MemberDue], lease: timedelta, at: datetime
    ) -> tuple[MemberClaim, ...]:
        """Those that are due still, and other due ones of the same sets and devices."""
        ...

    def of_members(self, claims: Collection[MemberClaim]) -> Mapping[tuple[str, str], Release]:
        """(set, device) -> what was released."""
        ...

    def confirm(self, found: Sequence[Confirmation], at: datetime) -> int:
        """released -> applied or apply_failed, apply_failed -> applied; the others are looked at again later.
        How many moved."""
        ...

    def release(self, set_id: str, device_id: str) -> Release | None: ...
    def workstream_modules(self, device_id: str) -> Mapping[str, str]:
        """module name -> workstream, from the releases that stand on the device."""
        ...

    def own_versions(self, device_id: str, since: int) -> Mapping[int, int]:
        """$version of the device's deployment before a release of ours -> after it, from this version on."""
        ...

    def list_of_set(self, set_id: str, *, limit: int, after: str | None) -> Page:
        """In order of device."""
        ...

    @property
    def layers(self) -> Layers: ...


class Layers(Protocol):
    """Deployments of ours by target condition: made once, taken away when no device stands in them."""

    def want(self, layer: HubLayer, at: datetime) -> str:
        """What is to be done before a device's tag may name it: ``made``: nothing; ``make`` it in the hub;
        ``wait``: it is being made or taken away; ``too_many``: not this one, the set's devices are too unlike."""
        ...

    def made(self, hub: str, layer_id: str, at: datetime) -> None: ...
    def due(self, at: datetime, limit: int) -> tuple[tuple[str, str], ...]:
        """(hub, layer) that may have no device any more; longest waiting first."""
        ...

    def claim_leaving(self, hub: str, layer_id: str, lease: timedelta, at: datetime) -> bool:
        """Whether no device stands in it: then nobody may want it until the lease is over."""
        ...

    def gone(self, hub: str, layer_id: str) -> None:
        """It was taken out of its hub."""
        ...

    def put_off(self, hub: str, layer_id: str, until: datetime) -> None: ...


class Attendance(Protocol):
    """What the timer has to do, and when it last did."""

    def oldest_due(self, at: datetime) -> Mapping[str, datetime]:
        """Kind (contracts.work) -> since when its oldest is due; kinds of which nothing is due are absent."""
        ...

    def done(self, kinds: Collection[str], failures: Mapping[str, str], at: datetime) -> None:
        """These kinds were looked after; kind -> code of what went wrong with it that nobody foresaw."""
        ...

    def heartbeats(self) -> Mapping[str, Heartbeat]: ...


class Audit(Protocol):
    def record(
        self,
        order_id: str,
        request_digest: str,
        *,
        who: str,
        how: str,
        action: str,
        subject: str,
        detail: Mapping[str, Any],
        at: datetime,
    ) -> None:
        """Within ``Store.together`` with what the order changes, so that both are there or neither."""
        ...

    def entry_of(self, order_id: str) -> AuditEntry | None:
        """What was done for this order; None while it was not."""
        ...

    def list_entries(
        self,
        *,
        who: str | None,
        subject: str | None,
        action: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int,
        after: str | None,
    ) -> Page:
        """Newest first; of the time from ``start`` to before ``end``."""
        ...


class Quarantine(Protocol):
    def keep(self, messages: Sequence[Untaken], at: datetime) -> None:
        """Count them by sender and reason, and keep one of each whole for a person to look at; bounded."""
        ...

    def entries(self, *, limit: int, after: str | None) -> Page:
        """Of QuarantinedMessage records, last heard of first."""
        ...


@dataclass(frozen=True)
class Remembered:
    """What SQL knows of a device that may have gone on without it."""

    device_id: str
    hub: str
    hub_device_id: str
    version: int | None
    """Newest ``$version`` of its deployment that SQL knows."""
    underway: tuple[Underway, ...]


@dataclass(frozen=True)
class Disbelieved:
    """What is no longer believed of a device: transfers that are given up, and its last number."""

    device_id: str
    given_up: tuple[str, ...]
    number: int


class Restored(Protocol):
    """For after the database was restored from a backup (imagedelta db reconcile)."""

    def newest(self) -> datetime | None:
        """When the last thing happened that SQL knows of."""
        ...

    def stop(self, number: int, resync: int, at: datetime) -> int:
        """Wait for an inventory of every device that is not retired before anything is sent to it, write its twin
        anew, and number its next bundle above ``number``; in one statement. Doing it again asks for another inventory.

        Args:
            resync: Higher than any that a twin may hold: a device tells what it has when the number changes.

        Returns: How many devices.
        """
        ...

    def devices(self, after: str, limit: int) -> tuple[Remembered, ...]:
        """Those that are not retired, behind device ``after``, in order of id."""
        ...

    def disbelieve(self, these: Sequence[Disbelieved], at: datetime) -> int:
        """In one transaction: cancel transfers and have planned anew what waited for them, and raise numbers. Doing it
        again changes nothing.

        Returns: How many transfers it cancelled.
        """
        ...

    def patches(self, after: str, limit: int) -> Mapping[str, str]:
        """Of verified patches behind ``after``, in order of id: patch -> its blob."""
        ...

    def lose_patches(self, patch_ids: Sequence[str], at: datetime) -> int:
        """Their blobs are gone: they are built again when somebody waits. How many it changed."""
        ...

    def layers(self, after: str, limit: int) -> Sequence[str]:
        """diff_ids behind ``after``, in order."""
        ...

    def images_of(self, diff_ids: Sequence[str]) -> Sequence[str]:
        """Images that have one of these layers, in order."""
        ...


class OldPatches(Protocol):
    def take(self, at: datetime) -> tuple[str, str | None] | None:
        """The id and blob of a patch that nobody has used for long, held under a lease so that nobody builds it; the
        blob is None when another patch has it too. None: there is no such patch."""
        ...

    def forget(self, patch_id: str, at: datetime) -> None:
        """Its blob is gone."""
        ...


class Retention(Protocol):
    @property
    def kinds(self) -> tuple[str, ...]:
        """Of what is forgotten by age, in the order in which that is to be done."""
        ...

    @property
    def patches(self) -> OldPatches: ...
    def forget(self, kind: str, after: Any, at: datetime) -> Any:
        """Forget a part of what is too old of a kind; one short transaction.

        Args:
            after: None, then what the part before returned.

        Returns: None once the kind is through.
        """
        ...


class Traces(Protocol):
    """W3C traceparents of the orders that work is done for; sets that were ordered unwatched have none."""

    def of_sets(self, set_ids: Collection[str]) -> Mapping[str, str]: ...
    def of_patch(self, patch_id: str) -> Sequence[str]:
        """Of the started sets that wait for it, oldest first."""
        ...

    def of_transfers(self, transfer_ids: Collection[str]) -> Sequence[tuple[str, str, str]]:
        """(transfer, set, traceparent)."""
        ...


class Censuses(Protocol):
    def take(self, at: datetime) -> Census: ...


class Store(Protocol):
    """All of the above on one database; implemented by store.sql.SqlStore."""

    @property
    def images(self) -> Images: ...
    @property
    def devices(self) -> Devices: ...
    @property
    def hubs(self) -> Hubs: ...
    @property
    def sets(self) -> Sets: ...
    @property
    def transfers(self) -> Transfers: ...
    @property
    def patches(self) -> Patches: ...
    @property
    def publications(self) -> Publications: ...
    @property
    def notifications(self) -> Notifications: ...
    @property
    def releases(self) -> Releases: ...
    @property
    def audit(self) -> Audit: ...
    @property
    def retention(self) -> Retention: ...
    @property
    def attendance(self) -> Attendance: ...
    @property
    def quarantine(self) -> Quarantine: ...
    @property
    def restored(self) -> Restored: ...
    @property
    def traces(self) -> Traces: ...
    @property
    def census(self) -> Censuses: ...

    def together(self, work: Callable[[], T]) -> T:
        """Run ``work``, whose calls of this store then are one transaction. It may be run more than once."""
        ...

    def healthy(self) -> None:
        """Raises DependencyError when SQL does not answer or its schema is not this version's."""
        ...
