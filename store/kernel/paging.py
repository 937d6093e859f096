"""Lists in pages: stable key order, and an opaque continuation that holds the last row's keys.

A page never repeats or skips a row that was there all the time, whatever is added meanwhile.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, or_

from contracts.records import Page
from imagedelta.archives.json_reading import parse
from imagedelta.errors import ContentError, RequestError
from store.kernel.types import UtcDateTime

MAX_LIMIT = 1000

Columns = Sequence[ColumnElement[Any]]
Make = Callable[[Connection, list[RowMapping]], Sequence[Any]]


def fetch_page(
    connection: Connection,
    query: Select[Any],
    keys: Columns,
    make: Make,
    *,
    limit: int,
    after: str | None,
    newest_first: bool = False,
) -> Page:
    """One page of ``query``, ordered by ``keys`` (together unique, never NULL, part of the selection).

    Args:
        make: Turns all rows of the page into its items at once, so that details need one more query only.
        limit: Rows; held between 1 and ``MAX_LIMIT``.
        after: ``Page.next`` of the page before.

    Raises: RequestError when ``after`` did not come from a page of this list.
    """
    limit = min(max(limit, 1), MAX_LIMIT)
    if after is not None:
        query = query.where(_beyond(keys, position(after, keys), newest_first))
    order = [key.desc() if newest_first else key.asc() for key in keys]
    rows = list(connection.execute(query.order_by(*order).limit(limit + 1)).mappings())
    more, rows = len(rows) > limit, rows[:limit]
    return Page(tuple(make(connection, rows)), _token(rows[-1], keys) if more else None)


def each(make: Callable[[RowMapping], Any]) -> Make:
    """For items that are made of their own row alone."""
    return lambda _connection, rows: [make(row) for row in rows]


def _beyond(keys: Columns, values: list[Any], newest_first: bool) -> ColumnElement[bool]:
    """(k1, k2) > (v1, v2), written out: SQL Server does not compare rows."""
    steps = []
    for place, (key, value) in enumerate(zip(keys, values, strict=True)):
        equal = [earlier == known for earlier, known in zip(keys[:place], values[:place], strict=True)]
        steps.append(and_(*equal, key < value if newest_first else key > value))
    return or_(*steps)


def _token(row: RowMapping, keys: Columns) -> str:
    values = [row[key] for key in keys]
    plain = json.dumps([value.isoformat() if isinstance(value, datetime) else value for value in values])
    return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def position(token: str, keys: Columns) -> list[Any]:
    """The keys that a continuation holds.

    Raises: RequestError when it did not come from a page of this list.
    """
    try:
        values = parse(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)), "after")
        return [_value(key, value) for key, value in zip(keys, values, strict=True)]
    except (ValueError, TypeError, OverflowError, ContentError) as error:
        raise RequestError("after: is not the continuation of a page of this list") from error


def _value(key: ColumnElement[Any], value: Any) -> Any:
    """A token is made by whoever sends it: only what the database can take is let through."""
    if isinstance(key.type, UtcDateTime):
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError("no time zone")
        return moment.astimezone(UTC)
    if type(value) is not key.type.python_type:
        raise TypeError(f"{value!r} is not of the key's type")
    if isinstance(value, int):
        value.to_bytes(8, signed=True)
    if isinstance(value, str):
        value.encode()
    return value
