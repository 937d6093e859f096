"""The activity dispatcher: limits, shared commits, and what happens when results cannot be stored."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagedelta_host.durable import dispatch
from imagedelta_host.durable.dispatch import ActivityDispatcher
from imagedelta_host.durable.store import DurableStore
from imagedelta_host.loader import AppFunction
from imagedelta_host.workers import ActivityRaised, WorkerDied
from tests.unit.host.engine_harness import Machine, activity_function, orchestrator

pytestmark = pytest.mark.filterwarnings("ignore:azure.functions df_loads:DeprecationWarning")


class Workers:
    """Takes the place of worker processes: answers at once, dies or raises as told, counts."""

    timeout = 7.0

    def __init__(self, *outcomes: BaseException) -> None:
        self.outcomes = list(outcomes)
        self.runs = 0
        self.at_once = 0
        self.most = 0

    async def run(self, name: str, raw_input: str | None, *, alone: bool = False) -> str | None:
        self.runs += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if self.outcomes:
            raise self.outcomes.pop(0)
        return json.dumps(int(raw_input or 0) * 2)


def double(payload: int) -> int:
    return payload * 2


def fan_out(context: Any) -> Any:
    return sum((yield context.task_all([context.call_activity("double", n) for n in range(context.get_input())])))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DurableStore]:
    opened = DurableStore(tmp_path / "durable.sqlite")
    yield opened
    opened.close()


def ended(store: DurableStore, workers: Workers, count: int = 1, limit: int = 4) -> tuple[str, Any]:
    """Run a fan-out whose activities go through a dispatcher; status and output."""
    machine = Machine(store, [activity_function(double), orchestrator(fan_out)])

    async def nobody(function: AppFunction, raw_input: str | None) -> str | None:
        raise AssertionError("no activity here is async")

    functions = {"double": activity_function(double)}
    ActivityDispatcher(machine.engine, functions, workers, nobody, limit)  # type: ignore[arg-type]
    machine.start("fan_out", count)
    row = asyncio.run(machine.finish())
    return row.status, json.loads(row.output or "null")


def test_no_more_activities_run_at_once_than_allowed(store: DurableStore) -> None:
    workers = Workers()

    assert ended(store, workers, count=50, limit=3) == ("Completed", 49 * 50)
    assert workers.most == 3


def test_an_activity_is_delivered_again_when_its_worker_dies_but_not_for_ever(store: DurableStore) -> None:
    survives = Workers(WorkerDied("killed"), WorkerDied("killed"))

    assert ended(store, survives) == ("Completed", 0)
    assert survives.runs == 3

    dies = Workers(*(WorkerDied("killed") for _ in range(9)))
    status, output = ended(store, dies)

    assert (status, dies.runs) == ("Failed", dispatch.MAX_WORKER_DEATHS)
    assert "WorkerDied: killed in each of 3 attempts" in output


def test_deaths_are_counted_across_restarts(store: DurableStore, tmp_path: Path) -> None:
    work = store.add_work("i", "e", 0, "double", "1")
    store.count_death(work)

    again = DurableStore(tmp_path / "durable.sqlite")

    assert [item.deaths for item in again.pending_work()] == [1]
    again.close()


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (ActivityRaised("ValueError: no", "trace"), "Activity function 'double' failed:  ValueError: no"),
        (TimeoutError(), "FunctionTimeoutException: the function ran longer than 7.0 s and was ended"),
    ],
)
def test_a_failure_is_worded_like_the_real_host(store: DurableStore, outcome: BaseException, words: str) -> None:
    status, output = ended(store, Workers(outcome))

    assert (status, words in output) == ("Failed", True)


def test_results_that_cannot_be_stored_are_stored_later(store: DurableStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_RETRY_SECONDS", 0.01)
    finish, failures = store.finish_work, [sqlite3.OperationalError("disk full")] * 2

    def finish_later(work: Any) -> bool:
        if failures:
            raise failures.pop()
        return finish(work)

    monkeypatch.setattr(store, "finish_work", finish_later)

    assert ended(store, Workers(), count=3) == ("Completed", 6)
    assert failures == []
