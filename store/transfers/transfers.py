"""Transfers: reading them, their bundles' numbers, publication, and what became of them over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, select

from contracts.messages import Report
from contracts.records import Page, Transfer, TransferEvent
from contracts.states import BUNDLE_WANTED, IN_TRANSIT
from services.store_port import Origin, Outcome
from store.kernel import history
from store.kernel.engine import Database
from store.kernel.paging import each, fetch_page
from store.kernel.schema import member_transfers, transfers
from store.sets.views import stages
from store.transfers.reports import take_reports
from store.transfers.rows import fetch_transfers, find_transfer, transfer_query, transfer_record
from store.transfers.timeseries import outcomes_over_time


class SqlTransfers:
    """Implements services.store_port.Transfers."""

    def __init__(self, database: Database, module_id: str, silent_after: timedelta) -> None:
        self._db = database
        self._module_id = module_id
        self._silent_after = silent_after

    def transfer(self, transfer_id: str) -> Transfer | None:
        return self._db.read(lambda connection: find_transfer(connection, transfer_id))

    def of_member(self, set_id: str, device_id: str) -> tuple[Transfer, ...]:
        return self._linked(set_id, transfers.c.device_id == device_id)

    def of_set(self, set_id: str) -> tuple[Transfer, ...]:
        return self._linked(set_id)

    def _linked(self, set_id: str, *where: ColumnElement[bool]) -> tuple[Transfer, ...]:
        linked = _links(set_id).exists()
        return self._db.read(lambda connection: tuple(fetch_transfers(connection, *where, linked)))

    def list_transfers(
        self,
        *,
        device_id: str | None,
        image_id: str | None,
        state: str | None,
        set_id: str | None,
        limit: int,
        after: str | None,
    ) -> Page:
        query = transfer_query()
        if device_id is not None:
            query = query.where(transfers.c.device_id == device_id)
        if image_id is not None:
            query = query.where(transfers.c.image_id == image_id)
        if state is not None:
            states = IN_TRANSIT if state == "in_transit" else {state}
            query = query.where(transfers.c.state.in_(sorted(states)))
        if set_id is not None:
            query = query.where(_links(set_id).exists())
        keys = (transfers.c.created_at, transfers.c.transfer_id)
        make = each(transfer_record)
        return self._db.read(
            lambda connection: fetch_page(connection, query, keys, make, limit=limit, after=after, newest_first=True)
        )

    def history(self, transfer_id: str) -> tuple[TransferEvent, ...]:
        return self._db.read(lambda connection: history.of_transfer(connection, transfer_id))

    def timeseries(
        self,
        bucket: str,
        start: datetime,
        end: datetime,
        *,
        set_id: str | None = None,
        device_id: str | None = None,
        workstream: str | None = None,
    ) -> tuple[Mapping[str, Any], ...]:
        only = {"set_id": set_id, "device_id": device_id, "workstream": workstream}
        return self._db.read(lambda connection: outcomes_over_time(connection, bucket, start, end, **only))

    def stages(self, set_id: str) -> Mapping[str, int]:
        return self._db.read(lambda connection: stages(connection, set_id))

    def wanted_bundles(self, device_id: str) -> frozenset[tuple[str, int]]:
        query = select(transfers.c.transfer_id, transfers.c.attempt).where(
            transfers.c.device_id == device_id, transfers.c.state.in_(sorted(BUNDLE_WANTED))
        )
        rows = self._db.read(lambda connection: connection.execute(query).all())
        return frozenset((transfer_id, attempt) for transfer_id, attempt in rows)

    def record_reports(self, reports: Sequence[tuple[Origin, Report]], *, max_attempts: int) -> tuple[Outcome, ...]:
        return self._db.write(
            lambda connection: take_reports(connection, reports, self._module_id, max_attempts, self._silent_after)
        )


def _links(set_id: str) -> Any:
    """The set's link to the transfer of the query around it."""
    return select(member_transfers.c.set_id).where(
        member_transfers.c.set_id == set_id, member_transfers.c.transfer_id == transfers.c.transfer_id
    )
