"""What is tried again, what waits for a new connection, what never, and for how long."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from imagedelta.errors import DependencyError
from store.kernel.retries import OUTAGE_SECONDS, TRIES, Remedy, Retries, remedy_of

SERVER = "[Microsoft][ODBC Driver 18 for SQL Server][SQL Server]"


def failure(message: str, kind: type[DBAPIError] = DBAPIError) -> DBAPIError:
    return kind("UPDATE x", {}, Exception(message))


def from_driver(state: str, text: str, number: int, of: str = "SQLExecDirectW") -> DBAPIError:
    """As pyodbc words it, seen with Microsoft's driver 18.6."""
    return DBAPIError("UPDATE x", {}, Exception(state, f"[{state}] {SERVER}{text} ({number}) ({of})"))


RERUN = [1205, 1222, 3960]
RECONNECT = [64, 233, 4060, 4221, 10053, 10054, 10060, 10928, 10929, 10936, 40143, 40166, 40197, 40501, 40613]
RECONNECT += [49918, 49919, 49920]


@pytest.mark.parametrize("number", RERUN)
def test_a_transaction_that_met_another_is_run_again_at_once(number: int) -> None:
    assert remedy_of(from_driver("40001", "Transaction was chosen.", number)) is Remedy.RERUN


@pytest.mark.parametrize("number", RECONNECT)
def test_a_server_that_moves_wakes_or_throttles_is_asked_again_on_another_connection(number: int) -> None:
    assert remedy_of(from_driver("42000", "The service is busy.", number, "SQLDriverConnect")) is Remedy.RECONNECT


@pytest.mark.parametrize("state", ["08S01", "08001", "HYT00", "HYT01"])
def test_a_link_that_broke_is_made_anew(state: str) -> None:
    error = DBAPIError("x", {}, Exception(state, f"[{state}] [Microsoft][ODBC Driver 18]Communication link (0) (SQLx)"))

    assert remedy_of(error) is Remedy.RECONNECT


@pytest.mark.parametrize(
    "error",
    [
        from_driver("28000", "Login failed for user 'x'.", 18456, "SQLDriverConnect"),
        DBAPIError(
            "x",
            {},
            Exception(
                "42000",
                f"[42000] {SERVER}Cannot open database (4060) (SQLDriverConnect); [28000] {SERVER}Login failed (18456)",
            ),
        ),
        from_driver("23000", "Violation of UNIQUE KEY constraint: (1205)", 2627),
        from_driver("42000", "Incorrect syntax near 'varchar (64)' or '(10054)'.", 102),
        failure("no such table: x"),
        failure("database is locked", IntegrityError),
    ],
    ids=["login", "login for a database", "constraint", "numbers in words", "no table", "integrity"],
)
def test_what_stays_wrong_is_never_tried_again(error: DBAPIError) -> None:
    assert remedy_of(error) is Remedy.NONE


def test_a_lock_of_sqlite_passes_and_a_pool_without_connections_is_waited_for() -> None:
    assert remedy_of(failure("database is locked", OperationalError)) is Remedy.RERUN
    assert remedy_of(PoolTimeout("QueuePool limit")) is Remedy.RECONNECT


class Clock:
    """Time that passes by sleeping, and while something is tried."""

    def __init__(self, seconds_a_try: float = 0.0) -> None:
        self.now = 0.0
        self.seconds_a_try = seconds_a_try

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def __call__(self) -> float:
        return self.now

    def retries(self) -> Retries:
        return Retries(sleep=self.sleep, clock=self)

    def failing(self, error: Exception, until: float = 1e9) -> tuple[list[float], Callable[[], str]]:
        tries: list[float] = []

        def work() -> str:
            tries.append(self.now)
            if self.now < until:
                self.now += self.seconds_a_try
                raise error
            return "done"

        return tries, work


PAUSED = from_driver("42000", "Database is not currently available.", 40613, "SQLDriverConnect")


def test_a_database_that_wakes_within_a_minute_is_waited_for() -> None:
    clock = Clock(seconds_a_try=5)
    tries, work = clock.failing(PAUSED, until=60)

    assert clock.retries().run(work) == "done"
    assert 60 <= clock.now < 80
    assert len(tries) < 15


@pytest.mark.parametrize("seconds_a_try", [0, 15])
def test_an_outage_is_waited_for_well_below_the_time_of_an_http_request(seconds_a_try: float) -> None:
    clock = Clock(seconds_a_try)
    _, work = clock.failing(PAUSED)

    with pytest.raises(DependencyError, match="40613"):
        clock.retries().run(work)

    assert OUTAGE_SECONDS / 2 < clock.now < 120


def test_an_outage_that_was_waited_for_keeps_nobody_else_waiting_until_it_is_over() -> None:
    clock = Clock()
    retries = clock.retries()
    _, work = clock.failing(PAUSED, until=500)
    with pytest.raises(DependencyError):
        retries.run(work)

    clock.now, begun = 200.0, 200.0
    with pytest.raises(DependencyError):
        retries.run(work)
    assert clock.now == begun

    clock.now = 500.0
    assert retries.run(work) == "done"
    again, later = clock.failing(PAUSED, until=530)
    assert retries.run(later) == "done"
    assert len(again) > 2


def test_a_question_of_the_impatient_is_asked_once() -> None:
    clock = Clock()
    tries, work = clock.failing(PAUSED)

    with pytest.raises(DependencyError):
        clock.retries().run(work, patient=False)

    assert (len(tries), clock.now) == (1, 0.0)


def test_a_deadlock_is_tried_a_few_times_within_seconds() -> None:
    clock = Clock()
    tries, work = clock.failing(from_driver("40001", "deadlocked", 1205))

    with pytest.raises(DependencyError):
        clock.retries().run(work)

    assert len(tries) == TRIES
    assert clock.now < 5


def test_a_lock_that_is_held_for_long_is_not_waited_for_for_ever() -> None:
    clock = Clock(seconds_a_try=20)
    tries, work = clock.failing(failure("database is locked", OperationalError))

    with pytest.raises(DependencyError):
        clock.retries().run(work)

    assert clock.now <= OUTAGE_SECONDS + 40
    assert len(tries) <= TRIES


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InterfaceError("x", {}, from_driver("28000", "Login failed.", 18456, "SQLDriverConnect").orig or Exception())
         , "dependency.login"),
        (ProgrammingError("x", {}, from_driver("42S02", "Invalid object name 'sets'.", 208).orig or Exception())
         , "dependency.schema_old"),
        (ProgrammingError("x", {}, from_driver("42000", "Your client is not allowed.", 40615, "SQLDriverConnect").orig
                          or Exception()), "dependency.closed"),
        (InterfaceError("x", {}, from_driver("42000", "Use the private endpoint.", 47073, "SQLDriverConnect").orig
                        or Exception()), "dependency.closed"),
    ],
)  # fmt: skip
def test_what_cannot_pass_by_itself_is_told_at_once_by_its_code(error: DBAPIError, code: str) -> None:
    clock = Clock()
    tries, work = clock.failing(error)

    with pytest.raises(DependencyError) as caught:
        clock.retries().run(work)

    assert caught.value.code == code
    assert len(tries) == 1


def test_threads_share_what_they_know_of_an_outage() -> None:
    clock = Clock()
    retries = clock.retries()
    _, work = clock.failing(PAUSED)

    def ask() -> None:
        with pytest.raises(DependencyError):
            retries.run(work)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert clock.now < OUTAGE_SECONDS + 4 * 10
