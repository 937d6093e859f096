"""Writes what an episode decided: history, activities, timers, sub-orchestrations, ends and next runs.

Every method belongs inside the store's transaction; who is to be woken is collected in an ``Outcome`` and acted on
after the commit. Not here: when an episode runs (imagedelta_host.durable.engine).
"""

from __future__ import annotations

import json
import logging
import uuid
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial

from imagedelta_host.durable import episode as step
from imagedelta_host.durable.history import (
    TERMINAL,
    Event,
    EventType,
    compact,
    event,
    execution_started,
    now_text,
    text_of,
)
from imagedelta_host.durable.plan import Plan
from imagedelta_host.durable.rewind import rewind
from imagedelta_host.durable.store import DurableStore, Instance, Parent, Work

log = logging.getLogger("imagedelta_host.durable")

_CACHED_HISTORIES = 64
_LOGGED_OUTPUT = 2000


@dataclass
class Outcome:
    """What to do once an episode is committed.

    Attributes:
        arrived: Instances with something new in their inbox, with the event if it is a completion.
        due: Instances to look at later, with the time in seconds since the epoch.
        works: Activities to run.
    """

    arrived: list[tuple[str, Event | None]] = field(default_factory=list)
    due: list[tuple[str, float]] = field(default_factory=list)
    works: list[Work] = field(default_factory=list)


class Ledger:
    """The writing half of the engine, with the histories read last."""

    def __init__(self, store: DurableStore) -> None:
        self._store = store
        self._histories: OrderedDict[str, tuple[str, list[str]]] = OrderedDict()

    # Histories

    def history(self, row: Instance) -> list[str]:
        """The events of a run so far, as JSON text."""
        cached = self._histories.get(row.id)
        if cached is not None and cached[0] == row.execution:
            self._histories.move_to_end(row.id)
            return cached[1]
        texts = self._store.history(row.id)
        self._histories[row.id] = (row.execution, texts)
        if len(self._histories) > _CACHED_HISTORIES:
            self._histories.popitem(last=False)
        return texts

    def keep_history(self, row: Instance, entries: list[Event]) -> None:
        """Add events to the history of a run."""
        texts = self._store.append_history(row.id, entries)
        cached = self._histories.get(row.id)
        if cached is not None and cached[0] == row.execution:
            cached[1].extend(texts)

    def forget(self, instance: str) -> None:
        """Read the history anew next time."""
        self._histories.pop(instance, None)

    # Effects

    def schedule(self, row: Instance, effect: step.Effect, outcome: Outcome) -> Event:
        """Store one effect; returns the event that records it."""
        if isinstance(effect, step.StartTimer):
            return self._start_timer(row, effect, outcome)
        if isinstance(effect, step.StartActivity):
            work = self._store.add_work(row.id, row.execution, effect.task, effect.name, effect.input)
            outcome.works.append(work)
            return event(EventType.TASK_SCHEDULED, effect.task, Name=effect.name, Version="", Input=effect.input)
        return self._start_child(row, effect, outcome)

    def _start_timer(self, row: Instance, effect: step.StartTimer, outcome: Outcome) -> Event:
        fire_at, due = text_of(effect.fire_at), effect.fire_at.timestamp()
        fired = event(EventType.TIMER_FIRED, TimerId=effect.task, FireAt=fire_at)
        self._store.post(row.id, fired, execution=row.execution, due=due)
        outcome.due.append((row.id, due))
        return event(EventType.TIMER_CREATED, effect.task, FireAt=fire_at)

    def _start_child(self, row: Instance, effect: step.StartChild, outcome: Outcome) -> Event:
        child = effect.instance or f"{row.execution}:{effect.task:04x}"
        old = self._store.instance(child)
        if old is not None and old.status not in TERMINAL:
            reason = f"An Orchestration instance with the status {old.status} already exists."
            failed = event(EventType.CHILD_FAILED, TaskScheduledId=effect.task, Reason=reason, Details="")
            self._store.post(row.id, failed, execution=row.execution)
            outcome.arrived.append((row.id, failed))
        else:
            raw_input = None if effect.input is None else compact(effect.input)
            parent = Parent(row.id, row.execution, effect.task)
            self.create(child, effect.name, raw_input, effect.version or "", parent)
            outcome.arrived.append((child, None))
        return event(EventType.CHILD_CREATED, effect.task, Name=effect.name, InstanceId=child, Input=effect.input)

    # Begin and end

    def create(
        self,
        instance: str,
        name: str,
        raw_input: str | None,
        version: str = "",
        parent: Parent | None = None,
        created: str | None = None,
    ) -> None:
        """Begin a run, in place of whatever the instance was before; ``raw_input`` is JSON text."""
        execution, now = uuid.uuid4().hex, now_text()
        self._store.delete_instance(instance)
        self.forget(instance)
        self._store.insert_instance(
            Instance(
                id=instance,
                execution=execution,
                name=name,
                version=version,
                input=raw_input,
                status="Pending",
                output=None,
                custom_status=None,
                created=created or now,
                updated=now,
                parent=parent.instance if parent else None,
                parent_execution=parent.execution if parent else None,
                parent_task=parent.task if parent else None,
                plan="",
                suspended=0,
            )
        )
        told = None if parent is None else (parent.instance, parent.task)
        started = execution_started(instance, execution, name, version, raw_input, told)
        self._store.post(instance, started, execution=execution)

    def continue_as_new(self, row: Instance, raw_input: str, outcome: Outcome) -> None:
        """Begin the next run of an instance; events that no run has read yet go with it."""
        kept = self._store.unbound_messages(row.id)
        self.create(row.id, row.name, raw_input, row.version, row.parent_of, row.created)
        for entry in kept:
            self._store.post(row.id, entry)
        outcome.arrived.append((row.id, None))

    def end(self, row: Instance, status: str, output: object, outcome: Outcome, details: str = "") -> None:
        """Close an instance and tell the run that waits for it, if there still is one.

        The plan of a failed one is kept: a rewind needs it.
        """
        text = compact(output)
        completed = event(EventType.EXECUTION_COMPLETED, OrchestrationStatus=status, Result=text)
        self._store.append_history(row.id, [completed])
        self._store.delete_run(row.id, keep_history=True)
        forgotten = {} if status == "Failed" else {"plan": ""}
        self._store.update_instance(row.id, status=status, output=text, suspended=0, **forgotten)
        self.forget(row.id)
        _log_end(row, status, output)
        parent = None if row.parent is None else self._store.instance(row.parent)
        if parent is None or parent.status in TERMINAL or parent.execution != row.parent_execution:
            return
        told = _result_for_parent(row, status, output, details)
        self._store.post(parent.id, told, execution=parent.execution)
        outcome.arrived.append((parent.id, told))

    # Rewind

    def rewind(self, row: Instance, reason: str, outcome: Outcome) -> None:
        """Take back the failure of an instance, and those of sub-orchestrations that it waited for.

        Raises:
            RewindImpossible: One of them cannot be rewound.
        """
        failed = [row]
        while failed:
            failed += self._rewind_one(failed.pop(), reason, outcome)

    def _rewind_one(self, row: Instance, reason: str, outcome: Outcome) -> list[Instance]:
        """Rewind one instance; returns the failed ones it waits for.

        The run goes on under an execution id of its own: ids of sub-orchestrations are made from it, and task ids
        may now mean others than before.
        """
        plan, execution = Plan.from_json(row.plan), uuid.uuid4().hex
        history = [json.loads(text) for text in self._store.history(row.id)]
        rewound = rewind(plan, history, partial(self._goes_on, row))
        self._store.replace_history(row.id, rewound.history)
        self.forget(row.id)
        self._store.update_instance(row.id, execution=execution, status="Pending", output=None, plan=plan.to_json())
        self._store.post(row.id, event(EventType.GENERIC, Data=reason), execution=execution)
        outcome.arrived.append((row.id, None))
        children = [self._adopt(child, Parent(row.id, execution, task)) for child, task in rewound.children.items()]
        return [child for child in children if child.status == "Failed"]

    def _goes_on(self, row: Instance, child: str, task: int) -> bool:
        found = self._store.instance(child)
        if found is None or found.parent_of != Parent(row.id, row.execution, task):
            return False
        return found.status not in TERMINAL or found.status in ("Completed", "Failed")

    def _adopt(self, child: str, parent: Parent) -> Instance:
        """Have a sub-orchestration report to the rewound run; one that has completed meanwhile does so at once."""
        self._store.update_instance(child, parent_execution=parent.execution, parent_task=parent.task)
        row = self._store.instance(child)
        if row is None:
            raise LookupError(child)
        if row.status == "Completed":
            completed = event(EventType.CHILD_COMPLETED, TaskScheduledId=parent.task, Result=row.output)
            self._store.post(parent.instance, completed, execution=parent.execution)
        return row


def _result_for_parent(row: Instance, status: str, output: object, details: str) -> Event:
    if status == "Completed":
        return event(EventType.CHILD_COMPLETED, TaskScheduledId=row.parent_task, Result=compact(output))
    return event(EventType.CHILD_FAILED, TaskScheduledId=row.parent_task, Reason=str(output), Details=details)


def _log_end(row: Instance, status: str, output: object) -> None:
    if status == "Failed":
        log.error("Orchestration %s of %s failed: %s", row.id, row.name, str(output)[:_LOGGED_OUTPUT])
    else:
        log.info("Orchestration %s of %s: %s", row.id, row.name, status.lower())
