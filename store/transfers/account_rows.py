"""Accounts of transfers, read from SQL and written back: a few statements, however many there are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, bindparam, select

from contracts.messages import LastResult, Report
from store.kernel.ledger import Ledger
from store.kernel.schema import bundles, device_images, history, transfers
from store.kernel.tools import HELD, IDS, chunks, rows_in
from store.sets.links import close_links
from store.transfers.accounts import Account, earlier_messages
from store.transfers.rows import transfer_query, transfer_record


def held_transfers() -> Select[Any]:
    """Every column an account needs; the rows are held until commit. Their devices are the caller's already."""
    return transfer_query().with_hint(transfers, HELD, "mssql")


_BY_ID = held_transfers().where(transfers.c.transfer_id.in_(IDS))
_BUNDLE = bundles.update().where(
    bundles.c.transfer_id == bindparam("this"), bundles.c.attempt == bindparam("this_attempt")
)
_IMAGE = device_images.delete().where(
    device_images.c.device_id == bindparam("this"), device_images.c.image_id == bindparam("image")
)


def account_of(row: RowMapping) -> Account:
    return Account(transfer_record(row), row["evidence_at"])


def accounts_by_id(connection: Connection, transfer_ids: Iterable[str]) -> dict[str, Account]:
    parts = chunks(transfer_ids)
    rows = [row for part in parts for row in connection.execute(_BY_ID, {"ids": part}).mappings().all()]
    return {row["transfer_id"]: account_of(row) for row in rows}


def remember_heard(
    connection: Connection, accounts: Mapping[str, Account], messages: Sequence[Report | LastResult]
) -> None:
    """Look up which of these messages were taken before, where the numbers alone do not tell."""
    told: dict[str, list[Report | LastResult]] = {}
    for message in messages:
        if message.transfer_id in accounts:
            told.setdefault(message.transfer_id, []).append(message)
    in_doubt = [transfer_id for transfer_id, its in told.items() if earlier_messages(accounts[transfer_id], its)]
    query = select(history.c.transfer_id, history.c.attempt, history.c.sequence).where(history.c.sequence > 0)
    for row in rows_in(connection, query, history.c.transfer_id, in_doubt):
        accounts[row["transfer_id"]].heard.add((row["attempt"], row["sequence"]))


def write_accounts(connection: Connection, ledger: Ledger, accounts: Collection[Account]) -> None:
    """Write what has moved since the accounts began, and let them begin anew."""
    moved = [account for account in accounts if account.steps]
    close_links(connection, [account.before for account in moved if account.requeued])
    ledger.walks([account.walk for account in moved])
    _write_bundles(connection, moved)
    _forget_images(connection, moved)
    for account in moved:
        account.begin()


def _write_bundles(connection: Connection, accounts: Iterable[Account]) -> None:
    """One statement for each set of columns: a bundle's arrival, and what its link counted."""
    shapes: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for account in accounts:
        for attempt, values in account.bundles.items():
            this = {"this": account.before.transfer_id, "this_attempt": attempt}
            shapes.setdefault(tuple(sorted(values)), []).append({**this, **values})
    for rows in shapes.values():
        connection.execute(_BUNDLE, rows)


def _forget_images(connection: Connection, accounts: Iterable[Account]) -> None:
    rows = [
        {"this": account.before.device_id, "image": image_id}
        for account in accounts
        for image_id in sorted(account.missing)
    ]
    if rows:
        connection.execute(_IMAGE, rows)
