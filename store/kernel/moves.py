"""Single moves, each with a ledger of its own."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from store.kernel.ledger import Ledger


def move_set(connection: Connection, set_id: str, old: str, new: str, mover: str, at: datetime, **values: Any) -> bool:
    with Ledger(connection, mover, at, values.pop("who", None)) as ledger:
        return ledger.set(set_id, old, new, **values)


def move_member(
    connection: Connection, set_id: str, device_id: str, old: str, new: str, mover: str, at: datetime, **values: Any
) -> bool:
    with Ledger(connection, mover, at, values.pop("who", None)) as ledger:
        return ledger.member(set_id, device_id, old, new, **values)
