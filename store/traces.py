"""To which traces work belongs: those of the orders of the sets that it is done for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from sqlalchemy import Connection, select

from contracts.states import STARTED_SET
from store.kernel.engine import Database
from store.kernel.schema import member_transfers, sets, transfers
from store.kernel.tools import chunks

_MOST = 32
"""Sets that one patch is linked to."""


class SqlTraces:
    """Implements services.store_port.Traces."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def of_sets(self, set_ids: Collection[str]) -> Mapping[str, str]:
        return self._db.read(lambda connection: dict(_of_sets(connection, set_ids)))

    def of_patch(self, patch_id: str) -> Sequence[str]:
        query = (
            select(sets.c.trace, sets.c.ordinal)
            .select_from(transfers.join(member_transfers).join(sets, sets.c.set_id == member_transfers.c.set_id))
            .where(transfers.c.patch_id == patch_id, sets.c.trace.is_not(None), sets.c.state.in_(sorted(STARTED_SET)))
            .distinct()
            .order_by(sets.c.ordinal)
            .limit(_MOST)
        )
        return self._db.read(lambda connection: [trace for trace, _ in connection.execute(query)])

    def of_transfers(self, transfer_ids: Collection[str]) -> Sequence[tuple[str, str, str]]:
        return self._db.read(lambda connection: list(_of_transfers(connection, transfer_ids)))


def _of_sets(connection: Connection, set_ids: Collection[str]) -> Iterator[tuple[str, str]]:
    for part in chunks(set_ids):
        query = select(sets.c.set_id, sets.c.trace).where(sets.c.set_id.in_(part), sets.c.trace.is_not(None))
        yield from ((row[0], row[1]) for row in connection.execute(query))


def _of_transfers(connection: Connection, transfer_ids: Collection[str]) -> Iterator[tuple[str, str, str]]:
    for part in chunks(transfer_ids):
        query = (
            select(member_transfers.c.transfer_id, sets.c.set_id, sets.c.trace)
            .join(sets, sets.c.set_id == member_transfers.c.set_id)
            .where(member_transfers.c.transfer_id.in_(part), sets.c.trace.is_not(None))
            .distinct()
        )
        yield from ((row[0], row[1], row[2]) for row in connection.execute(query))
