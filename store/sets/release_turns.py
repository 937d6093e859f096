"""Whose turn it is to be released: within what the hubs take now, and shared between the sets that wait.

The longest waiting first, as everywhere, would let a set of ten thousand devices keep one of ten waiting for hours,
where a hub takes twenty manifests a minute.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, exists, select

from contracts.states import OPEN_SET, RELEASABLE
from services.store_port import MemberDue
from store.kernel.due import oldest_first
from store.kernel.schema import devices, members, sets


def due_to_release(
    connection: Connection, at: datetime, limit: int, room: Mapping[str, int] | None
) -> tuple[MemberDue, ...]:
    """Args:
    room: Hub -> how many it takes now; of a hub that is not named, any number.
    """
    query = select(members.c.set_id, members.c.device_id, members.c.next_try_at, devices.c.hub, devices.c.hub_device_id)
    query = query.join(devices, devices.c.device_id == members.c.device_id)
    if full := sorted(hub for hub, left in (room or {}).items() if left <= 0):
        query = query.where(devices.c.hub.not_in(full))
    rows = _oldest(connection, query, at, limit)
    if len(rows) == limit:
        rows = _in_turns(connection, query, at, limit) or rows
    return tuple(_within(rows, room or {}))


def _oldest(connection: Connection, query: Select[Any], at: datetime, limit: int) -> list[RowMapping]:
    return oldest_first(connection, query, members.c.state, RELEASABLE, members.c.next_try_at, at, limit)


def _in_turns(connection: Connection, query: Select[Any], at: datetime, limit: int) -> list[RowMapping]:
    """Some of each set that has any, those that wait longest; nothing when there is but one."""
    due = exists().where(
        members.c.set_id == sets.c.set_id, members.c.state.in_(sorted(RELEASABLE)), members.c.next_try_at <= at
    )
    waiting = select(sets.c.set_id).where(sets.c.state.in_(sorted(OPEN_SET)), due).order_by(sets.c.ordinal)
    set_ids = list(connection.execute(waiting).scalars())
    if len(set_ids) < 2:
        return []
    share = max(1, limit // len(set_ids))
    of_sets = [_oldest(connection, query.where(members.c.set_id == set_id), at, share) for set_id in set_ids]
    return [row for one_of_each in zip_longest(*of_sets) for row in one_of_each if row is not None][:limit]


def _within(rows: Sequence[RowMapping], room: Mapping[str, int]) -> Iterable[MemberDue]:
    taken: Counter[str] = Counter()
    for row in rows:
        hub = row["hub"]
        if taken[hub] < room.get(hub, len(rows)):
            taken[hub] += 1
            yield MemberDue(row["set_id"], row["device_id"], hub, row["hub_device_id"])
