"""What is due, of which kind and since when, in one statement; and when each kind was last done."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, func, literal, select, union_all

from contracts import work
from contracts.records import Heartbeat
from contracts.states import CONFIRMABLE, NOTIFIABLE, RELEASABLE
from store.kernel.engine import Database
from store.kernel.schema import devices, heartbeats, hub_layers, hub_readings, members, notifications, sets
from store.kernel.tools import as_record
from store.kernel.types import UtcDateTime


class SqlAttendance:
    """Implements services.store_port.Attendance."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def oldest_due(self, at: datetime) -> Mapping[str, datetime]:
        rows = self._db.read(lambda connection: connection.execute(_OLDEST, {"now": at}).all())
        oldest: dict[str, datetime] = {}
        for kind, since in rows:
            if since is not None:
                oldest[kind] = min(since, oldest.get(kind, since))
        return oldest

    def done(self, kinds: Collection[str], failures: Mapping[str, str], at: datetime) -> None:
        self._db.write(lambda connection: _done(connection, kinds, failures, at))

    def heartbeats(self) -> Mapping[str, Heartbeat]:
        rows = self._db.read(lambda connection: connection.execute(select(heartbeats)).mappings().all())
        return {row["kind"]: as_record(Heartbeat, row) for row in rows}


def _oldest(kind: str, due_at: ColumnElement[Any], *where: ColumnElement[bool]) -> Any:
    """The first entry of an index: as cheap with a million rows."""
    return select(literal(kind), func.min(due_at, type_=UtcDateTime())).where(*where, due_at <= bindparam("now"))


def _every_kind() -> Iterator[Any]:
    yield _oldest(work.SETTLE, sets.c.settle_at)
    for state in sorted(NOTIFIABLE):
        yield _oldest(work.NOTIFY, notifications.c.not_before, notifications.c.state == state)
    for state in sorted(RELEASABLE):
        yield _oldest(work.RELEASE, members.c.next_try_at, members.c.state == state)
    for state in sorted(CONFIRMABLE):
        yield _oldest(work.CONFIRM, members.c.next_try_at, members.c.state == state)
    yield _oldest(work.SYNC, devices.c.sync_at)
    yield _oldest(work.TIDY, hub_layers.c.look_at)
    yield _oldest(work.READ_HUBS, hub_readings.c.read_at)
    yield _oldest(work.SILENCE, devices.c.silent_at)


_OLDEST = union_all(*_every_kind())


def _done(connection: Connection, kinds: Collection[str], failures: Mapping[str, str], at: datetime) -> None:
    known = heartbeats.c.kind.in_(sorted(kinds))
    if connection.execute(heartbeats.update().where(known).values(done_at=at)).rowcount < len(kinds):
        _insert_missing(connection, kinds, at)
    for kind, code in failures.items():
        failed = {"failed_at": at, "code": code}
        connection.execute(heartbeats.update().where(heartbeats.c.kind == kind).values(**failed))


def _insert_missing(connection: Connection, kinds: Collection[str], at: datetime) -> None:
    known = set(connection.execute(select(heartbeats.c.kind)).scalars())
    rows = [{"kind": kind, "done_at": at} for kind in sorted(set(kinds) - known)]
    connection.execute(heartbeats.insert(), rows)
