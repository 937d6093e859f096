"""Transfer rows with the bundle of their attempt, as records."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, select

from contracts.records import Transfer
from store.kernel.schema import bundles, member_transfers, patches, transfers
from store.kernel.tools import as_record


def transfer_query() -> Select[Any]:
    """Every column a Transfer needs; add conditions on ``transfers``."""
    this_attempt = and_(bundles.c.transfer_id == transfers.c.transfer_id, bundles.c.attempt == transfers.c.attempt)
    return select(
        transfers,
        bundles.c.number,
        bundles.c.lowest.label("floor"),
        bundles.c.blob.label("bundle"),
        bundles.c.bytes.label("bundle_bytes"),
        bundles.c.received_at,
        bundles.c.bytes_fetched,
        bundles.c.seconds_on_link,
        patches.c.state.label("patch_state"),
    ).select_from(transfers.outerjoin(bundles, this_attempt).outerjoin(patches))


def transfer_record(row: RowMapping) -> Transfer:
    return as_record(Transfer, row)


def fetch_transfers(connection: Connection, *where: ColumnElement[bool]) -> list[Transfer]:
    query = transfer_query().where(*where).order_by(transfers.c.created_at, transfers.c.transfer_id)
    return [transfer_record(row) for row in connection.execute(query).mappings()]


def find_transfer(connection: Connection, transfer_id: str) -> Transfer | None:
    found = fetch_transfers(connection, transfers.c.transfer_id == transfer_id)
    return found[0] if found else None


def linked_transfers(connection: Connection, *where: ColumnElement[bool]) -> list[tuple[str, str, Transfer]]:
    """(set, device, transfer) of every link that fits conditions on ``member_transfers`` or ``transfers``."""
    query = (
        transfer_query()
        .add_columns(member_transfers.c.set_id)
        .join(member_transfers, member_transfers.c.transfer_id == transfers.c.transfer_id)
        .where(*where)
        .order_by(member_transfers.c.device_id, transfers.c.created_at, transfers.c.transfer_id)
    )
    return [(row["set_id"], row["device_id"], transfer_record(row)) for row in connection.execute(query).mappings()]
