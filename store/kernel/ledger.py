"""The ledger: the one hand that moves sets, members and transfers within a transaction.

Each move is a conditional UPDATE along contracts.states. What follows from it is written when the ledger is closed,
once for the whole transaction: members that their transfers lead on, the lines of the history, the notifications
that are due, the twins that hold something else now, and the sets to be settled or planned. So a call site names
what changed and nothing more, and a transaction of a thousand moves costs a few statements.

Rows are locked in one order: devices by the caller (store.kernel.tools.lock_devices), then sets, then notifications.
Source: docs/schema.md, "Transactions".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any

from sqlalchemy import ColumnElement, Connection, Update, bindparam

from contracts.records import Transfer
from contracts.states import API, ARRIVED, MEMBER, SET, TIMER, TRANSFER, WANTING
from imagedelta.errors import DependencyError
from store.kernel import due, notices
from store.kernel.derive import LED, led_members, transfers_of
from store.kernel.history import event, write_events
from store.kernel.schema import members, sets, transfers
from store.kernel.tools import chunks

MAX_DETAIL = 2000
UNPLANNED: Mapping[str, None] = dict.fromkeys(("sources", "patch_id", "estimated_bytes", "unregistered"))
"""Columns of a transfer's plan, once it holds no more."""
_LEADING = frozenset({"succeeded", "already_present", "failed", "cancelled", "queued"})
"""Transfer states that can lead a member on, or back."""


@dataclass(frozen=True)
class Step:
    """One move of a transfer among several; each of them is a line of the history."""

    old: str
    new: str
    at: datetime
    mover: str
    attempt: int
    sequence: int | None = None
    bytes: int | None = None
    code: str | None = None
    detail: str | None = None


@dataclass(frozen=True)
class Walk:
    """A transfer that moves by itself, in one or more steps, to values of its own."""

    before: Transfer
    after: Transfer
    evidence_at: datetime | None
    steps: Sequence[Step]


class Ledger:
    """A context manager; nothing but the moves themselves is written when its body raises.

    ``changed`` of every method: ``code`` and ``detail`` (None unless given), and other columns of the row.
    """

    def __init__(self, connection: Connection, mover: str, at: datetime, who: str | None = None) -> None:
        """Args:
        mover: Of contracts.states: who may make these moves.
        who: For the history, where it is more than the mover: a person, ``report``, ``inventory``.
        """
        self.connection = connection
        self.mover = mover
        self.at = at
        self._who = who or mover
        self._events: list[dict[str, Any]] = []
        self._leading: dict[str, datetime] = {}
        self._started: dict[str, set[str]] = defaultdict(set)
        self._twins: set[str] = set()
        self._unsettled: set[str] = set()
        self._unplanned: set[str] = set()
        self._queued: set[str] = set()
        self._notices: dict[tuple[str, str], None] = {}

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._close()

    # ------------------------------------------------------------ moves

    def set(self, set_id: str, old: str, new: str, **changed: Any) -> bool:
        """False when it is in another state by now; then nothing changed."""
        SET.check(old, new, self.mover)
        reason = _reason(changed)
        values = {"state": new, "updated_at": self.at, **reason, **changed}
        where = (sets.c.set_id == set_id, sets.c.state == old)
        if not self.connection.execute(sets.update().where(*where).values(**values)).rowcount:
            return False
        self._remember(self.at, "set", set_id, old, new, set_id=set_id, **reason)
        self._announce(set_id, notices.of_set_state(new))
        self._unsettled.add(set_id)
        if self.mover == API and new == "preparing":  # approved, or opened again
            self._unplanned.add(set_id)
        return True

    def member(self, set_id: str, device_id: str, old: str, new: str, **changed: Any) -> bool:
        """False when it is in another state by now; then nothing changed."""
        MEMBER.check(old, new, self.mover)
        return self._member(set_id, device_id, old, new, changed)

    def _member(self, set_id: str, device_id: str, old: str, new: str, changed: dict[str, Any]) -> bool:
        reason = _reason(changed)
        where = (members.c.set_id == set_id, members.c.device_id == device_id, members.c.state == old)
        values = self._member_values(new, reason, changed)
        if not self.connection.execute(members.update().where(*where).values(**values)).rowcount:
            return False
        self._member_moved(set_id, device_id, old, new, reason)
        self._to_plan(set_id, values)
        return True

    def members(self, set_id: str, device_ids: Collection[str], old: str, new: str, **changed: Any) -> None:
        """Move many of one set alike; the caller has read them in this transaction and holds their devices.

        Raises: DependencyError when one of them has moved meanwhile: the transaction is to be tried again.
        """
        MEMBER.check(old, new, self.mover)
        reason = _reason(changed)
        values = self._member_values(new, reason, changed)
        for part in chunks(device_ids):
            where = (members.c.set_id == set_id, members.c.device_id.in_(part), members.c.state == old)
            self._all_of(part, members.update().where(*where).values(**values))
            for device_id in part:
                self._member_moved(set_id, device_id, old, new, reason)
        self._to_plan(set_id, values)

    def transfer(self, transfer: Transfer, new: str, **changed: Any) -> bool:
        """Move it on from the state and attempt that ``transfer`` shows; False when it shows neither any more.

        ``changed`` may hold ``bytes`` for the statistics, and the ``sequence`` of the report that says so.
        """
        if new != transfer.state:
            TRANSFER.check(transfer.state, new, self.mover)
        moved_bytes = changed.pop("bytes", None)
        reason = _reason(changed)
        where = (transfers.c.transfer_id == transfer.transfer_id, *_as_shown(transfer.state, transfer.attempt))
        values = {"state": new, "updated_at": self.at, **reason, **changed}
        if not self.connection.execute(transfers.update().where(*where).values(**values)).rowcount:
            return False
        self._transfer_moved(transfer, new, {**reason, **changed}, moved_bytes)
        return True

    def transfers(self, moved: Iterable[Transfer], new: str, **changed: Any) -> None:
        """Move many alike; the caller has read them in this transaction and holds their devices.

        Raises: DependencyError when one of them has moved meanwhile: the transaction is to be tried again.
        """
        reason = _reason(changed)
        values = {"state": new, "updated_at": self.at, **reason, **changed}
        alike: dict[tuple[str, int], dict[str, Transfer]] = defaultdict(dict)
        for transfer in moved:
            alike[transfer.state, transfer.attempt][transfer.transfer_id] = transfer
        for (old, attempt), these in alike.items():
            if new != old:
                TRANSFER.check(old, new, self.mover)
            for part in chunks(these):
                where = (transfers.c.transfer_id.in_(part), *_as_shown(old, attempt))
                self._all_of(part, transfers.update().where(*where).values(**values))
            for transfer in these.values():
                self._transfer_moved(transfer, new, {**reason, **changed}, None)

    def walks(self, walks: Collection[Walk]) -> None:
        """Move each as it walked; the caller holds their rows (store.transfers.account_rows reads them so).

        Raises: DependencyError when one of them has moved meanwhile: the transaction is to be tried again.
        """
        for step in (step for walk in walks for step in walk.steps if step.old != step.new):
            TRANSFER.check(step.old, step.new, step.mover)
        stayed = [walk for walk in walks if walk.after.attempt == walk.before.attempt]
        self._each_of(_WALKED, [_walked(walk) for walk in stayed])
        anew = [walk for walk in walks if walk.after.attempt != walk.before.attempt]
        self._each_of(_WALKED, [{**_walked(walk), **_replanned(walk)} for walk in anew])
        for walk in walks:
            for step in walk.steps:
                self._stepped(walk.before, step)

    def led_by(self, transfer_ids: Iterable[str]) -> None:
        """Members that are linked to these may have to move, though none of these did."""
        self._leading.update(dict.fromkeys(transfer_ids, self.at))

    def created(self, made: Iterable[Transfer]) -> None:
        """Transfers that were inserted in this transaction."""
        for transfer in made:
            about = {"transfer_id": transfer.transfer_id, "attempt": transfer.attempt}
            self._remember(self.at, "transfer", transfer.transfer_id, None, transfer.state, **about)

    def note(self, kind: str, subject: str, state: str, detail: str, **more: Any) -> None:
        """A line in the history of something that did not move: approved, promoted, release requested."""
        self._remember(self.at, kind, subject, state, state, detail=detail, **more)

    def announce(self, set_id: str, kind: str) -> None:
        """See that the owner is told; once for the transaction."""
        self._announce(set_id, kind)

    def twins_changed(self, device_ids: Iterable[str]) -> None:
        """What these devices' twins should hold is another thing now."""
        self._twins.update(device_ids)

    def unsettled(self, set_ids: Iterable[str]) -> None:
        """Something that these sets follow from has changed, besides a move of their own members."""
        self._unsettled.update(set_ids)

    # ------------------------------------------------------------ what follows from them

    def _member_values(self, new: str, reason: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
        pause = due.AFTER_MOVE.get(new)
        next_try_at = self.at + pause if pause is not None else None
        plan_at = self.at if new == "planned" else None
        values = {"state": new, "updated_at": self.at, "plan_at": plan_at, "next_try_at": next_try_at, "tries": 0}
        return {**values, **reason, **changed}

    def _to_plan(self, set_id: str, values: Mapping[str, Any]) -> None:
        if values["plan_at"] is not None:
            self._unplanned.add(set_id)

    def _member_moved(
        self,
        set_id: str,
        device_id: str,
        old: str,
        new: str,
        reason: Mapping[str, str | None],
        at: datetime | None = None,
    ) -> None:
        self._remember(at or self.at, "member", device_id, old, new, set_id=set_id, **reason)
        self._announce(set_id, notices.of_member_state(new, reason["code"]))
        self._unsettled.add(set_id)
        if new in LED:  # its transfers may have moved while it followed none
            self._started[set_id].add(device_id)
        if (old in WANTING, old in ARRIVED) != (new in WANTING, new in ARRIVED):
            self._twins.add(device_id)

    def _transfer_moved(
        self, transfer: Transfer, new: str, changed: Mapping[str, Any], moved_bytes: int | None
    ) -> None:
        attempt = changed.get("attempt", transfer.attempt)
        told = (attempt, changed.get("sequence"), moved_bytes, changed.get("code"), changed.get("detail"))
        self._stepped(transfer, Step(transfer.state, new, self.at, self.mover, *told))

    def _stepped(self, transfer: Transfer, step: Step) -> None:
        self._remember(
            step.at,
            "transfer",
            transfer.transfer_id,
            step.old,
            step.new,
            transfer_id=transfer.transfer_id,
            attempt=step.attempt,
            sequence=step.sequence,
            bytes=step.bytes,
            code=step.code,
            detail=_short(step.detail),
        )
        if step.new == "queued":
            self._queued.add(transfer.transfer_id)
        if step.new in _LEADING and step.new != step.old:
            self._leading[transfer.transfer_id] = step.at
            self._twins.add(transfer.device_id)

    def _remember(self, at: datetime, kind: str, subject: str, old: str | None, new: str, **more: Any) -> None:
        self._events.append(event(kind, subject, old, new, at, **{"who": self._who, **more}))

    def _announce(self, set_id: str, kind: str | None) -> None:
        if kind is not None:
            self._notices[set_id, kind] = None

    def _all_of(self, part: Collection[str], statement: Any) -> None:
        if self.connection.execute(statement).rowcount != len(part):
            raise DependencyError(f"of {len(part)} rows that are moved together, some have moved meanwhile")

    def _each_of(self, statement: Update, rows: list[dict[str, Any]]) -> None:
        """Run it for each row; where the driver does not count, the rows' being held is what keeps it true."""
        if not rows:
            return
        moved = self.connection.execute(statement, rows).rowcount
        if moved != len(rows) and self.connection.dialect.supports_sane_multi_rowcount:
            raise DependencyError(f"of {len(rows)} rows that are moved together, some have moved meanwhile")

    def _lead_members(self) -> None:
        for set_id, device_ids in self._started.items():
            for transfer_id in transfers_of(self.connection, set_id, device_ids):
                self._leading.setdefault(transfer_id, self.at)
        led = list(led_members(self.connection, self._leading))
        rows = []
        for one in led:
            MEMBER.check(one.old, one.new, TIMER)  # whoever moved the transfer: this follows by rule
            reason = _reason({"code": one.code, "detail": one.detail})
            this = {"this_set": one.set_id, "this_device": one.device_id, "this_state": one.old}
            lost = one.old == "ready"  # what is lost has to be sent again, and planned for that
            values = self._member_values(
                one.new, reason, {"updated_at": one.at, **({"plan_at": self.at} if lost else {})}
            )
            rows.append({**this, **values})
            self._to_plan(one.set_id, values)
            self._member_moved(one.set_id, one.device_id, one.old, one.new, reason, one.at)
        self._each_of(_LED_MEMBER, rows)

    def _close(self) -> None:
        self._lead_members()
        due.plan_linked(self.connection, self._queued, self.at)
        due.plan_sets(self.connection, self._unplanned, self.at)
        due.sync_devices(self.connection, self._twins, self.at)
        due.settle_sets(self.connection, self._unsettled, self.at)
        write_events(self.connection, self._events)
        for set_id, kind in self._notices:
            notices.announce(self.connection, set_id, kind, self.at)


_WALKED = transfers.update().where(
    transfers.c.transfer_id == bindparam("this"),
    transfers.c.state == bindparam("this_state"),
    transfers.c.attempt == bindparam("this_attempt"),
)
_LED_MEMBER = members.update().where(
    members.c.set_id == bindparam("this_set"),
    members.c.device_id == bindparam("this_device"),
    members.c.state == bindparam("this_state"),
)


def _walked(walk: Walk) -> dict[str, Any]:
    before, after = walk.before, walk.after
    return {
        "this": before.transfer_id,
        "this_state": before.state,
        "this_attempt": before.attempt,
        "state": after.state,
        "sequence": after.sequence,
        "code": after.code,
        "detail": _short(after.detail),
        "local_digest": after.local_digest,
        "refused_sources": list(after.refused_sources),
        "evidence_at": walk.evidence_at,
        "updated_at": after.updated_at,
    }


def _replanned(walk: Walk) -> dict[str, Any]:
    return {"attempt": walk.after.attempt, **UNPLANNED}


def _as_shown(state: str, attempt: int) -> tuple[ColumnElement[bool], ...]:
    return transfers.c.state == state, transfers.c.attempt == attempt


def _reason(changed: dict[str, Any]) -> dict[str, str | None]:
    return {"code": changed.pop("code", None), "detail": _short(changed.pop("detail", None))}


def _short(detail: str | None) -> str | None:
    return detail[:MAX_DETAIL] if detail else None
