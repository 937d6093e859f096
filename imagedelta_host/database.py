"""SQLite as this host uses it: WAL, every commit on disk, one connection on the host's own thread.

Damage is never taken for an empty database. Each opening is a session with a number, kept in the database and beside
it in ``<name>.session``; the database also knows whether its last session was closed in order. One that is lost,
emptied, an older copy, or robbed of its write-ahead log contradicts that and is refused.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagedelta_host.errors import StateDamaged
from imagedelta_host.files import read_object, write_private

log = logging.getLogger("imagedelta_host")

FORMAT = 2
"""Kept in ``user_version``; to be raised with every change of a schema that older state does not fit."""

_SESSION = "create table if not exists session(number integer not null, closed integer not null);"
_WAL_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
"""First bytes of a write-ahead log. Source: sqlite.org, "WAL-mode File Format"."""


class Database:
    """One database file, open until ``close``."""

    def __init__(self, path: Path, schema: str) -> None:
        """Open or create a database and its tables; readable by its owner only.

        ``synchronous=FULL`` makes a commit survive power loss, not only the death of the process.

        Raises:
            StateDamaged: The file is not what this host left there, or another version of the host wrote it.
        """
        self._path = path
        marker = path.with_name(f"{path.name}.session")
        known, has_log = _last_session(marker), _has_log(path)
        self.connection = _connect(path)
        try:
            self._prepare(schema)
            number = self._begin_session(known, has_log)
        except sqlite3.Error as error:
            self.connection.close()
            raise _damaged(path, str(error)) from error
        except StateDamaged:
            self.connection.close()
            raise
        write_private(marker, json.dumps({"session": number}).encode())

    def _prepare(self, schema: str) -> None:
        if self.connection.execute("pragma journal_mode=wal").fetchone()[0] != "wal":
            raise _damaged(self._path, "its -wal file cannot be written")
        self.connection.execute("pragma synchronous=full")
        self.connection.execute("pragma busy_timeout=10000")
        tables = self.connection.execute("select count(*) from sqlite_master").fetchone()[0]
        if tables == 0:
            self.connection.executescript(f"begin; {schema} pragma user_version={FORMAT}; commit;")
        found = self.connection.execute("pragma user_version").fetchone()[0]
        if found != FORMAT:
            raise _damaged(self._path, f"it was written by another version of the host (format {found}, not {FORMAT})")
        self.connection.execute(_SESSION)
        problem = self.connection.execute("pragma quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise _damaged(self._path, problem)
        if _columns(self.connection) != _columns_of(schema + _SESSION):
            raise _damaged(self._path, "its tables are not those of this version of the host")

    def _begin_session(self, known: int, has_log: bool) -> int:
        row = self.connection.execute("select number, closed from session").fetchone()
        last, closed = (0, True) if row is None else (int(row[0]), bool(row[1]))
        if last < known:
            raise _damaged(self._path, "it was emptied, is an older copy, or lost its -wal file")
        if known and not closed and not has_log:
            raise _damaged(self._path, "it was not closed in order and its -wal file is lost or damaged")
        self._note_session(last + 1, closed=False)
        return last + 1

    def _note_session(self, number: int, *, closed: bool) -> None:
        with transaction(self.connection):
            self.connection.execute("delete from session")
            self.connection.execute("insert into session values(?, ?)", (number, closed))

    def close(self) -> None:
        """Close in order: everything is in the one file then."""
        try:
            number = self.connection.execute("select number from session").fetchone()[0]
            self._note_session(number, closed=True)
        except sqlite3.Error as error:
            log.error("%s could not be closed in order: %s", self._path, error)
        self.connection.close()


def _last_session(marker: Path) -> int:
    """The number of the last session that was begun; 0 when there is no marker.

    Raises:
        StateDamaged: The marker is not what this host wrote.
    """
    try:
        number = read_object(marker).get("session", 0)
        if type(number) is int:
            return number
    except StateDamaged:
        pass
    raise StateDamaged(f"{marker} is damaged: delete it to go on with the database as it is")


def _has_log(path: Path) -> bool:
    """Whether there is a write-ahead log; after a session not closed in order it holds what nothing else does."""
    try:
        with path.with_name(f"{path.name}-wal").open("rb") as stream:
            return stream.read(4) in _WAL_MAGIC
    except OSError:
        return False


def _connect(path: Path) -> sqlite3.Connection:
    try:
        path.touch(mode=0o600, exist_ok=True)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise _damaged(path, str(error)) from error
    connection.row_factory = sqlite3.Row
    return connection


def _columns(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    rows = connection.execute(
        "select m.name, c.name, c.type from sqlite_master m join pragma_table_info(m.name) c where m.type = 'table'"
    )
    return {(row[0], row[1], row[2]) for row in rows if not row[0].startswith("sqlite_")}


def _columns_of(schema: str) -> set[tuple[str, str, str]]:
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(schema)
        return _columns(connection)
    finally:
        connection.close()


def _damaged(path: Path, reason: str) -> StateDamaged:
    return StateDamaged(
        f"{path} cannot be used: {reason}. Put back a copy of the whole state folder; or delete {path.name}.session to "
        f"go on with what is left of it; or delete {path.name}* to begin anew without what was in it"
    )


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All statements inside, or none; also when the disk is full at the very commit."""
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise
