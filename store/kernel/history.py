"""What happened to sets, members and transfers: one table, in the order of the commits' numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, exists, false, func, or_, select

from contracts.records import Page, TransferEvent
from contracts.states import SET
from store.kernel.paging import each, fetch_page, position
from store.kernel.schema import history, member_transfers, sets

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
    """Events of the set, its members and, from its order to its end, of every transfer it is linked to.

    A page looks only at the lines from its beginning to where the set's own lines alone would fill it: a set has few
    that are not its own in between, and the lines of all others are never gone through.
    """
    keys = (history.c.event_id,)
    begin = position(after, keys)[0] if after is not None else 0
    own = history.c.set_id == set_id
    ids = select(history.c.event_id).where(own).order_by(history.c.event_id)
    next_own = connection.execute(ids.where(history.c.event_id > begin).limit(limit + 1)).scalars().all()
    first = connection.execute(ids.limit(1)).scalar()
    last = next_own[-1] if len(next_own) > limit else _end(connection, set_id)
    linked = exists().where(
        member_transfers.c.transfer_id == history.c.transfer_id, member_transfers.c.set_id == set_id
    )
    within = history.c.event_id.between(first, last) if first is not None else false()  # else none is kept any more
    query = select(history).where(within, or_(own, linked))
    return fetch_page(connection, query, keys, each(_event), limit=limit, after=after)


def _end(connection: Connection, set_id: str) -> int | None:
    """The last line that can tell of the set: of the hour in which it ended, or of now."""
    ended = select(sets.c.updated_at).where(sets.c.set_id == set_id, sets.c.state.in_(sorted(SET.terminal)))
    at: datetime | None = connection.execute(ended).scalar()
    lines = select(func.max(history.c.event_id))
    if at is not None:
        last_own = select(func.max(history.c.event_id)).where(history.c.set_id == set_id)
        of_hour = lines.where(
            history.c.kind == "transfer", history.c.hour == at.replace(minute=0, second=0, microsecond=0)
        )
        return max(connection.execute(last_own).scalar() or 0, connection.execute(of_hour).scalar() or 0)
    last: int | None = connection.execute(lines).scalar()
    return last


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
