"""Messages that could not be taken: counted by sender and reason, with one of each kept whole.

Whoever can reach a hub can send such messages without end, so nothing here grows with their number: a sender is
one row for each reason, its example is exchanged once in a while, and what is kept of a device and in all is bounded
in rows and bytes. The oldest goes first. A batch of messages costs a handful of statements, however large it is.
Not here: how long an entry is kept when nothing pushes it out (store.retention).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, func, select
from sqlalchemy.exc import IntegrityError

from contracts.records import Page, QuarantinedMessage
from imagedelta.errors import DependencyError
from services.store_port import Untaken
from store.kernel.engine import Database
from store.kernel.paging import each, fetch_page
from store.kernel.schema import DEVICE, NAME, quarantine
from store.kernel.tools import as_record, rows_in

MAX_ROWS = 10_000
MAX_BYTES = 64 * 1024 * 1024
MAX_ROWS_OF_DEVICE = 16
MAX_BYTES_OF_DEVICE = 512 * 1024
MAX_BODY_BYTES = 256 * 1024
"""The hub takes no larger message."""
MAX_PROPERTIES_BYTES = 16 * 1024
"""Of the properties as JSON; larger ones are not kept."""
MAX_DETAIL = 1000
EXAMPLE_STANDS = timedelta(minutes=1)
"""How long the example of a sender and reason is not exchanged for a newer one."""

_AT_ONCE = 500
_KEY = ("hub", "device_id", "module_id", "reason")
_EXAMPLE = ("kept_at", "detail", "bytes", "body", "properties")
_BOOKKEEPING = [quarantine.c[name] for name in ("entry_id", "at", "kept_at", "bytes", *_KEY)]

Key = tuple[str, str, str, str]


@dataclass
class Tally:
    """What a batch says of one sender and reason."""

    message: Untaken
    """The latest."""
    count: int = 0


class SqlQuarantine:
    """Implements services.store_port.Quarantine."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def keep(self, messages: Sequence[Untaken], at: datetime) -> None:
        tallies = _tallied(messages)
        if tallies:
            self._db.write(lambda connection: _keep(connection, tallies, at))

    def entries(self, *, limit: int, after: str | None) -> Page:
        keys = (quarantine.c.at, quarantine.c.entry_id)
        return self._db.read(
            lambda connection: fetch_page(
                connection, select(quarantine), keys, each(_record), limit=limit, after=after, newest_first=True
            )
        )


def _tallied(messages: Iterable[Untaken]) -> dict[Key, Tally]:
    tallies: dict[Key, Tally] = {}
    for message in messages:
        key = (
            _ascii(message.hub, NAME),
            _ascii(message.device_id, DEVICE),
            _ascii(message.module_id, DEVICE),
            _ascii(message.reason, NAME),
        )
        tally = tallies.setdefault(key, Tally(message))
        tally.message, tally.count = message, tally.count + 1
    return tallies


def _ascii(text: str | None, length: int) -> str:
    """As a key column holds it: a sender's name comes from outside. None is the empty text: keys are never NULL."""
    return (text or "").encode("ascii", "replace").decode()[:length]


def _keep(connection: Connection, tallies: Mapping[Key, Tally], at: datetime) -> None:
    of_devices = {device_id for _, device_id, _, _ in tallies}
    known = {_key(row): row for row in _rows_of(connection, of_devices)}
    _count(connection, [_added(key, tally, at) for key, tally in tallies.items() if key in known])
    old = [key for key in tallies if key in known and known[key]["kept_at"] <= at - EXAMPLE_STANDS]
    _exchange(connection, [{**_named(key), **_example(tallies[key].message, at)} for key in old])
    new = [key for key in tallies if key not in known]
    _insert(connection, [_new_row(key, tallies[key], at) for key in new])
    if new or old:
        _push_out_of_devices(connection, of_devices)
        _push_out(connection)


def _rows_of(connection: Connection, device_ids: Collection[str]) -> list[RowMapping]:
    return rows_in(connection, select(*_BOOKKEEPING), quarantine.c.device_id, device_ids)


def _key(row: RowMapping) -> Key:
    return row["hub"], row["device_id"], row["module_id"], row["reason"]


def _named(key: Key) -> dict[str, Any]:
    return {f"this_{name}": value for name, value in zip(_KEY, key, strict=True)}


def _added(key: Key, tally: Tally, at: datetime) -> dict[str, Any]:
    return {**_named(key), "added": tally.count, "at": at}


def _new_row(key: Key, tally: Tally, at: datetime) -> dict[str, Any]:
    named = dict(zip(_KEY, key, strict=True))
    return {**named, "at": at, "first_at": at, "count": tally.count, **_example(tally.message, at)}


def _example(message: Untaken, at: datetime) -> dict[str, Any]:
    body = message.body[:MAX_BODY_BYTES]
    properties = _encodable(json.dumps(dict(message.properties), default=str, ensure_ascii=False))
    if len(properties) > MAX_PROPERTIES_BYTES:
        properties = "{}"
    return {
        "kept_at": at,
        "detail": _encodable(message.detail[:MAX_DETAIL]),
        "bytes": len(body) + len(properties),
        "body": body,
        "properties": json.loads(properties),
    }


def _encodable(text: str) -> str:
    """Half a surrogate pair is a text in JSON, and none in UTF-8."""
    return text.encode(errors="replace").decode()


def _this() -> tuple[Any, ...]:
    return tuple(quarantine.c[name] == bindparam(f"this_{name}") for name in _KEY)


def _count(connection: Connection, rows: list[dict[str, Any]]) -> None:
    if rows:
        counted = {"count": quarantine.c.count + bindparam("added"), "at": bindparam("at")}
        connection.execute(quarantine.update().where(*_this()).values(**counted), rows)


def _exchange(connection: Connection, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(quarantine.update().where(*_this()).values({n: bindparam(n) for n in _EXAMPLE}), rows)


def _insert(connection: Connection, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    try:
        connection.execute(quarantine.insert(), rows)
    except IntegrityError as error:
        raise DependencyError("another process keeps a message of the same sender right now") from error


def _push_out_of_devices(connection: Connection, device_ids: Collection[str]) -> None:
    """Of each device what is newest stays, as far as its bounds go."""
    rows = sorted(_rows_of(connection, device_ids), key=lambda row: (row["device_id"], row["at"], row["entry_id"]))
    gone: list[int] = []
    for _, of_device in groupby(reversed(rows), lambda row: row["device_id"]):
        size = 0
        for place, row in enumerate(of_device):
            size += row["bytes"]
            if place and (place >= MAX_ROWS_OF_DEVICE or size > MAX_BYTES_OF_DEVICE):
                gone.append(row["entry_id"])
    _delete(connection, gone)


def _push_out(connection: Connection) -> None:
    """The oldest of all go until both bounds hold."""
    rows, size = connection.execute(select(func.count(), func.coalesce(func.sum(quarantine.c.bytes), 0))).one()
    while rows > MAX_ROWS or size > MAX_BYTES:
        query = select(quarantine.c.entry_id, quarantine.c.bytes).order_by(quarantine.c.at, quarantine.c.entry_id)
        gone = []
        for entry_id, its_bytes in connection.execute(query.limit(_AT_ONCE)).all():
            if rows <= MAX_ROWS and size <= MAX_BYTES:
                break
            gone.append(entry_id)
            rows, size = rows - 1, size - its_bytes
        _delete(connection, gone)


def _delete(connection: Connection, entry_ids: Sequence[int]) -> None:
    for start in range(0, len(entry_ids), _AT_ONCE):
        part = entry_ids[start : start + _AT_ONCE]
        connection.execute(quarantine.delete().where(quarantine.c.entry_id.in_(part)))


def _record(row: RowMapping) -> QuarantinedMessage:
    return as_record(
        QuarantinedMessage,
        row,
        device_id=row["device_id"] or None,
        module_id=row["module_id"] or None,
        body=base64.b64encode(row["body"]).decode(),
    )
