"""Single moves, each with a ledger of its own."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from contracts.records import Transfer
from store.kernel.ledger import UNPLANNED, Ledger
from store.sets.links import close_links


def move_set(connection: Connection, set_id: str, old: str, new: str, mover: str, at: datetime, **values: Any) -> bool:
    with Ledger(connection, mover, at, values.pop("who", None)) as ledger:
        return ledger.set(set_id, old, new, **values)


def move_member(
    connection: Connection, set_id: str, device_id: str, old: str, new: str, mover: str, at: datetime, **values: Any
) -> bool:
    with Ledger(connection, mover, at, values.pop("who", None)) as ledger:
        return ledger.member(set_id, device_id, old, new, **values)


def move_transfer(
    connection: Connection, transfer: Transfer, new: str, mover: str, at: datetime, **values: Any
) -> bool:
    with Ledger(connection, mover, at, values.pop("who", None)) as ledger:
        return ledger.transfer(transfer, new, **values)


def requeue(connection: Connection, transfer: Transfer, mover: str, at: datetime, **values: Any) -> bool:
    """Start the next attempt, without a plan: sources are chosen anew."""
    close_links(connection, [transfer])
    fresh = {"attempt": transfer.attempt + 1, "sequence": 0, **UNPLANNED, "local_digest": None}
    return move_transfer(connection, transfer, "queued", mover, at, **fresh, **values)
