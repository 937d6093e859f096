"""Which errors of a database pass by themselves, what helps meanwhile, and how long it is waited for.

SQL Server's errors are known by their number, which SQLAlchemy does not tell apart: a deadlock is a plain DBAPIError.
So the number is read from the text, where the driver ends each message with it.
Source: learn.microsoft.com, "Troubleshoot transient connection errors in Azure SQL Database", "Database Engine errors".
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable
from enum import Enum
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from imagedelta.errors import DependencyError

T = TypeVar("T")

TRIES = 6
"""Of a transaction that meets others."""
FIRST_PAUSE_SECONDS = 0.05
OUTAGE_SECONDS = 90.0
"""How long an outage is waited for, from its beginning: a serverless database that was paused takes a minute to
answer, and whoever waits over HTTP is cut off by Azure after 230 seconds."""
FIRST_OUTAGE_PAUSE, LONGEST_OUTAGE_PAUSE = 1.0, 10.0


class Remedy(Enum):
    """What helps against an error."""

    RERUN = "run the transaction again"
    RECONNECT = "wait, and run it again on another connection"
    NONE = "nothing"


_RERUN = frozenset({1205, 1222, 3960})
"""Deadlock victim, lock timeout, snapshot conflict: the connection is good, the transaction is not."""
_RECONNECT = frozenset(
    {64, 233, 4060, 4221, 10053, 10054, 10060, 10928, 10929, 10936}
    | {40143, 40166, 40197, 40501, 40613, 49918, 49919, 49920}
)
_NEVER = frozenset({18456})
"""A login that is refused stays refused, and tries lock it out."""
_CLOSED = frozenset({40615, 40914, 42101, 47073})
"""No firewall rule for the address, none for the network, public access shut off.

Source: microsoft/microsoft-sql, skills/diagnose-connection-errors, "Azure SQL Database connection refused".
"""
_RECORD = re.compile(r"\((\d{1,6})\)(?= \(SQL\w+\)|; \[|[\"']\)|$)")
"""The number at the end of a message of the driver; numbers in words, as in ``varchar (64)``, are none."""
_STATE = re.compile(r"\[(\w{5})\] ?\[")
_LOST = re.compile(r"08\w{3}|HYT0[01]")
_LOCKED = ("database is locked", "database is busy", "database table is locked")
"""What SQLite says when its own waiting was not long enough."""


def remedy_of(error: BaseException) -> Remedy:
    """For an error of SQLAlchemy, or of the driver itself."""
    if isinstance(error, PoolTimeout):
        return Remedy.RECONNECT
    if isinstance(error, IntegrityError):
        return Remedy.NONE
    message = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    if any(locked in message for locked in _LOCKED):
        return Remedy.RERUN
    numbers = {int(number) for number in _RECORD.findall(message)}
    states = set(_STATE.findall(message))
    if numbers & _NEVER or any(state.startswith("23") for state in states):
        return Remedy.NONE
    if numbers & _RERUN:
        return Remedy.RERUN
    invalidated = isinstance(error, DBAPIError) and error.connection_invalidated
    if invalidated or numbers & _RECONNECT or any(_LOST.fullmatch(state) for state in states):
        return Remedy.RECONNECT
    return Remedy.NONE


class Retries:
    """Runs transactions again. One for each database: its threads share what they know of an outage.

    The first to meet an outage waits for its end; once it has lasted ``OUTAGE_SECONDS``, nobody waits any more: each
    call tries, and says at once that SQL does not answer. So no outage takes all threads of a process.
    """

    def __init__(
        self, *, sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.Lock()
        self._down_since: float | None = None

    def run(self, work: Callable[[], T], *, patient: bool = True) -> T:
        """Args:
        patient: Whether an outage is waited for.

        Raises: DependencyError when SQL still does not answer; other errors as they are.
        """
        met, outage_pause, began = 0, FIRST_OUTAGE_PAUSE, self._clock()
        while True:
            try:
                result = work()
            except (DBAPIError, PoolTimeout) as error:
                remedy = remedy_of(error)
                if remedy is Remedy.NONE:
                    raise translated(error) from error
                if remedy is Remedy.RERUN:
                    met += 1
                    pause = FIRST_PAUSE_SECONDS * 2 ** (met - 1)
                    over = met >= TRIES or self._clock() - began > OUTAGE_SECONDS
                else:
                    pause, outage_pause = outage_pause, min(outage_pause * 2, LONGEST_OUTAGE_PAUSE)
                    over = not patient or self._outage_seconds() + pause > OUTAGE_SECONDS
                if over:
                    raise DependencyError(f"SQL does not answer: {_first_line(error)}") from error
            else:
                self._down_since = None
                return result
            self._sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  so that rivals do not meet again

    def _outage_seconds(self) -> float:
        with self._lock:
            if self._down_since is None:
                self._down_since = self._clock()
            return self._clock() - self._down_since


def translated(error: DBAPIError | PoolTimeout) -> Exception:
    """What cannot be reached or written now may be later; a statement that is wrong stays a defect."""
    if isinstance(error, IntegrityError):
        return error
    if _lacks_schema(error):
        return DependencyError(f"the database lacks a table: {_first_line(error)}", code="dependency.schema_old")
    if _CLOSED & _numbers(error):
        return DependencyError(
            f"the database is closed to this address: {_first_line(error)}", code="dependency.closed"
        )
    if _refused(error):
        return DependencyError(f"the database refuses the login: {_first_line(error)}", code="dependency.login")
    unreached = "(SQLDriverConnect)" in str(error)
    if unreached or (isinstance(error, OperationalError | InterfaceError) and "no such" not in str(error.orig)):
        return DependencyError(f"SQL does not answer: {_first_line(error)}")
    return error


def _refused(error: Exception) -> bool:
    """18456 is SQL Server's failed login, 28000 what ODBC calls one."""
    return bool(_NEVER & _numbers(error)) or "[28000]" in str(getattr(error, "orig", error))


def _numbers(error: Exception) -> set[int]:
    """Of the driver's messages."""
    return set(map(int, _RECORD.findall(str(getattr(error, "orig", error)))))


def _lacks_schema(error: Exception) -> bool:
    """The app was started before its schema was there: 208 is SQL Server's invalid object name."""
    return "no such table" in str(getattr(error, "orig", error)) or 208 in _numbers(error)


def _first_line(error: Exception) -> str:
    lines = str(getattr(error, "orig", error)).splitlines()
    return lines[0] if lines else type(error).__name__
