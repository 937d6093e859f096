"""Rewinding failed instances with orchestrators of the real SDK: what is done again, and what keeps its result."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import azure.durable_functions as df
import pytest

from imagedelta_host.durable.episode import Answer
from imagedelta_host.durable.history import Event, EventType, event
from imagedelta_host.durable.rewind import RewindImpossible
from imagedelta_host.durable.status import history_of
from imagedelta_host.durable.store import DurableStore, Filter
from tests.unit.host.engine_harness import CuttingStore, Machine, PowerCut, activity_function, orchestrator

pytestmark = [
    pytest.mark.filterwarnings("ignore:azure.functions df_loads:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Potential duplicate Task completion:UserWarning"),
]

RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=1, max_number_of_attempts=2)

BROKEN: set[str] = set()
"""What fails at present."""

FLAKED: set[str] = set()
"""What has failed once, as it does."""


def step(payload: str) -> str:
    if payload in BROKEN:
        raise ValueError(f"{payload} is broken")
    return payload.upper()


def flaky(payload: str) -> str:
    if payload not in FLAKED:
        FLAKED.add(payload)
        raise ValueError(f"{payload} was not ready")
    return step(payload)


def chain(context: Any) -> Any:
    first = yield context.call_activity("step", "a")
    second = yield context.call_activity("step", "b")
    third = yield context.call_activity("step", "c")
    return [first, second, third]


def side_by_side(context: Any) -> Any:
    both = yield context.task_all([context.call_activity("step", name) for name in "abcd"])
    last = yield context.call_activity("step", "e")
    return [*both, last]


def retried_side_by_side(context: Any) -> Any:
    """``b`` needs a retry, with timer and task ids between those of ``a``, which fails in all attempts."""
    first = yield context.call_activity("step", "z")
    a = context.call_activity_with_retry("step", RETRY, "a")
    b = context.call_activity_with_retry("flaky", RETRY, "b")
    both = yield context.task_all([a, b])
    yield context.create_timer(context.current_utc_datetime + timedelta(milliseconds=1))
    last = yield context.call_activity_with_retry("flaky", RETRY, "c")
    return [first, *both, last]


def own_failure(context: Any) -> Any:
    done = yield context.call_activity("step", "a")
    if "own" in BROKEN:
        raise RuntimeError("the code is wrong")
    return [done, (yield context.call_activity("step", "b"))]


def raced(context: Any) -> Any:
    """An event, an activity against a time limit, and one more."""
    raised = yield context.wait_for_external_event("go")
    timer = context.create_timer(context.current_utc_datetime + timedelta(hours=1))
    task = context.call_activity("step", "a")
    winner = yield context.task_any([task, timer])
    assert winner == task
    timer.cancel()
    if isinstance(task.result, Exception):
        raise task.result
    return [raised, task.result, (yield context.call_activity("step", "b"))]


def optional_step(context: Any) -> Any:
    try:
        found = yield context.call_activity_with_retry("step", RETRY, "a")
    except Exception:
        found = "nothing"
    return [found, (yield context.call_activity("step", "b")), (yield context.call_activity("step", "c"))]


def parent(context: Any) -> Any:
    children = [context.call_sub_orchestrator("middle", name) for name in "abc"]
    return (yield context.task_all(children))


def middle(context: Any) -> Any:
    name = context.get_input()
    before = yield context.call_activity("step", f"before {name}")
    inside = yield context.call_sub_orchestrator_with_retry("leaf", RETRY, name)
    return [before, inside]


def leaf(context: Any) -> Any:
    prepared = yield context.call_activity("step", f"prepare {context.get_input()}")
    done = yield context.call_activity_with_retry("step", RETRY, context.get_input())
    return [prepared, done]


def mixed(context: Any) -> Any:
    """One child fails while the others are still at work."""
    children = [context.call_sub_orchestrator("waits", name, f"child-{name}") for name in "xyz"]
    winner = yield context.task_any([context.call_activity("step", "a"), *children])
    if isinstance(winner.result, Exception):
        raise winner.result
    results = []
    for task in children:
        results.append((yield task))
    return results


def waits(context: Any) -> Any:
    raised = yield context.wait_for_external_event("go")
    return [context.get_input(), raised, (yield context.call_activity("step", context.get_input()))]


def shifting(context: Any) -> Any:
    """A retry that is never made has an id below those of a child at work and of the one that comes after it."""
    in_an_hour = df.RetryOptions(first_retry_interval_in_milliseconds=3_600_000, max_number_of_attempts=2)
    yield context.task_any(
        [context.call_activity_with_retry("step", in_an_hour, "a"), context.wait_for_external_event("go")]
    )
    at_work = context.call_sub_orchestrator("waits", "b")
    yield context.task_any([at_work, context.wait_for_external_event("fail")])
    if "own" in BROKEN:
        raise RuntimeError("the code is wrong")
    return (yield context.call_sub_orchestrator("leaf", "c"))


BODIES = (
    shifting,
    chain,
    side_by_side,
    retried_side_by_side,
    own_failure,
    raced,
    optional_step,
    parent,
    middle,
    leaf,
    mixed,
    waits,
)
FUNCTIONS = [activity_function(step), activity_function(flaky), *map(orchestrator, BODIES)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DurableStore]:
    BROKEN.clear()
    FLAKED.clear()
    opened = DurableStore(tmp_path / "durable.sqlite")
    yield opened
    opened.close()


def failed(store: DurableStore, name: str, *broken: str, events: tuple[Event, ...] = ()) -> None:
    """Run an orchestrator into its failure."""
    BROKEN.update(broken)
    machine = Machine(store, FUNCTIONS)
    machine.start(name)
    for entry in events:
        machine.engine.send(machine.row(), entry)
    assert asyncio.run(machine.finish()).status == "Failed"


def rewound(
    store: DurableStore, *still_broken: str, instance: str = "it", until: str = "it"
) -> tuple[str, Any, list[str]]:
    """Mend what is broken, rewind and drive to the end; status, output and what the activities were called with."""
    BROKEN.clear()
    BROKEN.update(still_broken)
    machine = Machine(store, FUNCTIONS)
    machine.engine.rewind(machine.row(instance), "mended")
    assert (machine.row(instance).status, machine.row(instance).output) == ("Pending", None)
    row = asyncio.run(machine.finish(until))
    runs = sorted(json.loads(raw_input or "null") for _, raw_input in machine.queue.runs)
    return row.status, json.loads(row.output or "null"), runs


def kinds(store: DurableStore, instance: str = "it") -> list[int]:
    return [json.loads(text)["EventType"] for text in store.history(instance)]


GO = event(EventType.EVENT_RAISED, Name="go", Input="7")


def test_only_what_failed_and_what_follows_is_done(store: DurableStore) -> None:
    failed(store, "chain", "b")

    assert rewound(store) == ("Completed", ["A", "B", "C"], ["b", "c"])


def test_several_failures_side_by_side_are_done_again_and_successes_keep_their_results(store: DurableStore) -> None:
    failed(store, "side_by_side", "a", "c")

    assert rewound(store) == ("Completed", ["A", "B", "C", "D", "E"], ["a", "c", "e"])


def test_an_instance_that_fails_again_is_rewound_again(store: DurableStore) -> None:
    failed(store, "side_by_side", "a", "c")

    status, output, runs = rewound(store, "c", "e")

    assert (status, "c is broken" in output, runs) == ("Failed", True, ["a", "c"])
    assert rewound(store, "e")[0] == "Failed"
    assert rewound(store) == ("Completed", ["A", "B", "C", "D", "E"], ["e"])


def test_retries_begin_anew_and_those_of_others_keep_their_place(store: DurableStore) -> None:
    failed(store, "retried_side_by_side", "a")

    assert rewound(store) == ("Completed", ["Z", "A", "B", "C"], ["a", "c", "c"])


def test_a_retried_task_has_all_its_attempts_again(store: DurableStore) -> None:
    failed(store, "retried_side_by_side", "a")

    status, output, runs = rewound(store, "a")

    assert (status, "a is broken" in output, runs) == ("Failed", True, ["a", "a"])
    assert rewound(store) == ("Completed", ["Z", "A", "B", "C"], ["a", "c", "c"])


def test_an_orchestrator_that_failed_by_itself_runs_again_from_its_history(store: DurableStore) -> None:
    failed(store, "own_failure", "own")

    status, output, runs = rewound(store, "own")

    assert (status, "the code is wrong" in output, runs) == ("Failed", True, [])
    assert rewound(store) == ("Completed", ["A", "B"], ["b"])


def test_events_and_cancelled_timers_stay_what_they_were(store: DurableStore) -> None:
    failed(store, "raced", "b", events=(GO,))

    assert rewound(store) == ("Completed", [7, "A", "B"], ["b"])
    assert EventType.TIMER_CREATED not in kinds(store)


def test_a_timer_that_raced_with_the_failure_is_set_again(store: DurableStore) -> None:
    failed(store, "raced", "a", events=(GO,))

    assert rewound(store) == ("Completed", [7, "A", "B"], ["a", "b"])
    assert kinds(store).count(EventType.TIMER_CREATED) == 1


def test_a_failure_that_the_orchestrator_went_on_from_stays(store: DurableStore) -> None:
    failed(store, "optional_step", "a", "c")

    assert rewound(store) == ("Completed", ["nothing", "B", "C"], ["c"])


WHOLE_FAMILY = [[f"BEFORE {name}", [f"PREPARE {name}", name]] for name in "ABC"]


def test_failed_sub_orchestrations_are_rewound_and_the_others_left_alone(store: DurableStore) -> None:
    failed(store, "parent", "a", "c", "before c")

    status, output, runs = rewound(store)

    assert (status, output) == ("Completed", WHOLE_FAMILY)
    assert runs == ["a", "before c", "c", "prepare c"]


def test_the_history_shows_what_was_taken_back(store: DurableStore) -> None:
    failed(store, "chain", "b")
    rewound(store)

    shown = history_of(store.history("it"), with_output=False)

    told = [item["Data"] for item in shown if item["EventType"] == "GenericEvent"]
    assert told == ["Rewound: TaskScheduled", "Rewound: TaskFailed", "Rewound: ExecutionCompleted", "mended"]
    assert [item["FunctionName"] for item in shown if item["EventType"] == "TaskCompleted"] == ["step"] * 3
    assert shown[-1]["OrchestrationStatus"] == "Completed"


def child_states(store: DurableStore) -> list[str]:
    rows = [store.instance(f"child-{name}") for name in "xyz"]
    return [row.status if row is not None else "purged" for row in rows]


def test_sub_orchestrations_at_work_are_awaited_again_and_those_that_ended_otherwise_begin_anew(
    store: DurableStore,
) -> None:
    failed(store, "mixed", "a")
    machine = Machine(store, FUNCTIONS)
    machine.engine.send(machine.row("child-x"), GO)
    machine.engine.send(machine.row("child-z"), event(EventType.EXECUTION_TERMINATED, Input="x", Reason="x"))
    asyncio.run(machine.run_until(lambda: child_states(store) == ["Completed", "Running", "Terminated"]))
    BROKEN.clear()
    again = Machine(store, FUNCTIONS)

    again.engine.rewind(again.row(), "mended")
    for name in "yz":
        again.engine.send(again.row(f"child-{name}"), GO)
    asyncio.run(again.run_until(lambda: child_states(store) == ["Completed", "Completed", "Running"]))
    last = Machine(store, FUNCTIONS)
    last.engine.send(last.row("child-z"), GO)
    row = asyncio.run(last.finish())

    assert (row.status, json.loads(row.output or "")) == ("Completed", [["x", 7, "X"], ["y", 7, "Y"], ["z", 7, "Z"]])


def test_a_sub_orchestration_that_ends_while_its_parent_is_rewound_reports_to_the_rewound_run(
    store: DurableStore,
) -> None:
    failed(store, "mixed", "a")
    BROKEN.clear()
    machine = Machine(store, FUNCTIONS)
    original = machine.engine._orchestrate

    async def orchestrate(name: str, context: str) -> Answer:
        answer = await original(name, context)
        if answer.done and machine.row().status == "Failed":
            machine.engine.rewind(machine.row(), "mended")
        return answer

    machine.engine._orchestrate = orchestrate
    for name in "xyz":
        machine.engine.send(machine.row(f"child-{name}"), GO)

    asyncio.run(machine.run_until(lambda: machine.row().status == "Completed"))

    assert json.loads(machine.row().output or "") == [["x", 7, "X"], ["y", 7, "Y"], ["z", 7, "Z"]]


def test_a_sub_orchestration_rewound_by_itself_counts_when_its_parent_is_rewound(store: DurableStore) -> None:
    failed(store, "parent", "before c")
    child = next(row for row in store.find(Filter(), 100) if row.status == "Failed" and row.id != "it")

    assert rewound(store, instance=child.id, until=child.id)[0] == "Completed"
    assert store.instance("it").status == "Failed"  # type: ignore[union-attr]
    assert rewound(store) == ("Completed", WHOLE_FAMILY, [])


def test_a_sub_orchestration_begun_after_a_rewind_never_takes_the_place_of_one_at_work(store: DurableStore) -> None:
    BROKEN.update({"a", "own"})
    machine = Machine(store, FUNCTIONS)
    machine.start("shifting")
    asyncio.run(machine.run_until(lambda: kinds(store).count(EventType.TIMER_CREATED) == 1))
    machine = Machine(store, FUNCTIONS)
    for name in ("go", "fail"):
        machine.engine.send(machine.row(), event(EventType.EVENT_RAISED, Name=name, Input="7"))
    assert asyncio.run(machine.finish()).status == "Failed"

    assert rewound(store) == ("Completed", ["PREPARE C", "C"], ["a", "c", "prepare c"])
    assert [row.status for row in store.find(Filter(), 9) if row.name == "waits"] == ["Running"]


def test_an_orchestrator_mended_in_its_code_may_ask_for_something_else_in_place_of_what_failed(
    store: DurableStore,
) -> None:
    failed(store, "chain", "b")

    def mended(context: Any) -> Any:
        first = yield context.call_activity("step", "a")
        both = yield context.task_all([context.call_activity("step", "B"), context.call_activity("flaky", "F")])
        return [first, both]

    machine = Machine(store, [*FUNCTIONS[:2], orchestrator(mended, "chain")])
    FLAKED.add("F")
    machine.engine.rewind(machine.row(), "mended")

    assert json.loads(asyncio.run(machine.finish()).output or "") == ["A", ["B", "F"]]


def test_a_failed_task_among_others_is_called_with_what_the_orchestrator_asks_for_now(store: DurableStore) -> None:
    failed(store, "side_by_side", "c")

    def mended(context: Any) -> Any:
        return (yield context.task_all([context.call_activity("step", name) for name in ("a", "b", "C now", "d")]))

    machine = Machine(store, [*FUNCTIONS[:2], orchestrator(mended, "side_by_side")])
    machine.engine.rewind(machine.row(), "mended")

    assert json.loads(asyncio.run(machine.finish()).output or "") == ["A", "B", "C NOW", "D"]
    assert [raw_input for _, raw_input in machine.queue.runs] == ['"C now"']


def test_an_instance_of_an_older_host_is_not_rewound_and_left_as_it_is(store: DurableStore) -> None:
    failed(store, "parent", "a")
    deepest = [row for row in store.find(Filter(), 100) if row.name == "leaf" and row.status == "Failed"][-1]
    with store.transaction():
        store.update_instance(deepest.id, plan="")
    before = [(vars(row), store.history(row.id)) for row in store.find(Filter(), 100)]
    machine = Machine(store, FUNCTIONS)

    with pytest.raises(RewindImpossible, match="restart it"):
        machine.engine.rewind(machine.row(), "mended")

    assert [(vars(row), store.history(row.id)) for row in store.find(Filter(), 100)] == before


@pytest.mark.parametrize("after_commit", [False, True])
def test_power_lost_at_any_commit_of_a_rewind_changes_nothing_in_the_end(tmp_path: Path, after_commit: bool) -> None:
    """Cut at the n-th commit for every n from the rewind on, then rewind if need be, and go on with a new process."""
    cut = 0
    whole = False
    while not whole:
        cut += 1
        whole = rewind_with_a_power_cut(tmp_path / f"{cut}.sqlite", cut, after_commit)
    assert cut > 15


def rewind_with_a_power_cut(path: Path, cut: int, after_commit: bool) -> bool:
    """Returns whether the run ended before the cut."""
    BROKEN.clear()
    store = DurableStore(path)
    failed(store, "parent", "a", "c", "before c")
    store.close()
    BROKEN.clear()

    first = CuttingStore(path, cut, after_commit)
    with suppress(PowerCut):
        machine = Machine(first, FUNCTIONS)
        machine.engine.rewind(machine.row(), "mended")
        asyncio.run(machine.finish())
    whole = not first.dead
    first.close()
    second = DurableStore(path)
    machine = Machine(second, FUNCTIONS)
    if machine.row().status == "Failed":
        assert (cut, after_commit) == (1, False)
        machine.engine.rewind(machine.row(), "mended")
    row = asyncio.run(machine.finish())
    second.close()
    assert (row.status, json.loads(row.output or "")) == ("Completed", WHOLE_FAMILY), cut
    return whole
