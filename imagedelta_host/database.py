"""SQLite as this host uses it: WAL, every commit on disk, one connection on the host's own thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagedelta_host.errors import HostError

FORMAT = 1
"""Kept in ``user_version``; to be raised with every change of a schema that older state does not fit."""


def open_database(path: Path, schema: str) -> sqlite3.Connection:
    """Open or create a database and its tables; readable by its owner only.

    ``synchronous=FULL`` makes a commit survive power loss, not only the death of the process.

    Raises:
        HostError: Another version of the host wrote it.
    """
    path.touch(mode=0o600, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=full")
    connection.execute("pragma busy_timeout=10000")
    if connection.execute("select count(*) from sqlite_master").fetchone()[0] == 0:
        connection.executescript(f"begin; {schema} pragma user_version={FORMAT}; commit;")
    found = connection.execute("pragma user_version").fetchone()[0]
    if found != FORMAT:
        connection.close()
        raise HostError(f"{path} was written by another version of the host: use another folder, or delete this one")
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All statements inside, or none."""
    connection.execute("begin immediate")
    try:
        yield
    except BaseException:
        connection.execute("rollback")
        raise
    connection.execute("commit")
