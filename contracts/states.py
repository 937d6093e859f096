"""The states of sets, members, transfers, patches, notifications and devices, and who may move them.

A state changes only along a transition listed here, by one conditional UPDATE (``WHERE state = old``).
Source: docs/adr/0003 and the table of states in docs/states.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from imagedelta.errors import RequestError

API = "api"
ORCHESTRATOR = "orchestrator"
TIMER = "timer"
DEVICE = "device"
"""``DEVICE`` moves by report or inventory; an inventory is evidence and moves anything it proves."""


@dataclass(frozen=True)
class StateMachine:
    """One kind of thing, its first state and its allowed moves: (old, new) -> who may make them."""

    kind: str
    initial: str
    terminal: frozenset[str]
    """Nothing but new evidence from a device or a person's explicit retry leads on from these."""
    moves: Mapping[tuple[str, str], frozenset[str]]

    @property
    def states(self) -> frozenset[str]:
        return frozenset({self.initial} | {state for move in self.moves for state in move})

    def allows(self, old: str, new: str, mover: str | None = None) -> bool:
        movers = self.moves.get((old, new), frozenset())
        return bool(movers) if mover is None else mover in movers

    def leading_to(self, new: str, mover: str) -> frozenset[str]:
        """States from which ``mover`` may move it to ``new``."""
        return frozenset(old for (old, end), movers in self.moves.items() if end == new and mover in movers)

    def next_states(self, old: str) -> frozenset[str]:
        return frozenset(new for start, new in self.moves if start == old)

    def check(self, old: str, new: str, mover: str | None = None) -> None:
        """Raise RequestError ``request.state`` (409) unless ``old`` may become ``new``."""
        if not self.allows(old, new, mover):
            raise RequestError(
                f"a {self.kind} that is {old} cannot become {new}" + (f" by the {mover}" if mover else ""),
                code="request.state",
                status=409,
            )


def _machine(kind: str, initial: str, terminal: str, *rows: tuple[str, str, str]) -> StateMachine:
    """Each row: states it starts from, states it leads to, movers; space separated, every combination."""
    moves: dict[tuple[str, str], frozenset[str]] = {}
    for starts, ends, movers in rows:
        for old in starts.split():
            for new in ends.split():
                moves[(old, new)] = moves.get((old, new), frozenset()) | frozenset(movers.split())
    return StateMachine(kind, initial, frozenset(terminal.split()), moves)


SET = _machine(
    "deployment set",
    "accepted",
    "completed completed_with_failures failed cancelled superseded",
    ("accepted", "planning", "orchestrator"),
    ("planning", "awaiting_approval preparing ready failed", "orchestrator"),
    ("awaiting_approval", "preparing", "api"),
    ("preparing", "in_transit ready failed", "orchestrator timer"),
    ("in_transit", "ready failed", "timer orchestrator"),
    ("ready", "in_transit releasing", "timer api"),
    ("ready", "completed completed_with_failures failed", "timer"),
    ("releasing", "released", "timer"),
    ("released", "completed completed_with_failures", "timer"),
    ("accepted planning awaiting_approval preparing in_transit ready", "cancelled", "api"),
    (
        "accepted planning awaiting_approval preparing in_transit ready",
        "superseded",
        "orchestrator timer api",
    ),
    ("failed completed_with_failures", "preparing", "api"),
    ("completed_with_failures", "completed", "timer"),  # the modules of the devices that failed run by now
)

MEMBER = _machine(
    "member",
    "waiting_inventory",
    "applied apply_failed failed excluded cancelled superseded",
    ("waiting_inventory", "planned failed", "orchestrator"),
    ("planned", "in_transit ready failed", "orchestrator timer"),
    ("in_transit", "ready failed planned", "timer orchestrator"),
    ("ready", "in_transit", "timer"),
    ("ready", "releasing", "timer"),
    ("releasing", "released conflict ready failed", "timer"),
    ("conflict", "ready excluded", "api"),
    ("released", "applied apply_failed", "timer"),
    ("apply_failed", "applied", "timer"),
    ("failed", "planned", "api"),
    ("waiting_inventory planned in_transit ready conflict failed", "excluded", "api"),
    ("waiting_inventory planned in_transit ready conflict failed", "cancelled", "api"),
    ("waiting_inventory planned in_transit ready conflict failed", "superseded", "orchestrator timer api"),
)

TRANSFER = _machine(
    "transfer",
    "queued",
    "succeeded already_present failed cancelled",
    ("queued", "building already_present failed", "orchestrator"),
    ("building", "published failed queued", "orchestrator timer"),
    ("building", "published", "device"),  # its report came before the mark of the publisher, or instead of it
    ("published", "receiving received applying succeeded failed blocked source_missing", "device"),
    ("receiving", "received applying succeeded failed blocked source_missing", "device"),
    ("received", "applying succeeded failed blocked source_missing", "device"),
    ("applying", "succeeded failed blocked source_missing", "device"),
    ("blocked", "receiving received applying succeeded failed source_missing", "device"),
    ("source_missing", "queued failed", "orchestrator timer device"),
    ("queued building failed cancelled source_missing", "succeeded", "device"),
    ("failed", "queued", "api"),
    ("succeeded already_present", "queued", "timer orchestrator"),
    # the device was replaced; the patch that a shared bundle refers to is gone
    ("published receiving received applying blocked", "queued", "timer"),
    (
        "queued building published receiving received applying blocked source_missing",
        "cancelled",
        "api orchestrator timer device",
    ),
)

PATCH = _machine(
    "patch",
    "requested",
    "verified failed",
    ("requested", "building", "orchestrator"),
    ("building", "verified failed requested", "orchestrator timer"),
    ("verified", "building", "timer"),  # taken apart: nobody has used it for long
    ("verified", "requested", "timer"),  # its blob is gone
    ("failed", "requested", "api"),  # a person retries a member: the program that failed may be another by now
)

NOTIFICATION = _machine(
    "notification",
    "pending",
    "sent dead dropped",
    ("pending", "claimed", "timer"),
    ("claimed", "sent pending dead dropped", "timer"),
)

DEVICE_STATES = _machine(
    "device",
    "enrolled",
    "retired",
    ("enrolled", "active held", "device"),
    ("active", "held enrolled", "device api"),
    ("held", "active", "api device"),
    ("held", "enrolled", "api"),
    ("enrolled active held", "retired", "api"),
)

MACHINES: Mapping[str, StateMachine] = {
    "set": SET,
    "member": MEMBER,
    "transfer": TRANSFER,
    "patch": PATCH,
    "notification": NOTIFICATION,
    "device": DEVICE_STATES,
}

OPEN_SET = SET.states - SET.terminal
UNRELEASED_SET = OPEN_SET - {"releasing", "released"}
"""Nothing of it has begun to start on a device: it may still be cancelled, or give way to a newer one."""
BEFORE_RELEASE = frozenset({"preparing", "in_transit", "ready"})
"""Started, and not yet being released as a whole."""
PLANNED_SET = frozenset({"planning", "preparing", "in_transit", "ready", "releasing", "released"})
"""Its members are planned as soon as their devices have told what they have; one that waits for approval stays."""
STARTED_SET = frozenset({"preparing", "in_transit", "ready", "releasing", "released"})
"""Its plan stands and was approved: patches are built and sent for it. The last two: a member that a person
retried, or whose image was lost, is sent to while others are released."""
RELEASED_TOGETHER = frozenset({"ready", "releasing", "released"})
"""Set states in which policies ``set`` and ``manual`` release; the last for members that a person retried."""
RELEASED_EACH = RELEASED_TOGETHER | {"preparing", "in_transit"}
"""Set states in which policy ``device`` releases whoever is ready."""
SETTLED_SET = STARTED_SET | {"completed_with_failures"}
"""Set states that follow from its members' states. The last: what failed on a device may heal afterwards."""
RETRIED_SET = frozenset({"failed", "completed_with_failures"})
"""Ended, and opened again when a person retries a member."""
GONE_SET = frozenset({"cancelled", "superseded", "failed"})
"""Ended without having arrived: its images are not kept for it."""

NEEDS_APPROVAL = "plan.needs_approval"
"""Code of a failed member that the cost guard holds back: nothing of it is sent before a person approves."""
UNPLANNED_MEMBER = frozenset({"waiting_inventory", "planned"})
"""Not started: what it lacks is found out, or waits for the whole set's approval."""
BEFORE_ARRIVAL = UNPLANNED_MEMBER | {"in_transit"}
"""Member states in which an image may still be missing on the device."""
RELEASABLE = frozenset({"ready", "releasing"})
"""Every image is there; ``releasing`` may have to be taken over from a worker that died."""
CONFIRMABLE = frozenset({"released", "apply_failed"})
"""The manifest was set, and the device may yet be seen to run it."""
STANDING = frozenset({"released", "applied", "apply_failed"})
"""The device's manifest was set."""
ARRIVED = RELEASABLE | STANDING | {"conflict"}
"""Member states in which every image is, or was, on the device."""
WANTING = BEFORE_ARRIVAL | RELEASABLE | {"conflict"}
"""Member states in which its images are still wanted on the device."""
ALIVE = WANTING - {"waiting_inventory"}
"""Planned: an older set of the workstream gives way to it on the device."""
UNRELEASED_MEMBER = WANTING - {"waiting_inventory", "releasing"}
"""Planned and not released: an image that is lost is sent again."""
FLAWED = frozenset({"failed", "apply_failed"})
"""Member states that make a finished set one with failures."""
OUT = frozenset({"excluded", "cancelled", "superseded"})
"""Member states of devices that the set goes on without."""

UNPUBLISHED = frozenset({"queued", "building"})
"""Transfer states before its bundle can be fetched."""
UNSENT = UNPUBLISHED | {"source_missing"}
"""Transfer states in which the cloud has something to do."""
IN_TRANSIT = frozenset({"published", "receiving", "received", "applying", "blocked"})
"""Transfer states that people see as "in transit"."""
NOT_FETCHED = UNSENT | {"published"}
"""Transfer states in which no byte of the bundle is known to have crossed the link."""
ACTIVE_TRANSFER = IN_TRANSIT | UNSENT
"""A transfer in one of these is the only one of its (device, image): later sets join it."""
ON_DEVICE = frozenset({"succeeded", "already_present"})
"""Transfer states that say that the image is on the device."""
BUNDLE_WANTED = IN_TRANSIT | {"building"}
"""Transfer states in which a bundle that lies in the outbox, or will, is to be fetched."""
BUNDLE_ARRIVED = frozenset({"received", "applying", "succeeded"})
"""States of a report that say that the whole bundle has crossed the link."""
OUTCOMES = frozenset({"succeeded", "failed"})
"""Transfer states that are counted over time."""

NOTIFIABLE = frozenset({"pending", "claimed"})
"""Notification states in which a mail is to go out; a claimed one when its sender has died."""

SILENT = frozenset({"enrolled", "held"})
"""Device states in which nothing can be planned for it."""

STAGES = ("unplanned", "queued", "building", "publishing")
"""What people see of a transfer that is still on this side of the link; afterwards they see its state."""


def stage_of(transfer: str, patch: str | None) -> str:
    """What a transfer in this state waits for: its plan, a builder, the build that runs, or its bundle.

    ``patch`` is the state of its patch, None without a plan.
    """
    if transfer == "building":
        return "publishing"
    if transfer != "queued":
        return transfer
    return {None: "unplanned", "building": "building", "verified": "publishing"}.get(patch, "queued")


def waits_for(device: str, twin_code: str | None) -> str | None:
    """Code of what must happen on a device's side before anything can be sent to it; None when nothing must."""
    if device == "held":
        return "device.held"
    return twin_code or ("device.no_inventory" if device == "enrolled" else None)
