"""Moving a set to where its members are, as far as the facts allow, and saying when to look at it again.

Members are never derived here: whatever moves a transfer leads its members on in the same transaction
(store.kernel.derive), so that no crash leaves one behind. What a set asks is only which states its members are in:
as many questions as there are states, however many members it has.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, exists, func, literal, select, union_all

from contracts.records import DeploymentSet
from contracts.states import MEMBER, OPEN_SET, SETTLED_SET, TIMER, UNPUBLISHED
from store.kernel.ledger import Ledger
from store.kernel.schema import devices, member_transfers, members, sets, transfers
from store.kernel.tools import lock_set
from store.sets.cancel import withdraw_part
from store.sets.release_rules import goes_first, may_release
from store.sets.rows import known_set
from store.sets.settle_rules import next_set_state

SECOND_LOOK = timedelta(minutes=1)
"""A set is looked at once more after it was. A transaction that moved a member and found the set due already did
not mark it again, and may have been committed only after the set was read."""
WHILE_PREPARING = timedelta(seconds=30)
"""Nobody says that a set's last bundle is published: it is looked for."""
RELEASED_AT_ONCE = 1000
"""Members that one statement makes due."""


def due_sets(connection: Connection, at: datetime, limit: int) -> tuple[str, ...]:
    query = select(sets.c.set_id).where(sets.c.settle_at <= at).order_by(sets.c.settle_at, sets.c.ordinal)
    return tuple(connection.execute(query.limit(limit)).scalars())


def put_off(connection: Connection, set_id: str, until: datetime, at: datetime) -> None:
    connection.execute(sets.update().where(sets.c.set_id == set_id, sets.c.settle_at <= at).values(settle_at=until))


def settle_set(connection: Connection, set_id: str, at: datetime) -> DeploymentSet:
    """Run as often as anyone likes: it reads what is so and makes the moves that follow from it."""
    lock_set(connection, set_id)
    marks = connection.execute(select(sets.c.settle_at, sets.c.settled_at).where(sets.c.set_id == set_id)).first()
    with Ledger(connection, TIMER, at) as ledger:
        of = _moved_on(ledger, set_id)
        of = _overdue(ledger, of)
    again = _look_again(connection, of, at, first=marks is not None and not _is_second_look(*marks))
    connection.execute(sets.update().where(sets.c.set_id == set_id).values(settle_at=again, settled_at=at))
    return of


def let_members_go(connection: Connection, set_id: str, at: datetime) -> bool:
    """Of a cancelled set: some of its members. Whether more are left."""
    return known_set(connection, set_id).state == "cancelled" and withdraw_part(connection, set_id, at)


def make_releasable(connection: Connection, set_id: str, at: datetime) -> bool:
    """Make some of the members due that may be released now. Whether there were any: then there may be more."""
    of = known_set(connection, set_id)
    if not may_release(of):
        return False
    some = select(members.c.device_id).where(*_unmarked(of)).order_by(members.c.device_id).limit(RELEASED_AT_ONCE)
    this = (members.c.set_id == set_id, members.c.device_id.in_(some.scalar_subquery()))
    due = members.update().where(*this, members.c.state == "ready", members.c.next_try_at.is_(None))
    return connection.execute(due.values(next_try_at=at)).rowcount > 0


def _moved_on(ledger: Ledger, set_id: str) -> DeploymentSet:
    of = known_set(ledger.connection, set_id)
    states = _member_states(ledger.connection, set_id) if of.state in SETTLED_SET else frozenset()
    while of.state in SETTLED_SET:
        new = next_set_state(of, states, lambda: _is_prepared(ledger.connection, set_id))
        if new is None:
            break
        reason = _no_one_left(ledger.connection, set_id) if new == "failed" else {}
        ledger.set(set_id, of.state, new, **reason)
        of = known_set(ledger.connection, set_id)
    return of


def _overdue(ledger: Ledger, of: DeploymentSet) -> DeploymentSet:
    if of.overdue or of.deadline is None or of.deadline > ledger.at or of.state not in OPEN_SET:
        return of
    late = sets.update().where(sets.c.set_id == of.set_id).values(overdue=True, updated_at=ledger.at)
    ledger.connection.execute(late)
    ledger.announce(of.set_id, "overdue")
    return known_set(ledger.connection, of.set_id)


def _is_second_look(settle_at: datetime | None, settled_at: datetime | None) -> bool:
    return settle_at is not None and settled_at is not None and settle_at == settled_at + SECOND_LOOK


def _look_again(connection: Connection, of: DeploymentSet, at: datetime, *, first: bool) -> datetime | None:
    """When the set is to be settled next; None when only a move of its members, or an order, can change anything."""
    if may_release(of) and connection.execute(select(members.c.device_id).where(*_unmarked(of)).limit(1)).first():
        return at
    times = [at + SECOND_LOOK] if first else []
    if of.state == "preparing":
        times.append(at + WHILE_PREPARING)
    if of.state in OPEN_SET and not of.overdue and of.deadline is not None:
        times.append(of.deadline)
    return min(times, default=None)


def _unmarked(of: DeploymentSet) -> tuple[ColumnElement[bool], ...]:
    """Members that are ready, may be released, and are not due for it."""
    first = goes_first(of)
    chosen = (members.c.device_id.in_(first),) if first else ()
    return (members.c.set_id == of.set_id, members.c.state == "ready", members.c.next_try_at.is_(None), *chosen)


def _member_states(connection: Connection, set_id: str) -> frozenset[str]:
    return frozenset(connection.execute(_PRESENT, {"of": set_id}).scalars())


def _present(state: str) -> Any:
    return select(literal(state)).where(exists().where(members.c.set_id == bindparam("of"), members.c.state == state))


_PRESENT = union_all(*(_present(state) for state in sorted(MEMBER.states)))


def _is_prepared(connection: Connection, set_id: str) -> bool:
    """Nothing of the set is left to plan, to build or to publish, as far as devices can be sent to."""
    to_plan = select(sets.c.set_id).where(sets.c.set_id == set_id, sets.c.plan_at.is_not(None))
    to_send = (
        select(transfers.c.transfer_id)
        .join(member_transfers, member_transfers.c.transfer_id == transfers.c.transfer_id)
        .join(members, _OF_LINK)
        .join(devices, devices.c.device_id == transfers.c.device_id)
        .where(
            member_transfers.c.set_id == set_id,
            members.c.state == "in_transit",
            transfers.c.state.in_(sorted(UNPUBLISHED)),
            devices.c.state == "active",
        )
        .limit(1)
    )
    return not (connection.execute(to_plan).first() or connection.execute(to_send).first())


_OF_LINK = (members.c.set_id == member_transfers.c.set_id) & (members.c.device_id == member_transfers.c.device_id)


def _no_one_left(connection: Connection, set_id: str) -> dict[str, str]:
    query = select(members.c.state, func.count()).where(members.c.set_id == set_id).group_by(members.c.state)
    counted = ", ".join(f"{count} {state}" for state, count in connection.execute(query.order_by(members.c.state)))
    return {"code": "set.no_member_left", "detail": f"no device is left in the set: {counted}"}
