"""A trigger never dies: loops that fail are started again, repeat nothing, and show in the health of the host."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from imagedelta_host import timers
from imagedelta_host.durable import dispatch, engine
from imagedelta_host.durable.dispatch import ActivityDispatcher
from imagedelta_host.durable.store import DurableStore
from imagedelta_host.event_pump import EventPump
from imagedelta_host.loader import EVENT_HUB, TIMER, AppFunction
from imagedelta_host.supervisor import Supervisor
from imagedelta_host.timers import Timer, TimerStatuses
from imagedelta_host.user_loop import FunctionExited, UserLoop
from imagedelta_host.workers import NoWorker
from imagedelta_local.iothub.store import HubStore, Identity
from imagedelta_local.iothub.stream import EventStream, HubEvents
from tests.unit.host.engine_harness import Machine, activity_function, orchestrator

pytestmark = pytest.mark.filterwarnings("ignore:azure.functions df_loads:DeprecationWarning")


async def until(found: Callable[[], Any]) -> None:
    """Let others run until something is so; a test that waits for ever is ended by its time-out."""
    while not found():
        await asyncio.sleep(0.001)


def run(body: Callable[[Supervisor], Awaitable[None]]) -> Supervisor:
    """Run a body with a supervisor that waits next to nothing; its tasks are ended afterwards."""
    supervisor = Supervisor(first_pause=0.001, longest_pause=0.002)

    async def main() -> None:
        await body(supervisor)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    return supervisor


class Recorder:
    """Takes the place of the invoker."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    async def call(self, function: AppFunction, value: Any, retry: Any = None) -> None:
        self.values.append(value)


def test_a_loop_that_fails_is_started_again_and_shown_until_it_runs(caplog: pytest.LogCaptureFixture) -> None:
    ends: list[Exception] = [OSError("No space left on device"), ValueError("odd")]
    seen: list[list[str]] = []

    async def loop() -> None:
        seen.append(list(supervisor_of[0].errors))
        if ends:
            raise ends.pop(0)
        await asyncio.Event().wait()

    supervisor_of: list[Supervisor] = []

    async def body(supervisor: Supervisor) -> None:
        supervisor_of.append(supervisor)
        supervisor.start("sweep", loop)
        await until(lambda: supervisor.errors)
        assert supervisor.errors == ["sweep: OSError: No space left on device"]
        assert supervisor.loops[0].document()["state"] == "waitingToRestart"
        await until(lambda: len(seen) == 3)

    supervisor = run(body)

    assert supervisor.loops[0].restarts == 2
    assert supervisor.loops[0].last_error.endswith("ValueError: odd")
    assert supervisor.errors == []
    assert sum("sweep has stopped by an error" in record.getMessage() for record in caplog.records) == 2


def test_a_loop_that_returns_has_ended() -> None:
    async def loop() -> None:
        return

    async def body(supervisor: Supervisor) -> None:
        await supervisor.start("once", loop)

    assert run(body).loops[0].restarts == 0


class FullDisk:
    """An event source whose n-th call of one method fails, or every call until ``room`` is set."""

    def __init__(self, inner: HubEvents, method: str, failures: int) -> None:
        self.name = inner.name
        self._inner = inner
        self._method = method
        self.failures = failures

    def __getattr__(self, name: str) -> Any:
        if name == self._method and self.failures:
            self.failures -= 1
            raise sqlite3.OperationalError("database or disk is full")
        return getattr(self._inner, name)


@pytest.mark.parametrize("method", ["checkpoint", "wait", "after", "set_checkpoint"])
@pytest.mark.parametrize("failures", [1, 5])
def test_an_event_pump_goes_on_after_any_failure_and_delivers_nothing_twice(
    tmp_path: Path, method: str, failures: int
) -> None:
    store = HubStore(tmp_path / "iothub.sqlite")
    stream, recorder = EventStream(store), Recorder()
    trigger = {"name": "events", "type": EVENT_HUB, "connection": "EVENTS", "dataType": "BINARY"}
    source = FullDisk(HubEvents(stream, "north"), method, failures)
    pump = EventPump(AppFunction("ingest", "ingest", EVENT_HUB, print, trigger), source, recorder, 1)  # type: ignore[arg-type]
    for number in range(4):
        stream.append(Identity.new("north", "ship"), str(number).encode(), {}, {})

    async def body(supervisor: Supervisor) -> None:
        supervisor.start("ingest", pump.run_forever)
        await until(lambda: stream.checkpoint("north", "ingest/$Default") == 4)

    supervisor = run(body)
    store.close()

    assert [event.get_body() for event in recorder.values] == [b"0", b"1", b"2", b"3"]
    assert (supervisor.loops[0].restarts, source.failures) == (failures, 0)


@pytest.mark.parametrize("failures", [1, 3])
def test_a_timer_goes_on_after_a_full_disk_and_fires_no_run_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    left = [failures]
    write = timers.write_private

    def full(path: Path, content: bytes) -> None:
        if left[0]:
            left[0] -= 1
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(timers, "write_private", full)
    path = tmp_path / "timers.json"
    missed = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    path.write_text(json.dumps({"sweep": {"last": missed, "next": missed}}))
    trigger = {"name": "timer", "schedule": "0 0 * * * *", "type": TIMER}
    recorder = Recorder()
    timer = Timer(AppFunction("sweep", "sweep", TIMER, print, trigger), TimerStatuses(path), recorder)  # type: ignore[arg-type]

    async def body(supervisor: Supervisor) -> None:
        supervisor.start("sweep", timer.run_forever)
        await until(lambda: supervisor.loops[0].restarts)
        await asyncio.sleep(0.02)
        await timer.fire()

    run(body)

    assert [value.past_due for value in recorder.values] == [True, False]


class Workers:
    """Takes the place of worker processes."""

    timeout = 7.0

    def __init__(self, *refusals: Exception) -> None:
        self.refusals = list(refusals)
        self.inputs: list[str | None] = []

    async def run(self, name: str, raw_input: str | None, *, alone: bool = False) -> str | None:
        await asyncio.sleep(0)
        if self.refusals:
            raise self.refusals.pop(0)
        self.inputs.append(raw_input)
        return raw_input


def same(payload: int) -> int:
    return payload


def fan_out(context: Any) -> Any:
    first = yield context.call_activity("same", 10)
    rest = yield context.task_all([context.call_activity("same", n) for n in range(3)])
    yield context.create_timer(context.current_utc_datetime + timedelta(milliseconds=5))
    return [first, *rest]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DurableStore]:
    monkeypatch.setattr(engine, "_RETRY_EPISODE_SECONDS", 0.001)
    monkeypatch.setattr(dispatch, "_RETRY_SECONDS", 0.001)
    opened = DurableStore(tmp_path / "durable.sqlite")
    yield opened
    opened.close()


def dispatched(machine: Machine, workers: Workers) -> ActivityDispatcher:
    async def nobody(function: AppFunction, raw_input: str | None) -> str | None:
        raise AssertionError("no activity here is async")

    functions = {"same": activity_function(same)}
    return ActivityDispatcher(machine.engine, functions, workers, nobody, 2)  # type: ignore[arg-type]


class FailingOnce:
    """Lets the n-th statement of a kind fail once, wherever it comes from."""

    def __init__(self, store: DurableStore, method: str, nth: int) -> None:
        self.calls = 0
        inner = getattr(store, method)

        def call(*args: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls == nth:
                raise sqlite3.OperationalError("database or disk is full")
            return inner(*args, **options)

        setattr(store, method, call)


STATEMENTS = (
    "transaction",
    "instance",
    "messages",
    "append_history",
    "update_instance",
    "remove_messages",
    "tasks_in_inbox",
    "post",
    "add_work",
    "has_work",
    "finish_work",
    "pending_work",
    "wake_times",
    "delete_run",
)


@pytest.mark.parametrize("method", STATEMENTS)
@pytest.mark.parametrize("nth", [1, 2, 3, 5, 8])
def test_an_orchestration_ends_well_whichever_statement_fails_once(store: DurableStore, method: str, nth: int) -> None:
    machine = Machine(store, [activity_function(same), orchestrator(fan_out)])
    workers = Workers()
    dispatched(machine, workers)
    machine.start("fan_out")
    read = store.instance
    FailingOnce(store, method, nth)

    async def body(supervisor: Supervisor) -> None:
        supervisor.start("durable engine", machine.engine.run)
        await until(lambda: (row := read("it")) is not None and row.status == "Completed")
        machine.engine.stop()

    run(body)

    assert json.loads(read("it").output or "") == [10, 0, 1, 2]  # type: ignore[union-attr]
    assert sorted(workers.inputs, key=str) == ["0", "1", "10", "2"]


def test_an_activity_waits_while_no_process_can_be_started(store: DurableStore) -> None:
    machine = Machine(store, [activity_function(same), orchestrator(fan_out)])
    workers = Workers(NoWorker("no memory"), NoWorker("no memory"))
    dispatched(machine, workers)
    machine.start("fan_out")

    row = asyncio.run(machine.finish())

    assert (row.status, workers.refusals) == ("Completed", [])


def test_what_is_tried_again_and_again_shows_until_it_works(store: DurableStore) -> None:
    machine = Machine(store, [activity_function(same), orchestrator(fan_out)])
    dispatcher = dispatched(machine, Workers(NoWorker("no memory")))
    machine.start("fan_out")
    plan = store.instance
    broken = [True]
    seen: list[str] = []

    def instance(name: str) -> Any:
        if broken[0]:
            raise sqlite3.DatabaseError("database disk image is malformed")
        return plan(name)

    async def main() -> None:
        task = asyncio.create_task(machine.engine.run())
        store.instance = instance  # type: ignore[method-assign]
        await until(lambda: machine.engine.troubles)
        seen.extend(machine.engine.troubles.values())
        broken[0] = False
        await until(lambda: dispatcher.troubles)
        seen.extend(dispatcher.troubles.values())
        await until(lambda: plan("it").status == "Completed")  # type: ignore[union-attr]
        machine.engine.stop()
        await task

    asyncio.run(main())

    assert seen == ["DatabaseError: database disk image is malformed", "same of it: NoWorker: no memory"]
    assert (machine.engine.troubles, dispatcher.troubles) == ({}, {})


def test_a_commit_that_finds_the_disk_full_leaves_no_open_transaction(store: DurableStore) -> None:
    store._db.execute("create table parent(id integer primary key)")
    store._db.execute("create table child(p integer references parent(id) deferrable initially deferred)")
    store._db.execute("pragma foreign_keys=on")

    with pytest.raises(sqlite3.IntegrityError), store.transaction():
        store._db.execute("insert into child values(1)")  # refused by the commit itself

    with store.transaction():
        store.add_work("i", "e", 0, "same", None)
    assert [work.task for work in store.pending_work()] == [0]
    store._db.execute("drop table child")
    store._db.execute("drop table parent")


@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
def test_a_function_that_exits_or_cancels_ends_itself_alone(raised: BaseException) -> None:
    loop = UserLoop()

    async def bad() -> None:
        raise raised

    async def good() -> str:
        return "well"

    def bad_call() -> None:
        raise raised

    async def left_behind() -> None:
        asyncio.get_running_loop().create_task(bad())

    async def main() -> list[str]:
        with pytest.raises(FunctionExited):
            await loop.run_async(bad())
        with pytest.raises(FunctionExited):
            await loop.run_sync(bad_call)
        await loop.run_async(left_behind())
        return [await loop.run_async(good()), await loop.run_sync(lambda: "well")]

    assert asyncio.run(main()) == ["well", "well"]
    loop.stop()


def test_an_orchestrator_that_exits_fails_its_own_instance(store: DurableStore) -> None:
    def exits(context: Any) -> Any:
        yield context.call_activity("same", 1)
        sys.exit("enough")

    machine = Machine(store, [activity_function(same), orchestrator(exits)])
    machine.start("exits")

    row = asyncio.run(machine.finish())

    assert (row.status, "SystemExit: enough" in (row.output or "")) == ("Failed", True)
