"""The durable engine: what orchestrators of the real SDK get from it, and what a power cut leaves behind."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import azure.durable_functions as df
import pytest

from imagedelta_host.durable.engine import FunctionMissing, InstanceExists
from imagedelta_host.durable.history import EventType, event
from imagedelta_host.durable.store import DurableStore
from imagedelta_host.errors import HostError
from tests.unit.host.engine_harness import CuttingStore, Machine, activity_function, orchestrator

pytestmark = [
    pytest.mark.filterwarnings("ignore:azure.functions df_loads:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Potential duplicate Task completion:UserWarning"),
]
"""The SDK's own notices: typed payloads (once per process), and events that nothing waits for yet."""

RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=1, max_number_of_attempts=3)


def double(payload: int) -> int:
    return payload * 2


def fails(payload: str) -> None:
    raise ValueError(payload)


ACTIVITIES = [activity_function(double), activity_function(fails)]


def fan_out(context: Any) -> Any:
    return sum((yield context.task_all([context.call_activity("double", n) for n in range(context.get_input())])))


def child(context: Any) -> Any:
    first = yield context.call_activity("double", context.get_input())
    return first + 1


def everything(context: Any) -> Any:
    first = yield context.call_activity("double", 1)
    both = yield context.task_all([context.call_sub_orchestrator("child", n) for n in (10, 20)])
    yield context.create_timer(context.current_utc_datetime + timedelta(milliseconds=1))
    failed = ""
    try:
        yield context.call_activity_with_retry("fails", RETRY, "again")
    except Exception as error:
        failed = str(error).split("ValueError: ")[1].split()[0]
    context.set_custom_status("nearly")
    last = yield context.call_activity("double", 100)
    return [first, both, failed, last]


def waits(context: Any) -> Any:
    return (yield context.wait_for_external_event("go"))


def counts(context: Any) -> Any:
    left = context.get_input()
    event = yield context.wait_for_external_event("go")
    if left:
        context.continue_as_new(left - 1)
        return None
    return event


FUNCTIONS = [*ACTIVITIES, *(orchestrator(body) for body in (fan_out, child, everything, waits, counts))]


@pytest.fixture
def store(tmp_path: Path) -> Any:
    opened = DurableStore(tmp_path / "durable.sqlite")
    yield opened
    opened.close()


def ended(store: DurableStore, body: Any, payload: object = None, others: tuple[Any, ...] = ()) -> tuple[str, Any]:
    """Run one orchestrator to its end; status and output."""
    machine = Machine(store, [*ACTIVITIES, *(orchestrator(item) for item in (body, *others))])
    machine.start(body.__name__, payload)
    row = asyncio.run(machine.finish())
    return row.status, json.loads(row.output or "null")


def test_everything_together_gives_the_right_result(store: DurableStore) -> None:
    status, output = ended(store, everything, others=(child,))

    assert (status, output) == ("Completed", [2, [21, 41], "again", 200])


def commits_of_a_whole_run(folder: Path) -> int:
    store = CuttingStore(folder / "whole.sqlite")
    machine = Machine(store, FUNCTIONS)
    machine.start("everything")
    asyncio.run(machine.finish())
    store.close()
    return store.commits


@pytest.mark.parametrize("after_commit", [False, True])
def test_power_lost_at_any_commit_changes_nothing_in_the_end(tmp_path: Path, after_commit: bool) -> None:
    """Cut at the n-th commit for every n of the run, then go on with a new process."""
    commits = commits_of_a_whole_run(tmp_path)
    assert commits > 20
    for cut in range(2, commits + 1):
        path = tmp_path / f"{cut}.sqlite"
        first = CuttingStore(path, cut, after_commit)
        machine = Machine(first, FUNCTIONS)
        machine.start("everything")
        asyncio.run(machine.finish())
        first.close()

        second = DurableStore(path)
        row = asyncio.run(Machine(second, FUNCTIONS).finish())
        second.close()

        assert (row.status, json.loads(row.output or "")) == ("Completed", [2, [21, 41], "again", 200]), cut
        assert json.loads(row.custom_status or "") == "nearly"


def test_a_large_fan_out_is_replayed_twice_not_once_per_result(store: DurableStore) -> None:
    machine = Machine(store, FUNCTIONS)
    machine.start("fan_out", 200)

    row = asyncio.run(machine.finish())

    assert json.loads(row.output or "") == 199 * 200
    assert machine.episodes == 2


def test_a_result_that_arrives_while_the_orchestrator_runs_is_not_forgotten(store: DurableStore) -> None:
    """Every completion lands during the episode of another event; none may leave the instance waiting for ever."""
    machine = Machine(store, FUNCTIONS)

    async def slowly(name: str, context: str) -> Any:
        answer = await original(name, context)
        await asyncio.sleep(0.02)
        return answer

    original = machine._orchestrate
    machine.engine._orchestrate = slowly
    machine.start("fan_out", 3)
    machine.engine.send(machine.row(), event(EventType.EVENT_RAISED, Name="noise", Input="1"))

    assert json.loads(asyncio.run(machine.finish()).output or "") == 6


def test_retries_of_several_activities_keep_the_task_ids_of_the_sdk(store: DurableStore) -> None:
    def many_retries(context: Any) -> Any:
        tasks = [context.call_activity_with_retry("fails", RETRY, str(n)) for n in range(5)]
        tasks += [context.call_activity("double", n) for n in range(5)]
        try:
            yield context.task_all(tasks)
        except Exception as error:
            caught = "ValueError" in str(error)
        after = yield context.call_activity("double", 21)
        return [caught, after]

    assert ended(store, many_retries) == ("Completed", [True, 42])


def test_a_failed_task_all_goes_on_only_when_its_other_tasks_have_ended(store: DurableStore) -> None:
    """As in the real host, which awaits its actions in order."""
    machine_order: list[int] = []

    def noted(payload: int) -> int:
        machine_order.append(payload)
        return payload

    def some_fail(context: Any) -> Any:
        try:
            yield context.task_all([context.call_activity("fails", "x"), context.call_activity("noted", 1)])
        except Exception:
            yield context.call_activity("noted", 2)
        return "done"

    machine = Machine(store, [*ACTIVITIES, activity_function(noted), orchestrator(some_fail)])
    machine.start("some_fail")

    assert asyncio.run(machine.finish()).status == "Completed"
    assert machine_order == [1, 2]


def test_a_cancelled_timer_does_not_wake_the_instance(store: DurableStore) -> None:
    def cancels(context: Any) -> Any:
        timer = context.create_timer(context.current_utc_datetime + timedelta(hours=1))
        winner = yield context.task_any([context.call_activity("double", 4), timer])
        timer.cancel()
        yield context.call_activity("double", 1)
        return winner.result

    assert ended(store, cancels) == ("Completed", 8)


def test_the_first_of_several_tasks_wins_and_the_rest_is_still_awaited(store: DurableStore) -> None:
    def window(context: Any) -> Any:
        tasks = [context.call_activity("double", n) for n in (1, 2, 3)]
        total = 0
        while tasks:
            winner = yield context.task_any(tasks)
            total += winner.result
            tasks.remove(winner)
        return total

    assert ended(store, window) == ("Completed", 12)


def test_an_orchestrator_without_a_yield_completes(store: DurableStore) -> None:
    def plain(context: Any) -> Any:
        return {"input": context.get_input()}

    assert ended(store, plain, {"a": 1}) == ("Completed", {"input": {"a": 1}})


def test_an_orchestrator_that_raises_at_once_fails_with_its_message(store: DurableStore) -> None:
    def broken(context: Any) -> Any:
        raise KeyError("nothing")
        yield

    status, output = ended(store, broken)

    assert (status, output) == ("Failed", "Orchestrator function 'broken' failed: 'nothing'")


def test_entities_are_refused_by_name(store: DurableStore) -> None:
    def entities(context: Any) -> Any:
        yield context.call_entity(df.EntityId("counter", "one"), "add", 1)

    status, output = ended(store, entities)

    assert (status, output) == ("Failed", "call_entity is not served by the embedded host")


def test_an_event_that_arrives_while_a_run_ends_is_for_the_next_run(store: DurableStore) -> None:
    machine = Machine(store, FUNCTIONS)
    machine.start("counts", 1)

    async def raising(name: str, context: str) -> Any:
        answer = await original(name, context)
        if answer.done:
            raise_event(machine, "late")
        return answer

    original = machine._orchestrate
    machine.engine._orchestrate = raising
    raise_event(machine, "first")

    assert asyncio.run(machine.finish()).output == '"late"'


def raise_event(machine: Machine, value: str, instance: str = "it") -> None:
    raised = event(EventType.EVENT_RAISED, Name="go", Input=json.dumps(value))
    machine.engine.send(machine.row(instance), raised)


def test_a_sub_orchestration_with_the_id_of_a_running_instance_fails_in_its_parent(store: DurableStore) -> None:
    def clashes(context: Any) -> Any:
        try:
            yield context.call_sub_orchestrator("waits", None, "taken")
        except Exception as error:
            return str(error).splitlines()[0].strip()

    machine = Machine(store, [*FUNCTIONS, orchestrator(clashes)])
    machine.start("waits", instance="taken")
    machine.start("clashes")

    output = json.loads(asyncio.run(machine.finish()).output or "")

    assert output.startswith("An Orchestration instance with the status")


def test_a_late_result_of_an_earlier_run_is_not_taken_for_one_of_this_run(store: DurableStore) -> None:
    """Both runs wait under task id 0; the child of the first run ends when the second one waits."""

    def restless(context: Any) -> Any:
        if context.get_input() == "second":
            return (yield context.call_sub_orchestrator("waits", None, "new-child"))
        child = context.call_sub_orchestrator("waits", None, "old-child")
        yield context.task_any([child, context.create_timer(context.current_utc_datetime)])
        context.continue_as_new("second")

    machine = Machine(store, [*FUNCTIONS, orchestrator(restless)])
    machine.start("restless", "first")

    async def both_children() -> None:
        await machine.run_until(lambda: store.instance("new-child") is not None)
        machine.engine._stopping = False
        raise_event(machine, "wrong", "old-child")
        await machine.run_until(lambda: machine.row("old-child").status == "Completed")
        machine.engine._stopping = False
        raise_event(machine, "right", "new-child")
        await machine.finish()

    asyncio.run(both_children())

    assert machine.row().output == '"right"'


def test_state_of_another_version_is_refused_not_misread(tmp_path: Path, store: DurableStore) -> None:
    store._db.execute("pragma user_version=99")

    with pytest.raises(HostError, match="written by another version"):
        DurableStore(tmp_path / "durable.sqlite")


def test_ids_and_names_that_cannot_be_are_refused(store: DurableStore) -> None:
    machine = Machine(store, FUNCTIONS)

    for bad in ("@entity", "a/b", "a#b", "x" * 257):
        with pytest.raises(ValueError, match="instance id"):
            machine.engine.start_new("fan_out", bad)
    with pytest.raises(FunctionMissing):
        machine.engine.start_new("nobody")


def test_a_running_instance_is_replaced_only_where_settings_allow(store: DurableStore) -> None:
    machine = Machine(store, FUNCTIONS)
    machine.start("waits")

    with pytest.raises(InstanceExists):
        machine.start("waits")
    machine.engine._replace_running = True
    machine.start("fan_out", 2)

    assert asyncio.run(machine.finish()).output == "2"
