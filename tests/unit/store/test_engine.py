from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from imagedelta.errors import DependencyError, RequestError
from store.kernel.engine import Database
from store.kernel.schema import counters, devices
from store.kernel.tools import next_value
from store.sql import SqlStore
from tests.unit.store.world import LEASE, World

SPAWN = multiprocessing.get_context("spawn")
"""For processes that write while others do: SQLite forbids carrying connections across a fork, because closing an
inherited one, whenever it is collected, drops the locks of the process. Workers are spawned, never forked."""


def flaky(times: int, error: Exception) -> tuple[list[int], Callable[[Any], str]]:
    calls: list[int] = []

    def work(_connection: Any) -> str:
        calls.append(1)
        if len(calls) <= times:
            raise error
        return "done"

    return calls, work


def test_a_transaction_is_rerun_as_a_whole_until_it_passes(database_url: str) -> None:
    database = Database(database_url)
    calls, work = flaky(2, OperationalError("UPDATE x", {}, Exception("database is locked")))

    assert database.write(work) == "done"
    assert len(calls) == 3
    database.close()


def test_nothing_of_a_transaction_that_raises_stays(database_url: str) -> None:
    database = Database(database_url)

    def work(connection: Any) -> None:
        next_value(connection, "set")
        raise RequestError("no")

    with pytest.raises(RequestError):
        database.write(work)

    assert database.read(lambda c: c.execute(select(counters)).all()) == []
    database.close()


@pytest.mark.parametrize("url", ["sqlite://", "postgresql://x/y", "mysql+pymysql://x/y"])
def test_another_kind_of_database_is_refused_by_name(url: str) -> None:
    with pytest.raises(RequestError) as error:
        Database(url)

    assert error.value.code == "settings.invalid"


def test_a_file_that_cannot_be_opened_is_a_dependency_that_does_not_answer(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/nowhere/x.db")

    with pytest.raises(DependencyError):
        store.healthy()


def test_threads_lose_no_update(database_url: str) -> None:
    database = Database(database_url)
    values: list[int] = []

    def count() -> None:
        for _ in range(25):
            values.append(database.write(lambda connection: next_value(connection, "x")))

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(values) == list(range(1, 201))
    database.close()


def claim_all(url: str, worker: str, patch_ids: list[str], now: datetime, claimed: Any) -> None:
    store = SqlStore(url)
    lease = timedelta(hours=1)
    claimed.put([patch_id for patch_id in patch_ids if store.patches.begin_step(patch_id, worker, lease, now)])
    store.close()


def test_processes_that_claim_at_once_never_get_the_same_patch(shared_url: str, world: World) -> None:
    world.device("ship-1", "-")
    of = world.set(["ship-1"], *[f"app:{number}" for number in range(40)])
    patch_ids = list(world.to_build(of))
    claimed = SPAWN.Queue()
    processes = [
        SPAWN.Process(target=claim_all, args=(shared_url, f"worker-{n}", patch_ids, world.now, claimed))
        for n in range(3)
    ]

    for process in processes:
        process.start()
    found = [patch_id for _ in processes for patch_id in claimed.get(timeout=60)]
    for process in processes:
        process.join()

    assert sorted(found) == sorted(patch_ids)
    assert len(patch_ids) == 40


def test_threads_that_settle_plan_and_report_at_once_leave_one_transfer(world: World) -> None:
    world.device("ship-1", "-")
    sets = [world.accepted(["ship-1"], "app:2", workstream=f"w{number}") for number in range(6)]
    decided = world.decided([world.planned("ship-1", "app:2")])
    errors: list[BaseException] = []

    def plan(set_id: str) -> None:
        try:
            world.store.sets.begin_plan(set_id, LEASE, 100, world.now)
            world.store.sets.record_plan(set_id, decided, world.now)
            world.store.sets.settle(set_id, world.now)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=plan, args=(of.set_id,)) for of in sets for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert len({world.transfer(of, "ship-1").transfer_id for of in sets}) == 1


def enrol_for_ever(url: str, number: int) -> None:
    """Pairs of rows in one transaction: a half-done one would show as an odd count."""
    database = Database(url)
    turn = 0
    while True:
        turn += 1
        names = [f"d{number}-{turn}-{half}" for half in "ab"]

        def work(connection: Any, names: list[str] = names) -> None:
            for name in names:
                connection.execute(devices.insert().values(device_id=name, hub_device_id=name, **ROW))
            next_value(connection, "pairs")

        database.write(work)


ROW = {
    "state": "enrolled",
    "hub": "north",
    "platform": "linux/amd64",
    "also_runs": [],
    "profiles": [],
    "trusted_keys": [],
    "bundle_forms": [],
    "enrolled_at": datetime(2030, 1, 1, tzinfo=UTC),
    "resync": 0,
    "last_number": 0,
    "locks": 0,
}


def test_processes_killed_in_the_middle_of_transactions_leave_whole_ones(database_url: str) -> None:
    path = database_url.removeprefix("sqlite:///")
    for round_number in range(3):
        processes = [SPAWN.Process(target=enrol_for_ever, args=(database_url, 10 * round_number + n)) for n in range(2)]
        for process in processes:
            process.start()
        wait_for_pairs(path, before=pairs(path))
        for process in processes:
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()

        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            rows = connection.execute("SELECT count(*) FROM devices").fetchone()[0]
        connection.close()
        assert rows == 2 * pairs(path) > 0


def pairs(path: str) -> int:
    connection = sqlite3.connect(path, timeout=20)
    row = connection.execute("SELECT value FROM counters WHERE name = 'pairs'").fetchone()
    connection.close()
    return row[0] if row else 0


def wait_for_pairs(path: str, before: int) -> None:
    deadline = time.monotonic() + 60
    while pairs(path) < before + 5:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_forked_child_does_not_share_its_parents_connections(database_url: str) -> None:
    database = Database(database_url)
    database.write(lambda connection: next_value(connection, "x"))
    before = database.engine.pool.checkedin()  # type: ignore[attr-defined]

    child = os.fork()
    if child == 0:
        os._exit(0 if database.engine.pool.checkedin() == 0 else 1)  # type: ignore[attr-defined]

    assert before == 1
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    database.close()


def test_calls_made_together_are_there_all_or_none(database_url: str) -> None:
    database = Database(database_url)

    def halfway() -> None:
        database.write(lambda connection: next_value(connection, "a"))
        assert database.read(lambda connection: connection.execute(select(counters.c.value)).scalars().all()) == [1]
        raise RequestError("no")

    with pytest.raises(RequestError):
        database.together(halfway)

    assert database.write(lambda connection: next_value(connection, "a")) == 1
    database.close()


def test_what_met_the_row_of_a_rival_is_run_again_to_find_it(database_url: str) -> None:
    database = Database(database_url)
    row = counters.insert().values(name="a", value=1)
    tries: list[int] = []

    def insert_unless_there() -> None:
        tries.append(1)
        database.write(lambda connection: connection.execute(row))
        if len(tries) == 1:
            database.write(lambda connection: connection.execute(row))

    database.together(insert_unless_there)

    assert len(tries) == 2
    assert database.read(lambda connection: len(connection.execute(select(counters)).all())) == 1
    database.close()


def test_other_threads_do_not_join_a_transaction(database_url: str) -> None:
    database = Database(database_url)
    seen: list[int] = []

    def count() -> None:
        seen.append(database.read(lambda connection: len(connection.execute(select(counters)).all())))

    def work() -> None:
        database.write(lambda connection: next_value(connection, "a"))
        other = threading.Thread(target=count)
        other.start()
        other.join()

    database.together(work)

    assert seen == [0]
    database.close()
