"""One connection pool for each process, and transactions that are rerun when SQL says: try again.

SQLite: WAL, BEGIN IMMEDIATE for every writing transaction (the driver's own mode loses concurrent
read-modify-writes without an error), foreign keys on. SQL Server: the driver's pooling off, small pool,
connections checked before use.
"""

from __future__ import annotations

import os
import random
import re
import struct
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from imagedelta.errors import DependencyError, RequestError

T = TypeVar("T")

BUSY_SECONDS = 20
"""How long a SQLite transaction waits for another process's."""
TRIES = 6
RIVALS = 3
"""Tries of a transaction that meets rows of rivals."""
FIRST_PAUSE_SECONDS = 0.05
ACCESS_TOKEN = 1256
"""SQL_COPT_SS_ACCESS_TOKEN of Microsoft's ODBC driver."""

RERUN = frozenset({1205, 1222, 3960})
"""Deadlock victim, lock timeout, snapshot conflict: the connection is good, the transaction is not."""
RECONNECT = frozenset(
    {64, 233, 4060, 4221, 10053, 10054, 10060, 10928, 10929, 10936}
    | {40143, 40166, 40197, 40501, 40613, 49918, 49919, 49920}
)
_NUMBER = re.compile(r"\((\d{2,5})\)")
_STATE = re.compile(r"\[?(08[0-9A-Z]{3}|HYT0[01])\]?")


class Database:
    """Runs functions of a Connection in transactions.

    ``work`` may run more than once, so it must change nothing but the database.
    """

    def __init__(self, url: str, access_token: Callable[[], str] | None = None) -> None:
        """Args:
        url: ``sqlite:///file`` or ``mssql+pyodbc://…``.
        access_token: Gives an Entra token for each new SQL Server connection, instead of a password.
        """
        self.engine = _make_engine(_parsed(url), access_token)
        self._writer = self.engine.execution_options(begin="BEGIN IMMEDIATE")
        self._of_thread = _Joined()
        _drop_in_forked_child(self.engine)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` on one consistent view (SQLite); it must not write."""
        if self._of_thread.connection is not None:
            return work(self._of_thread.connection)
        return _with_retries(lambda: _run(self.engine, work))

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` and commit; nothing of it stays when it raises.

        Raises: DependencyError when SQL still does not answer after ``TRIES`` tries.
        """
        if self._of_thread.connection is not None:
            return work(self._of_thread.connection)
        return _with_retries(lambda: _run(self._writer, work))

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


def _with_retries(run: Callable[[], T]) -> T:
    pause = FIRST_PAUSE_SECONDS
    for left in reversed(range(TRIES)):
        try:
            return run()
        except IntegrityError:
            raise
        except (DBAPIError, PoolTimeout) as error:
            if not is_transient(error):
                raise _translated(error) from error
            if not left:
                raise DependencyError(f"SQL does not answer: {_first_line(error)}") from error
        time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  so that rivals do not meet again
        pause *= 2
    raise AssertionError("unreachable")


def is_transient(error: Exception) -> bool:
    """Whether running the transaction again, on a new connection where this one broke, can help."""
    if isinstance(error, PoolTimeout):
        return True
    if not isinstance(error, DBAPIError) or isinstance(error, IntegrityError):
        return False
    message = str(error.orig)
    if "database is locked" in message or "database is busy" in message or "database table is locked" in message:
        return True
    if error.connection_invalidated or _STATE.search(message):
        return True
    return any(int(number) in RERUN | RECONNECT for number in _NUMBER.findall(message))


def _translated(error: Exception) -> Exception:
    """What cannot be reached or written now may be later; a statement that is wrong stays a defect."""
    if _lacks_schema(error):
        return DependencyError(f"the database lacks a table: {_first_line(error)}", code="dependency.schema_old")
    if isinstance(error, OperationalError | InterfaceError) and "no such" not in str(error.orig):
        return DependencyError(f"SQL does not answer: {_first_line(error)}")
    return error


def _lacks_schema(error: Exception) -> bool:
    """The app was started before its schema was there: 208 is SQL Server's invalid object name."""
    message = str(getattr(error, "orig", error))
    return "no such table" in message or "(208)" in message


def _first_line(error: Exception) -> str:
    lines = str(getattr(error, "orig", error)).splitlines()
    return lines[0] if lines else type(error).__name__


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):  # its text holds the URL, and with it a password
        raise RequestError("IMAGEDELTA_DATABASE_URL is no URL of a database", code="settings.invalid") from None


def _make_engine(url: URL, access_token: Callable[[], str] | None) -> Engine:
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url)
    if url.drivername == "mssql+pyodbc":
        return _mssql_engine(url, access_token)
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


def _mssql_engine(url: URL, access_token: Callable[[], str] | None) -> Engine:
    pyodbc = _odbc()
    pyodbc.pooling = False  # two pools would hand out connections that the server has closed
    if not any("SQL Server" in driver for driver in pyodbc.drivers()):
        raise RequestError(
            "no ODBC driver for SQL Server is installed: install Microsoft's package msodbcsql18",
            code="settings.invalid",
        )
    engine = create_engine(
        url, pool_size=5, max_overflow=5, pool_pre_ping=True, pool_recycle=1800, fast_executemany=True
    )
    if access_token is not None:
        _send_token(engine, access_token)
    return engine


def _odbc() -> Any:
    """Imported only where SQL Server is used: it needs libodbc, which a local default does without."""
    try:
        import pyodbc
    except ImportError as error:
        raise RequestError(
            f"ODBC is not installed (unixodbc, msodbcsql18): {error}", code="settings.invalid"
        ) from error
    return pyodbc


def _send_token(engine: Engine, access_token: Callable[[], str]) -> None:
    @event.listens_for(engine, "do_connect")
    def add_token(_dialect: Any, _record: Any, _args: Any, arguments: dict[str, Any]) -> None:
        token = access_token().encode("utf-16-le")
        arguments["attrs_before"] = {ACCESS_TOKEN: struct.pack(f"<I{len(token)}s", len(token), token)}


def _drop_in_forked_child(engine: Engine) -> None:
    """A SQLite or TDS connection must not be used by two processes."""
    reference = weakref.ref(engine)

    def forget() -> None:
        if (parent := reference()) is not None:
            parent.dispose(close=False)

    os.register_at_fork(after_in_child=forget)
