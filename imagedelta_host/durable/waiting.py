"""Which completions are worth a replay: a ``task_all`` gets no further before its last task has ended."""

from __future__ import annotations

from collections.abc import Iterable

from imagedelta_host.durable.history import Event, EventType, task_of


class Waiting:
    """For each instance, the tasks that only count together. What is not noted here counts at once."""

    def __init__(self) -> None:
        self._missing: dict[str, set[int]] = {}

    def note(self, instance: str, tasks: Iterable[int]) -> None:
        """From now on the successes of these tasks count only when all of them are in."""
        missing = set(tasks)
        if missing:
            self._missing[instance] = missing
        else:
            self.forget(instance)

    def forget(self, instance: str) -> None:
        """From now on every event of the instance counts."""
        self._missing.pop(instance, None)

    def counts(self, instance: str, entry: Event | None) -> bool:
        """Whether an instance should be looked at because of an event that has arrived."""
        missing = self._missing.get(instance)
        if entry is None or not missing:
            return True
        task = task_of(entry)
        if entry["EventType"] not in (EventType.TASK_COMPLETED, EventType.CHILD_COMPLETED) or task not in missing:
            return True
        missing.discard(task)
        return not missing
