"""One connection pool for each process, and transactions that are rerun when SQL says: try again.

SQLite: WAL, BEGIN IMMEDIATE for every writing transaction (the driver's own mode loses concurrent
read-modify-writes without an error), foreign keys on. SQL Server: the driver's pooling off, small pool,
connections checked before use.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError

from contracts.channels import MAIL
from imagedelta.errors import RequestError
from store.kernel.retries import Retries
from store.kernel.sql_server import sql_server_engine

T = TypeVar("T")

BUSY_SECONDS = 20
"""How long a SQLite transaction waits for another process's."""
RIVALS = 3
"""Tries of a transaction that meets rows of rivals."""
CHANNELS = "channels"
"""Execution option of every connection: the channels by which people and programs are told (contracts.channels)."""


class Database:
    """Runs functions of a Connection in transactions.

    ``work`` may run more than once, so it must change nothing but the database.
    """

    def __init__(
        self, url: str, access_token: Callable[[], str] | None = None, *, channels: Sequence[str] = (MAIL,)
    ) -> None:
        """Args:
        url: ``sqlite:///file`` or ``mssql+pyodbc://…``.
        access_token: Gives an Entra token for each new SQL Server connection whose URL holds no login.
        channels: By which what happens is told.
        """
        self.engine = _make_engine(_parsed(url), access_token)
        self.engine.update_execution_options(**{CHANNELS: tuple(channels)})
        self._writer = self.engine.execution_options(begin="BEGIN IMMEDIATE")
        self._of_thread = _Joined()
        self._retries = Retries()
        _drop_in_forked_child(self.engine)

    def read(self, work: Callable[[Connection], T], *, patient: bool = True) -> T:
        """Run ``work`` on one consistent view (SQLite); it must not write.

        Args:
            patient: Whether a database that does not answer is waited for.
        """
        if self._of_thread.connection is not None:
            return work(self._of_thread.connection)
        return self._retries.run(lambda: _run(self.engine, work), patient=patient)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` and commit; nothing of it stays when it raises.

        Raises: DependencyError when SQL still does not answer (store.kernel.retries says how long is waited).
        """
        if self._of_thread.connection is not None:
            return work(self._of_thread.connection)
        return self._retries.run(lambda: _run(self._writer, work))

    def together(self, work: Callable[[], T]) -> T:
        """Run ``work``, of which every ``read`` and ``write`` joins one transaction of this thread, and commit.

        It is run again too when a rival wrote a row of the same key meanwhile: then it finds that row.
        """
        for left in reversed(range(RIVALS)):
            try:
                return self.write(lambda connection: self._joined(connection, work))
            except IntegrityError:
                if not left:
                    raise
        raise AssertionError("unreachable")

    def _joined(self, connection: Connection, work: Callable[[], T]) -> T:
        outer, self._of_thread.connection = self._of_thread.connection, connection
        try:
            return work()
        finally:
            self._of_thread.connection = outer

    def close(self) -> None:
        self.engine.dispose()


class _Joined(threading.local):
    """The connection whose transaction this thread's work joins, if any."""

    connection: Connection | None = None


def _run(engine: Engine, work: Callable[[Connection], T]) -> T:
    with engine.connect() as connection, connection.begin():
        return work(connection)


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):  # its text holds the URL, and with it a password
        raise RequestError("IMAGEDELTA_DATABASE_URL is no URL of a database", code="settings.invalid") from None


def _make_engine(url: URL, access_token: Callable[[], str] | None) -> Engine:
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url)
    if url.drivername == "mssql+pyodbc":
        return sql_server_engine(url, access_token)
    raise RequestError(
        f"IMAGEDELTA_DATABASE_URL is {url.drivername}: it must be sqlite or mssql+pyodbc", code="settings.invalid"
    )


def _sqlite_engine(url: URL) -> Engine:
    if url.database in (None, "", ":memory:"):
        raise RequestError(
            "IMAGEDELTA_DATABASE_URL names a database in memory, which processes do not share: name a file",
            code="settings.invalid",
        )
    engine = create_engine(url, pool_size=5, max_overflow=10, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours, see below
        for pragma in ("busy_timeout=20000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    return engine


def _drop_in_forked_child(engine: Engine) -> None:
    """A SQLite or TDS connection must not be used by two processes."""
    reference = weakref.ref(engine)

    def forget() -> None:
        if (parent := reference()) is not None:
            parent.dispose(close=False)

    os.register_at_fork(after_in_child=forget)
