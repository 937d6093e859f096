"""What happened to sets, members and transfers: one table, in the order of the commits' numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, or_, select

from contracts.records import Page, TransferEvent
from store.kernel.paging import each, fetch_page
from store.kernel.schema import history, member_transfers

_MORE = ("set_id", "transfer_id", "attempt", "sequence", "code", "detail", "who", "bytes")


def event(kind: str, subject: str, old: str | None, new: str, at: datetime, **more: Any) -> dict[str, Any]:
    """One row. ``more``: set_id, transfer_id, attempt, sequence, code, detail, who, bytes; None unless given."""
    hour = at.replace(minute=0, second=0, microsecond=0)
    values = {"kind": kind, "subject": subject, "old": old, "new": new, "at": at, "hour": hour}
    return {**values, **dict.fromkeys(_MORE), **more}


def write_events(connection: Connection, events: Sequence[Mapping[str, Any]]) -> None:
    """Add them in this order; one statement, however many."""
    if events:
        connection.execute(history.insert(), list(events))


def remember(
    connection: Connection, kind: str, subject: str, old: str | None, new: str, at: datetime, **more: Any
) -> None:
    """Add one event."""
    write_events(connection, [event(kind, subject, old, new, at, **more)])


def of_transfer(connection: Connection, transfer_id: str) -> tuple[TransferEvent, ...]:
    query = select(history).where(history.c.transfer_id == transfer_id).order_by(history.c.event_id)
    return tuple(_transfer_event(row) for row in connection.execute(query).mappings())


def of_set(connection: Connection, set_id: str, limit: int, after: str | None) -> Page:
    """Events of the set, its members and every transfer it is linked to, also before it joined them."""
    linked = select(member_transfers.c.transfer_id).where(member_transfers.c.set_id == set_id)
    query = select(history).where(or_(history.c.set_id == set_id, history.c.transfer_id.in_(linked)))
    return fetch_page(connection, query, (history.c.event_id,), each(_event), limit=limit, after=after)


def reported(connection: Connection, transfer_id: str, attempt: int, sequence: int) -> bool:
    """Whether a report with these numbers was taken into account before."""
    query = select(history.c.event_id).where(
        history.c.transfer_id == transfer_id, history.c.attempt == attempt, history.c.sequence == sequence
    )
    return connection.execute(query.limit(1)).first() is not None


def _event(row: RowMapping) -> Mapping[str, Any]:
    return {name: row[name] for name in ("at", "kind", "subject", "old", "new", "code", "detail", "who")}


def _transfer_event(row: RowMapping) -> TransferEvent:
    return TransferEvent(
        transfer_id=row["transfer_id"],
        attempt=row["attempt"] or 0,
        sequence=row["sequence"] or 0,
        old=row["old"],
        new=row["new"],
        code=row["code"],
        detail=row["detail"],
        source=row["who"] or "",
        at=row["at"],
    )
