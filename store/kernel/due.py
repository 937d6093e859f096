"""When what is due: the columns that say so, and how long is waited before the next try.

Work is found by these columns alone: ``deployment_sets.settle_at`` and ``plan_at``, ``members.plan_at`` and
``next_try_at``, ``devices.sync_at``, ``patches.next_try_at``, ``notifications.not_before``. Null means that there is
nothing to do. A member that has to be planned says so itself, and its set says that it has such members: so that
neither a set nor a member of it is looked for among those that wait for their devices.
Whoever moves a row marks what became due by it, in the same transaction. Source: docs/schema.md, "Due work".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    and_,
    bindparam,
    case,
    exists,
    literal,
    or_,
    select,
)

from contracts.states import BEFORE_ARRIVAL
from store.kernel.schema import devices, member_transfers, members, patches, sets
from store.kernel.tools import IDS, chunks

AFTER_MOVE: Mapping[str, timedelta] = {"released": timedelta(seconds=15), "apply_failed": timedelta(hours=1)}
"""How long after a member came to this state its device is first looked at; other states wait for something else."""


def oldest_first(
    connection: Connection,
    query: Select[Any],
    state: ColumnElement[str],
    states: Collection[str],
    due_at: ColumnElement[datetime | None],
    at: datetime,
    limit: int,
) -> list[RowMapping]:
    """The rows of ``query`` that are due in one of ``states``, those that wait longest first.

    Each state is asked for alone: then an index of (state, due_at) gives the first of it, however many wait.
    ``query`` must give ``due_at`` among its columns.
    """
    rows: list[RowMapping] = []
    for one in sorted(states):
        found = query.where(state == one, due_at <= at).order_by(due_at).limit(limit)
        rows += connection.execute(found).mappings().all()
    return sorted(rows, key=lambda row: row[due_at.name])[:limit]


_SYNC = devices.update().where(
    devices.c.device_id.in_(IDS), or_(devices.c.sync_at.is_(None), devices.c.sync_at > bindparam("later"))
)
_EARLIER = {
    column: sets.update().where(
        sets.c.set_id.in_(IDS), or_(sets.c[column].is_(None), sets.c[column] > bindparam("later"))
    )
    for column in ("settle_at", "plan_at")
}


def sync_devices(connection: Connection, device_ids: Collection[str], at: datetime) -> None:
    """What the twins of these devices should hold is another thing now. The caller holds the devices."""
    for part in chunks(device_ids):
        connection.execute(_SYNC, {"ids": part, "later": at, "sync_at": at})


def twin_changed(at: datetime) -> dict[str, Any]:
    """The same, as columns for an UPDATE of devices that has more to change."""
    moment = literal(at, devices.c.sync_at.type)
    later = or_(devices.c.sync_at.is_(None), devices.c.sync_at > moment)
    return {"sync_at": case((later, moment), else_=devices.c.sync_at)}


def settle_sets(connection: Connection, set_ids: Collection[str], at: datetime) -> None:
    """These sets have to be looked at; those that are due already are left alone, so that reports do not queue."""
    _earlier(connection, set_ids, at, "settle_at")


def plan_sets(connection: Connection, set_ids: Collection[str], at: datetime) -> None:
    """These sets have members to plan, or to start."""
    _earlier(connection, set_ids, at, "plan_at")


def plan_linked(connection: Connection, transfer_ids: Collection[str], at: datetime) -> None:
    """These transfers have no plan (any more): whoever waits for them has to be planned."""
    for part in chunks(transfer_ids):
        found = connection.execute(_WAITING, {"ids": part}).all()
        if found:
            rows = [{"this_set": set_id, "this_device": device_id, "plan_at": at} for set_id, device_id in found]
            connection.execute(_PLAN_MEMBER, rows)
            plan_sets(connection, {set_id for set_id, _ in found}, at)


_WAITING = (  # members are asked for one by one: a join would let SQLite begin with all that are in these states
    select(member_transfers.c.set_id, member_transfers.c.device_id)
    .where(
        member_transfers.c.transfer_id.in_(IDS),
        exists().where(
            members.c.set_id == member_transfers.c.set_id,
            members.c.device_id == member_transfers.c.device_id,
            members.c.state.in_(sorted(BEFORE_ARRIVAL)),
        ),
    )
    .distinct()
)
_PLAN_MEMBER = members.update().where(
    members.c.set_id == bindparam("this_set"), members.c.device_id == bindparam("this_device")
)


def build_patches(connection: Connection, patch_ids: Collection[str], at: datetime) -> None:
    """Somebody waits for these patches: they are to be built, unless they are, and published.

    A try that was put off is not made earlier. One that is being published is due again.
    """
    later = or_(patches.c.next_try_at.is_(None), and_(patches.c.state == "verified", patches.c.next_try_at > at))
    for part in chunks(patch_ids):
        connection.execute(patches.update().where(patches.c.patch_id.in_(part), later).values(next_try_at=at))


def _earlier(connection: Connection, set_ids: Collection[str], at: datetime, column: str) -> None:
    for part in chunks(set_ids):
        connection.execute(_EARLIER[column], {"ids": part, "later": at, column: at})
