"""How many there are of what is watched, by state: each from the narrow end of an index."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, func, select

from contracts.records import Census
from contracts.states import ACTIVE_TRANSFER
from store.kernel.engine import Database
from store.kernel.schema import devices, notifications, transfers

SILENT_AFTER = timedelta(days=3)
"""Without an inventory: they come daily."""


class SqlCensus:
    """Implements services.store_port.Censuses."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def take(self, at: datetime) -> Census:
        return self._db.read(lambda connection: _take(connection, at))


def _take(connection: Connection, at: datetime) -> Census:
    by_state = select(transfers.c.state, func.count()).group_by(transfers.c.state)
    under_way = by_state.where(transfers.c.state.in_(sorted(ACTIVE_TRANSFER)))
    dead = select(notifications.c.channel, func.count()).where(notifications.c.state == "dead")
    fleet = select(devices.c.state, func.count()).where(devices.c.state != "retired").group_by(devices.c.state)
    silent = select(func.count()).where(devices.c.state == "active", devices.c.last_inventory_at < at - SILENT_AFTER)
    return Census(
        transfers=_counts(connection, under_way),
        dead_notifications=_counts(connection, dead.group_by(notifications.c.channel)),
        devices=_counts(connection, fleet),
        silent_devices=connection.execute(silent).scalar_one(),
    )


def _counts(connection: Connection, query: Select[Any]) -> dict[str, int]:
    return {str(row[0]): int(row[1]) for row in connection.execute(query)}
