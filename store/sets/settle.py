"""Deriving members from their transfers and the set from its members, as far as the facts allow.

Run as often as anyone likes: it only reads what is so and makes the moves that follow from it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Connection, false

from contracts.records import DeploymentSet, Member, Transfer
from contracts.states import ARRIVED, BEFORE_ARRIVAL, FLAWED, ON_DEVICE, OPEN_SET, OUT, SET, STARTED_SET, TIMER
from store.devices.rows import twin_changed
from store.kernel.moves import move_member, move_set
from store.kernel.notices import announce
from store.kernel.schema import member_transfers, sets
from store.kernel.tools import lock_set
from store.sets.cancel import withdraw_part
from store.sets.release_rules import waits_for_release
from store.sets.rows import known_set, members_of
from store.sets.work import has_work
from store.transfers.rows import linked_transfers

MAX_STEPS = len(SET.states)


def settle_set(connection: Connection, set_id: str, at: datetime) -> DeploymentSet:
    of = known_set(connection, set_id)
    if of.state == "cancelled":
        more = withdraw_part(connection, set_id, at)
        left = {"settled_at": at} if more else {"settled_at": at, "settle_at": None}
        connection.execute(sets.update().where(sets.c.set_id == set_id).values(**left))
        return of
    lock_set(connection, set_id)
    of = known_set(connection, set_id)
    connection.execute(sets.update().where(sets.c.set_id == set_id).values(settled_at=at))
    if of.state in STARTED_SET:
        settle_members(connection, of, at)
        for _ in range(MAX_STEPS):
            of = known_set(connection, set_id)
            if of.state not in STARTED_SET or not _step(connection, of, at):
                break
    return _mark_overdue(connection, of, at)


def settle_members(connection: Connection, of: DeploymentSet, at: datetime) -> None:
    links: dict[str, list[Transfer]] = {}
    for _set, device_id, transfer in linked_transfers(connection, member_transfers.c.set_id == of.set_id):
        links.setdefault(device_id, []).append(transfer)
    changes = [
        (member, new, cause)
        for member in members_of(connection, of.set_id)
        for new, cause in [_next_state(member, links.get(member.device_id, []))]
        if new is not None
    ]
    for member, new, cause in changes:
        reason = {"code": cause.code or "transfer.failed", "detail": _why(cause)} if cause else {}
        move_member(connection, of.set_id, member.device_id, member.state, new, TIMER, at, **reason)
    twin_changed(connection, (member.device_id for member, _, _ in changes))


def _next_state(member: Member, its_transfers: Sequence[Transfer]) -> tuple[str | None, Transfer | None]:
    """Where the member's transfers lead it, and the transfer that is the reason of a failure."""
    done = all(transfer.state in ON_DEVICE for transfer in its_transfers)
    if member.state == "ready":
        return (None, None) if done else ("in_transit", None)
    if member.state != "in_transit":
        return None, None
    failed = next((transfer for transfer in its_transfers if transfer.state == "failed"), None)
    if failed is not None:
        return "failed", failed
    if any(transfer.state == "cancelled" for transfer in its_transfers):
        return "planned", None
    return ("ready", None) if done else (None, None)


def _why(transfer: Transfer) -> str:
    return f"{transfer.reference}: {transfer.detail or transfer.code or 'failed'}"


def _step(connection: Connection, of: DeploymentSet, at: datetime) -> bool:
    """Make the one next move of the set that follows from its members; False when none does."""
    states = [member.state for member in members_of(connection, of.set_id)]
    new = _next_set_state(connection, of, states)
    if new is None:
        return False
    reason = {"code": "set.no_member_left", "detail": _no_one_left(states)} if new == "failed" else {}
    return move_set(connection, of.set_id, of.state, new, TIMER, at, **reason)


def _next_set_state(connection: Connection, of: DeploymentSet, states: Collection[str]) -> str | None:
    left = [state for state in states if state not in OUT]
    if of.state in ("preparing", "in_transit", "ready"):
        return _before_release(connection, of, states, left)
    if of.state == "releasing":
        return "released" if all(state in {"released", "applied"} | FLAWED for state in left) else None
    if any(state not in {"applied"} | FLAWED for state in left):
        return None
    return _final(states)


def _before_release(
    connection: Connection, of: DeploymentSet, states: Collection[str], left: Sequence[str]
) -> str | None:
    if not left and "superseded" in states:
        return "superseded"
    if all(state == "failed" for state in left):
        return "failed"
    arrived = all(state in ARRIVED or (state == "failed" and not _failure_holds(of)) for state in left)
    if of.state == "ready":
        return _from_ready(of, states, left, arrived)
    if arrived:
        return "ready"
    if of.state == "preparing" and not has_work(connection, of.set_id):
        return "in_transit"
    return None


def _failure_holds(of: DeploymentSet) -> bool:
    """Policies that release everybody together wait for a person to retry or exclude who failed."""
    return of.manifest is not None and of.release_policy != "device"


def _from_ready(of: DeploymentSet, states: Collection[str], left: Sequence[str], arrived: bool) -> str | None:
    if not arrived:
        return "in_transit" if any(state in BEFORE_ARRIVAL for state in left) else None
    if of.manifest is None:
        return _final(states)
    return None if waits_for_release(of) else "releasing"


def _final(states: Collection[str]) -> str:
    flawed = any(state in FLAWED or state == "excluded" for state in states)
    return "completed_with_failures" if flawed else "completed"


def _no_one_left(states: Collection[str]) -> str:
    counted = ", ".join(f"{list(states).count(state)} {state}" for state in sorted(set(states)))
    return f"no device is left in the set: {counted}"


def _mark_overdue(connection: Connection, of: DeploymentSet, at: datetime) -> DeploymentSet:
    if of.overdue or of.deadline is None or of.deadline > at or of.state not in OPEN_SET:
        return of
    where = (sets.c.set_id == of.set_id, sets.c.overdue == false())
    if connection.execute(sets.update().where(*where).values(overdue=True, updated_at=at)).rowcount:
        announce(connection, of.set_id, "overdue", at)
    return known_set(connection, of.set_id)
