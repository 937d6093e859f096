"""Whatever an orchestration is made of, wherever it fails: rewound until nothing fails, it ends as if nothing had."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import azure.durable_functions as df
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagedelta_host.durable.store import DurableStore
from tests.unit.host.engine_harness import Machine, activity_function, orchestrator

pytestmark = [
    pytest.mark.filterwarnings("ignore:azure.functions df_loads:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Potential duplicate Task completion:UserWarning"),
]

RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=1, max_number_of_attempts=2)

Program = list[Any]
"""In order: ``["timer"]``, ``["all", [tasks]]``, or a task: ``["task", what, retried]``, ``["caught", …]``, whose
failure does not matter, or ``["raced", …]`` against a time limit. ``what`` is the name of an activity, or the program
of a sub-orchestration."""

CAUGHT = "caught"
BROKEN: set[str] = set()
FAILS_ONCE: set[str] = set()
SUCCEEDED: Counter[str] = Counter()


def step(payload: str) -> str:
    if payload in BROKEN or payload in FAILS_ONCE:
        FAILS_ONCE.discard(payload)
        raise ValueError(payload)
    SUCCEEDED[payload] += 1
    return payload.upper()


def runs(context: Any) -> Any:
    results = []
    for action in json.loads(context.get_input()):
        if action[0] == "timer":
            yield context.create_timer(context.current_utc_datetime + timedelta(milliseconds=1))
        elif action[0] == "all":
            results.append((yield context.task_all([task_of(context, task) for task in action[1]])))
        elif action[0] == "caught":
            try:
                results.append((yield task_of(context, action)))
            except Exception:
                results.append(CAUGHT)
        elif action[0] == "raced":
            results.append((yield from raced(context, task_of(context, action))))
        else:
            results.append((yield task_of(context, action)))
    return results


def raced(context: Any, task: Any) -> Any:
    limit = context.create_timer(context.current_utc_datetime + timedelta(hours=1))
    yield context.task_any([limit, task])
    limit.cancel()
    if isinstance(task.result, Exception):
        raise task.result
    return task.result


def task_of(context: Any, task: list[Any]) -> Any:
    _, what, retried = task
    name, payload = ("step", what) if isinstance(what, str) else ("runs", json.dumps(what))
    if name == "step":
        if retried:
            return context.call_activity_with_retry(name, RETRY, payload)
        return context.call_activity(name, payload)
    if retried:
        return context.call_sub_orchestrator_with_retry(name, RETRY, payload)
    return context.call_sub_orchestrator(name, payload)


def expected(program: Program) -> list[Any]:
    """What a program returns when nothing fails."""
    return [
        [result(task) for task in action[1]] if action[0] == "all" else result(action)
        for action in program
        if action[0] != "timer"
    ]


def result(task: list[Any]) -> Any:
    return task[1].upper() if isinstance(task[1], str) else expected(task[1])


def tasks(whats: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.tuples(st.just("task"), whats, st.booleans()).map(list)


def alone(whats: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.tuples(st.sampled_from(["task", "caught", "raced"]), whats, st.booleans()).map(list)


def programs(whats: st.SearchStrategy[Any]) -> st.SearchStrategy[Program]:
    several = st.lists(tasks(whats), min_size=1, max_size=4).map(lambda found: ["all", found])
    return st.lists(st.just(["timer"]) | alone(whats) | several, min_size=1, max_size=3)


def named(program: Program, numbers: Iterator[int]) -> Program:
    """The program with a name of its own for each activity."""
    return [
        ["all", [named_task(task, numbers) for task in action[1]]]
        if action[0] == "all"
        else action
        if action[0] == "timer"
        else named_task(action, numbers)
        for action in program
    ]


def named_task(task: list[Any], numbers: Iterator[int]) -> list[Any]:
    what = f"s{next(numbers)}" if isinstance(task[1], str) else named(task[1], numbers)
    return [task[0], what, task[2]]


def activities(program: Program) -> list[str]:
    found = [task for action in program for task in (action[1] if action[0] == "all" else [action])]
    names = [[task[1]] if isinstance(task[1], str) else activities(task[1]) for task in found if task[0] != "timer"]
    return [name for part in names for name in part]


def repeats_children(program: Program) -> bool:
    found = [task for action in program for task in (action[1] if action[0] == "all" else [action])]
    children = [task for task in found if task[0] != "timer" and not isinstance(task[1], str)]
    return any(retried or repeats_children(child) for _, child, retried in children)


STEPS = st.just("step")


@given(st.data())
@settings(max_examples=30)
def test_rewound_until_nothing_fails_it_ends_as_if_nothing_had(data: st.DataObject) -> None:
    program = named(data.draw(programs(STEPS | programs(STEPS | programs(STEPS)))), count())
    names = activities(program)
    some = st.sets(st.sampled_from(names)) if names else st.just(set[str]())
    FAILS_ONCE.clear()
    FAILS_ONCE.update(data.draw(some, "fails once"))
    SUCCEEDED.clear()
    rounds = [*data.draw(st.lists(some, min_size=1, max_size=3), "broken in each round"), *[set[str]()] * 99]

    with TemporaryDirectory() as folder:
        store = DurableStore(Path(folder) / "durable.sqlite")
        status, output = rewound_until_completed(store, program, rounds)
        store.close()

    assert status == "Completed"
    assert_same(output, expected(program))
    if not repeats_children(program):
        assert set(SUCCEEDED.values()) <= {1}


def assert_same(found: Any, wanted: Any) -> None:
    """Compare results; in place of one may stand that its failure was caught."""
    if found == CAUGHT:
        return
    assert type(found) is type(wanted)
    if isinstance(found, list):
        for one, other in zip(found, wanted, strict=True):
            assert_same(one, other)
    else:
        assert found == wanted


def rewound_until_completed(store: DurableStore, program: Program, rounds: list[set[str]]) -> tuple[str, Any]:
    for number, broken in enumerate(rounds):
        BROKEN.clear()
        BROKEN.update(broken)
        machine = Machine(store, [activity_function(step), orchestrator(runs)])
        if number == 0:
            machine.start("runs", json.dumps(program))
        else:
            machine.engine.rewind(machine.row(), "mended")
        row = asyncio.run(machine.finish())
        if row.status != "Failed":
            break
    return row.status, json.loads(row.output or "null")
