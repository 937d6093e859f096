"""Lines of the history go some time after what they tell of has ended; how much succeeded, failed and was sent stays.

Before a line of a transfer goes, what it adds to the statistics is added to its hour in ``transfer_hours``, in the
same transaction. So sums over time are the same before and after. Source: docs/schema.md, "Retention".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select

from contracts.states import OUTCOMES, SET, TRANSFER
from imagedelta.errors import DependencyError
from store.kernel.schema import history, sets, transfer_hours, transfers
from store.kernel.tools import CHUNK

Line = Row[*tuple[Any, ...]]
"""At least of the columns ``_COUNTED``."""
LINES = timedelta(days=180)
"""After the set or transfer has ended."""
PART = 5000


def forget_lines(connection: Connection, after: Any, at: datetime) -> Any:
    """Look at the next ``PART`` lines, and forget those whose subject has ended long ago."""
    cutoff = at - LINES
    query = (
        select(
            *_COUNTED,
            sets.c.state.label("of_set"),
            sets.c.updated_at.label("set_moved"),
            transfers.c.state.label("of_transfer"),
            transfers.c.updated_at.label("transfer_moved"),
        )
        .select_from(history.outerjoin(sets).outerjoin(transfers))
        .where(history.c.event_id > (after or 0), history.c.at < cutoff)
        .order_by(history.c.event_id)
        .limit(PART)
    )
    rows: Sequence[Line] = connection.execute(query).all()
    remove_lines(connection, [row for row in rows if _has_ended(row, cutoff)])
    return rows[-1][0] if len(rows) == PART else None


def lines_of_transfers(connection: Connection, transfer_ids: Sequence[str]) -> Sequence[Line]:
    """For ``remove_lines``. No more transfers than go into one statement."""
    return connection.execute(select(*_COUNTED).where(history.c.transfer_id.in_(transfer_ids))).all()


def remove_lines(connection: Connection, lines: Sequence[Line]) -> None:
    """Delete lines and add them to the sums.

    Raises: DependencyError when somebody else has deleted one of them: then it is in the sums already.
    """
    ids = [line.event_id for line in lines]
    for start in range(0, len(ids), CHUNK):
        part = ids[start : start + CHUNK]
        if connection.execute(history.delete().where(history.c.event_id.in_(part))).rowcount != len(part):
            raise DependencyError("lines of the history are being forgotten by somebody else")
    _add(connection, _sums(lines))


_COUNTED = (history.c.event_id, history.c.kind, history.c.hour, history.c.new, history.c.bytes)


@dataclass
class _Sum:
    succeeded: int = 0
    failed: int = 0
    bytes: int = 0


def _has_ended(line: Line, cutoff: datetime) -> bool:
    if line.of_transfer is not None:
        return line.of_transfer in TRANSFER.terminal and line.transfer_moved < cutoff
    return line.of_set in SET.terminal and line.set_moved < cutoff


def _sums(lines: Iterable[Line]) -> Mapping[datetime, _Sum]:
    found: dict[datetime, _Sum] = defaultdict(_Sum)
    for line in lines:
        if line.kind == "transfer" and (line.new in OUTCOMES or line.bytes is not None):
            of_hour = found[line.hour]
            of_hour.succeeded += line.new == "succeeded"
            of_hour.failed += line.new == "failed"
            of_hour.bytes += line.bytes or 0
    return found


def _add(connection: Connection, sums: Mapping[datetime, _Sum]) -> None:
    for hour, more in sorted(sums.items()):
        values = {name: transfer_hours.c[name] + count for name, count in vars(more).items()}
        if not connection.execute(
            transfer_hours.update().where(transfer_hours.c.hour == hour).values(**values)
        ).rowcount:
            connection.execute(transfer_hours.insert().values(hour=hour, **vars(more)))
