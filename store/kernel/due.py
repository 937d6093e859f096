"""When what is due: the columns that say so, and how long is waited before the next try.

Work is found by these columns alone: ``deployment_sets.settle_at`` and ``plan_at``, ``members.next_try_at``,
``devices.sync_at``, ``patches.next_try_at``, ``notifications.not_before``. Null means that there is nothing to do.
Whoever moves a row marks what became due by it, in the same transaction. Source: docs/schema.md, "Due work".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, case, literal, or_

from store.kernel.schema import devices, sets
from store.kernel.tools import IDS, chunks

SYNCED, CHANGED, TAKEN = "synced", "changed", "taken"
"""Whether the twin holds what the cloud wants; ``taken``: someone is writing it right now, or died at it."""

AFTER_MOVE: Mapping[str, timedelta] = {"released": timedelta(minutes=1), "apply_failed": timedelta(hours=1)}
"""How long after a member came to this state its device is first looked at; other states wait for something else."""

FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(hours=1)


def pause_after(tries: int, first: timedelta = FIRST_PAUSE, longest: timedelta = LONGEST_PAUSE) -> timedelta:
    """Before the next try, after ``tries`` vain ones: doubled each time, up to ``longest``."""
    factor: int = 2 ** min(max(tries - 1, 0), 20)
    return min(first * factor, longest)


_SYNC = devices.update().where(
    devices.c.device_id.in_(IDS), or_(devices.c.twin != CHANGED, devices.c.sync_at.is_(None))
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
        connection.execute(_SYNC, {"ids": part, "twin": CHANGED, "sync_at": at, "sync_tries": 0})


def twin_changed(at: datetime) -> dict[str, Any]:
    """The same, as columns for an UPDATE of devices that has more to change."""
    news = or_(devices.c.twin != CHANGED, devices.c.sync_at.is_(None))
    return {
        "twin": CHANGED,
        "sync_at": case((news, literal(at, devices.c.sync_at.type)), else_=devices.c.sync_at),
        "sync_tries": case((news, 0), else_=devices.c.sync_tries),
    }


def settle_sets(connection: Connection, set_ids: Collection[str], at: datetime) -> None:
    """These sets have to be looked at; those that are due already are left alone, so that reports do not queue."""
    _earlier(connection, set_ids, at, "settle_at")


def plan_sets(connection: Connection, set_ids: Collection[str], at: datetime) -> None:
    """These sets have members to plan."""
    _earlier(connection, set_ids, at, "plan_at")


def _earlier(connection: Connection, set_ids: Collection[str], at: datetime, column: str) -> None:
    for part in chunks(set_ids):
        connection.execute(_EARLIER[column], {"ids": part, "later": at, column: at})
