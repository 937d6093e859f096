"""When what is due: the columns that say so, and how long is waited before the next try.

Work is found by these columns alone: ``deployment_sets.settle_at`` and ``plan_at``, ``members.next_try_at``,
``devices.sync_at``, ``patches.next_try_at``, ``notifications.not_before``. Null means that there is nothing to do.
Whoever moves a row marks what became due by it, in the same transaction. Source: docs/schema.md, "Due work".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, bindparam, case, literal, or_

from store.kernel.schema import devices, sets
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
    """These sets have members to plan."""
    _earlier(connection, set_ids, at, "plan_at")


def _earlier(connection: Connection, set_ids: Collection[str], at: datetime, column: str) -> None:
    for part in chunks(set_ids):
        connection.execute(_EARLIER[column], {"ids": part, "later": at, column: at})
