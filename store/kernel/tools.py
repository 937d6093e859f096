"""Small things that every area of the store needs: ids, locks, counters, lists of any length."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import BindParameter, ColumnElement, Connection, RowMapping, Select, Table, bindparam, select
from sqlalchemy.exc import IntegrityError

from imagedelta.errors import RequestError
from store.kernel.schema import counters, devices, sets

R = TypeVar("R")
CHUNK = 500
"""Values in one IN list: SQL Server takes 2,100 parameters in a statement."""
IDS: BindParameter[Any] = bindparam("ids", expanding=True)
"""A list of ids in a statement that is written once: making one anew costs as much as running it."""
HELD = "WITH (UPDLOCK)"
"""Hint for SQL Server: rows of this table are held until commit as they are read. A writer on SQLite is alone."""


def new_id(kind: str) -> str:
    """``<kind>-<hex of a UUID of version 7>``: what is made together lies together in every index.

    Random keys touch a page of their own for each row that is written; with these the cost of a row does not grow with
    the table. Source: RFC 9562, section 5.7.
    """
    bits = time.time_ns() // 1_000_000 << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)
    return f"{kind}-{UUID(int=bits).hex}"


def chunks(values: Iterable[str]) -> Iterator[list[str]]:
    """The distinct values, sorted, in lists of ``CHUNK``."""
    ordered = sorted(set(values))
    for start in range(0, len(ordered), CHUNK):
        yield ordered[start : start + CHUNK]


def rows_in(connection: Connection, query: Select[Any], key: ColumnElement[str], values: Iterable[str]) -> list[Any]:
    """The rows whose ``key`` is among ``values``, however many those are."""
    return [row for part in chunks(values) for row in connection.execute(query.where(key.in_(part))).mappings().all()]


def as_record(record: type[R], row: RowMapping, **others: Any) -> R:
    """A record from the columns of its field names; JSON lists become tuples; ``others`` win."""
    names = [field.name for field in fields(record) if field.name not in others]  # type: ignore[arg-type]
    values = {name: row[name] for name in names if name in row}
    return record(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}, **others)


def next_value(connection: Connection, counter: str) -> int:
    """The next number of a counter; the row stays locked until commit, so numbers follow commits."""
    row = counters.c.name == counter
    count = counters.update().where(row).values(value=counters.c.value + 1)
    if not connection.execute(count).rowcount:
        try:
            with connection.begin_nested():
                connection.execute(counters.insert().values(name=counter, value=1))
        except IntegrityError:  # a rival began the counter between the question and now
            connection.execute(count)
    return int(connection.execute(select(counters.c.value).where(row)).scalar_one())


def lock_set(connection: Connection, set_id: str) -> bool:
    """Hold the set's row until commit; False when there is none. Never before a device (docs/schema.md)."""
    return _touch(connection, sets, sets.c.set_id == set_id)


def lock_device(connection: Connection, device_id: str) -> bool:
    """Hold the device's row until commit: its transfers, images and members move one call at a time."""
    return _touch(connection, devices, devices.c.device_id == device_id)


def lock_devices(connection: Connection, device_ids: Iterable[str]) -> None:
    for part in chunks(device_ids):
        _touch(connection, devices, devices.c.device_id.in_(part))


def _touch(connection: Connection, table: Table, where: ColumnElement[bool]) -> bool:
    """An UPDATE that changes nothing that anyone reads: the portable SELECT … FOR UPDATE."""
    return connection.execute(table.update().where(where).values(locks=table.c.locks + 1)).rowcount > 0


def unknown(kind: str, name: str) -> RequestError:
    return RequestError(f"there is no {kind} {name}", code="request.not_found", status=404)


def missing_of(wanted: Sequence[str], known: Iterable[str]) -> list[str]:
    present = set(known)
    return [name for name in dict.fromkeys(wanted) if name not in present]
