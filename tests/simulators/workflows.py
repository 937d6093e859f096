"""Durable without a task hub: runs the real orchestrators in this process, one task after the other.

What goes in and out of a step passes through JSON, as in the task hub. Nothing is kept: a Crash out of a step
ends the run as a killed process does, and SQL is all that the next one knows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from azure.durable_functions import RetryOptions

Task = Callable[[], Any]
Activity = Callable[[dict[str, Any]], dict[str, Any]]
Orchestrator = Callable[[Any], Generator[Any, Any, Any]]


@dataclass(frozen=True)
class Workflows:
    activities: Mapping[str, Activity]
    orchestrators: Mapping[str, Orchestrator]

    def run(self, orchestrator: str, instance: str, payload: Any) -> Any:
        """The orchestration's result; what it raises is raised."""
        return _drive(self.orchestrators[orchestrator](Context(self, instance, _through_json(payload))))


@dataclass(frozen=True)
class Context:
    """What orchestrators use of DurableOrchestrationContext."""

    workflows: Workflows
    instance_id: str
    given: Any

    def get_input(self) -> Any:
        return self.given

    def call_activity(self, name: str, input_: Any = None) -> Task:
        return lambda: _through_json(self.workflows.activities[name](_through_json(input_)))

    def call_activity_with_retry(self, name: str, retry_options: RetryOptions, input_: Any = None) -> Task:
        return lambda: _tried(self.call_activity(name, input_), retry_options.max_number_of_attempts)

    def call_sub_orchestrator(self, name: str, input_: Any = None) -> Task:
        return lambda: self.workflows.run(name, f"{self.instance_id}:{name}", input_)

    def task_all(self, activities: Iterable[Task]) -> Task:
        return lambda: _all(activities)


def _drive(orchestration: Generator[Any, Any, Any]) -> Any:
    step: Callable[[], Task] = lambda: next(orchestration)  # noqa: E731
    while True:
        try:
            task = step()
        except StopIteration as end:
            return end.value
        step = _resume(orchestration, task)


def _resume(orchestration: Generator[Any, Any, Any], task: Task) -> Callable[[], Task]:
    """Run the task; the orchestration sees a plain Exception where it failed, as with the SDK."""
    try:
        value = task()
    except Exception as error:
        failure = Exception(str(error))
        return lambda: orchestration.throw(failure)
    return lambda: orchestration.send(value)


def _tried(task: Task, attempts: int) -> Any:
    for _ in range(attempts - 1):
        try:
            return task()
        except Exception:
            continue
    return task()


def _all(tasks: Iterable[Task]) -> list[Any]:
    """Every task runs; the first failure is raised after the last of them."""
    results, failures = [], []
    for task in tasks:
        try:
            results.append(task())
        except Exception as error:
            failures.append(error)
    if failures:
        raise failures[0]
    return results


def _through_json(value: Any) -> Any:
    return json.loads(json.dumps(value))
