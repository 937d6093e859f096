"""Drives orchestrations: picks an instance with something to do, runs one episode, stores its effects at once.

Runs on the host's event loop; only the orchestrator function itself runs in a thread. Before an effect is acted
on it is committed, so that a process killed anywhere goes on from the last episode.
"""

from __future__ import annotations

import asyncio
import dataclasses
import heapq
import json
import logging
import time
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Protocol

from imagedelta.errors import ImageDeltaError
from imagedelta_host.durable import episode as step
from imagedelta_host.durable.episode import Answer, Message
from imagedelta_host.durable.history import (
    TERMINAL,
    Event,
    EventType,
    compact,
    event,
    execution_started,
    now_text,
    task_of,
    text_of,
)
from imagedelta_host.durable.plan import Plan
from imagedelta_host.durable.store import DurableStore, Instance, Work

log = logging.getLogger("imagedelta_host.durable")

_CACHED_HISTORIES = 64
_RETRY_EPISODE_SECONDS = 5.0
_LOGGED_OUTPUT = 2000


class FunctionMissing(ImageDeltaError):
    """A durable function of that name does not exist in the app, or is disabled."""

    code = "host.function_missing"


class InstanceExists(ImageDeltaError):
    """An instance with that id has not ended and may not be replaced."""

    code = "host.instance_exists"


class ActivityQueue(Protocol):
    """Where activities go once they are committed."""

    def put(self, work: Work) -> None:
        """Run an activity soon; its result comes back through ``Engine.activity_ended``."""


Orchestrate = Callable[[str, str], Awaitable[Answer]]
"""Runs an orchestrator: its durable name and the context as JSON text."""


class Engine:
    """The orchestrations of one app."""

    def __init__(
        self,
        store: DurableStore,
        orchestrate: Orchestrate,
        *,
        orchestrators: frozenset[str],
        activities: frozenset[str],
        max_orchestrators: int = 10,
        replace_running: bool = False,
    ) -> None:
        self.store = store
        self.queue: ActivityQueue | None = None
        self._orchestrate = orchestrate
        self._orchestrators = orchestrators
        self._activities = activities
        self._replace_running = replace_running
        self._slots = asyncio.Semaphore(max_orchestrators)
        self._dirty: OrderedDict[str, None] = OrderedDict()
        self._running: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._due: list[tuple[float, str]] = []
        self._wake = asyncio.Event()
        self._awaiting: dict[str, set[int]] = {}
        self._histories: OrderedDict[str, tuple[str, list[str]]] = OrderedDict()
        self._stopping = False

    # What clients ask for

    def start_new(self, name: str, instance: str | None = None, raw_input: str | None = None, version: str = "") -> str:
        """Create an instance; ``raw_input`` is JSON text. Returns its id.

        Raises:
            FunctionMissing: No orchestrator of that name.
            InstanceExists: The id is taken by an instance that has not ended.
            ValueError: The id has a form that the real host refuses.
        """
        self._require_orchestrator(name)
        instance = instance or uuid.uuid4().hex
        _check_id(instance)
        old = self.store.instance(instance)
        if old is not None and old.status not in TERMINAL and not self._replace_running:
            raise InstanceExists(f"An Orchestration instance with the status {old.status} already exists.")
        with self.store.transaction():
            self.store.delete_instance(instance)
            self._create(instance, name, raw_input, version, None)
        self.touch(instance)
        return instance

    def send(self, instance: Instance, entry: Event, *, any_run: bool = False) -> None:
        """Put an event of a client into an inbox; ``any_run`` lets it outlive a continue-as-new."""
        with self.store.transaction():
            self.store.post(instance.id, entry, execution=None if any_run else instance.execution)
        self._awaiting.pop(instance.id, None)
        self.touch(instance.id)

    def purge(self, instance: str) -> None:
        """Forget an instance."""
        with self.store.transaction():
            self.store.delete_instance(instance)
        self._forget(instance)

    # Activities

    def activities_ended(self, results: list[tuple[Work, Event]]) -> None:
        """Store results of activities in one transaction and wake their instances."""
        with self.store.transaction():
            wanted = [(work, entry) for work, entry in results if self.store.finish_work(work)]
            for work, entry in wanted:
                self.store.post(work.instance, entry, execution=work.execution)
        for work, entry in wanted:
            self._arrived(work.instance, entry)

    def _arrived(self, instance: str, entry: Event) -> None:
        """Wake an instance, unless others must arrive too before a replay can get any further."""
        awaited = self._awaiting.get(instance)
        succeeded = entry["EventType"] in (EventType.TASK_COMPLETED, EventType.CHILD_COMPLETED)
        if awaited is not None and succeeded and task_of(entry) in awaited:
            awaited.discard(task_of(entry) or 0)
            if awaited:
                return
        self.touch(instance)

    # The loop

    def touch(self, instance: str, due: float = 0.0) -> None:
        """Have an instance looked at, now or at the time ``due`` (seconds since the epoch)."""
        if due > time.time():
            heapq.heappush(self._due, (due, instance))
        else:
            self._dirty[instance] = None
        self._wake.set()

    async def run(self) -> None:
        """Go on with what the database holds, until ``stop``."""
        for due, instance in self.store.wake_times():
            self.touch(instance, due)
        for work in self.store.pending_work():
            self._queue_work(work)
        while not self._stopping:
            self._take_due()
            self._start_episodes()
            await self._sleep()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def stop(self) -> None:
        """Begin no further episode; ``run`` returns when those under way are stored."""
        self._stopping = True
        self._wake.set()

    def _take_due(self) -> None:
        now = time.time()
        while self._due and self._due[0][0] <= now:
            self._dirty[heapq.heappop(self._due)[1]] = None

    def _start_episodes(self) -> None:
        for instance in [name for name in self._dirty if name not in self._running]:
            del self._dirty[instance]
            self._running.add(instance)
            task = asyncio.create_task(self._guarded_episode(instance))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _sleep(self) -> None:
        self._wake.clear()
        if any(name not in self._running for name in self._dirty):
            await asyncio.sleep(0)
            return
        pause = max(0.0, self._due[0][0] - time.time()) if self._due else None
        try:
            await asyncio.wait_for(self._wake.wait(), pause)
        except TimeoutError:
            return

    async def _guarded_episode(self, instance: str) -> None:
        try:
            async with self._slots:
                if not self._stopping:
                    await self._episode(instance)
        except Exception:
            log.exception("an episode of instance %s could not be stored; it is tried again", instance)
            self._forget(instance)
            self.touch(instance, time.time() + _RETRY_EPISODE_SECONDS)
        finally:
            self._running.discard(instance)
            self._wake.set()

    # One episode

    async def _episode(self, instance: str) -> None:
        row = self.store.instance(instance)
        if row is None:
            return
        messages = self.store.messages(instance, row.execution, time.time())
        if row.status in TERMINAL:
            self._drop(messages)
            return
        ending = next((m for m in messages if m.entry["EventType"] == EventType.EXECUTION_TERMINATED), None)
        if ending is not None:
            self._terminate(row, ending)
            return
        row, messages = self._apply_pauses(row, messages)
        if row.suspended or not messages:
            return
        await self._advance(row, messages)

    def _drop(self, messages: list[Message]) -> None:
        if messages:
            with self.store.transaction():
                self.store.remove_messages(messages)

    def _terminate(self, row: Instance, message: Message) -> None:
        with self.store.transaction():
            self.store.append_history(row.id, [event(EventType.ORCHESTRATOR_STARTED), message.entry])
            wake = self._end(row, "Terminated", message.entry.get("Input"), "")
        self._wake_parent(wake)

    def _apply_pauses(self, row: Instance, messages: list[Message]) -> tuple[Instance, list[Message]]:
        """Take suspend and resume out of the inbox; what arrives meanwhile waits there."""
        pauses = [m for m in messages if m.entry["EventType"] in (EventType.SUSPENDED, EventType.RESUMED)]
        if not pauses:
            return row, messages
        suspended = int(pauses[-1].entry["EventType"] == EventType.SUSPENDED)
        started = bool(self.store.history(row.id))
        status = "Suspended" if suspended else ("Running" if started else "Pending")
        with self.store.transaction():
            self.store.remove_messages(pauses)
            self.store.update_instance(row.id, suspended=suspended, status=status)
        rest = [message for message in messages if message not in pauses]
        return dataclasses.replace(row, suspended=suspended, status=status), rest

    async def _advance(self, row: Instance, messages: list[Message]) -> None:
        plan = Plan.from_json(row.plan)
        selection = step.select(plan, messages)
        if not selection.taken:
            self._drop(selection.dropped)
            return
        past = self._history(row)
        new = [event(EventType.ORCHESTRATOR_STARTED), *(message.entry for message in selection.taken)]
        answer = await self._orchestrate(row.name, _context_text(row, past, new))
        if not self._is_current(row):
            return
        wakes, works = self._commit(row, plan, selection, new, answer)
        for work in works:
            self._queue_work(work)
        for instance, due in wakes:
            self.touch(instance, due)
        if selection.more:
            self.touch(row.id)

    def _is_current(self, row: Instance) -> bool:
        current = self.store.instance(row.id)
        return current is not None and current.execution == row.execution and current.status not in TERMINAL

    def _commit(
        self, row: Instance, plan: Plan, selection: step.Selection, new: list[Event], answer: Answer
    ) -> tuple[list[tuple[str, float]], list[Work]]:
        """Store one episode; returns whom to wake when, and the activities to run."""
        wakes: list[tuple[str, float]] = []
        works: list[Work] = []
        with self.store.transaction():
            self.store.remove_messages([*selection.taken, *selection.dropped])
            try:
                effects, held_back = self._plan_effects(row, plan, new[1:], answer)
            except ImageDeltaError as error:
                self._keep_history(row, new)
                return self._parent_wake(self._end(row, "Failed", str(error), "")), []
            scheduled = [self._schedule(row, effect, wakes, works) for effect in effects]
            self._keep_history(row, [*new, *scheduled, event(EventType.ORCHESTRATOR_COMPLETED)])
            custom = row.custom_status if answer.custom_status is None else compact(answer.custom_status)
            self.store.update_instance(row.id, status="Running", plan=plan.to_json(), custom_status=custom)
            wakes.extend(self._note_awaited(row, plan))
            if not held_back or answer.actions is None:
                wakes.extend(self._conclude(row, answer))
        return wakes, works

    def _note_awaited(self, row: Instance, plan: Plan) -> list[tuple[str, float]]:
        """Remember which tasks only count together; wakes the instance if the last of them is in already."""
        awaited = plan.awaited_together()
        missing = awaited - self.store.tasks_in_inbox(row.id, row.execution)
        self._awaiting[row.id] = set(missing)
        return [(row.id, 0.0)] if awaited and not missing else []

    def _plan_effects(
        self, row: Instance, plan: Plan, entries: list[Event], answer: Answer
    ) -> tuple[list[step.Effect], bool]:
        effects = step.apply_events(plan, entries, datetime.now(UTC))
        if answer.actions is not None:
            for leaf in plan.extend(answer.actions):
                if leaf.task is not None:
                    self.store.remove_task_message(row.id, row.execution, leaf.task)
        ready, held_back = step.start_ready(plan)
        effects.extend(ready)
        for effect in effects:
            self._require_function(effect)
        return effects, held_back

    def _conclude(self, row: Instance, answer: Answer) -> list[tuple[str, float]]:
        """End the instance, or begin its next run, as the answer says."""
        continues, next_input = answer.next_input()
        if answer.error is not None:
            reason = f"Orchestrator function '{row.name}' failed: {answer.error}"
            return self._parent_wake(self._end(row, "Failed", reason, answer.details))
        if continues:
            self._continue_as_new(row, compact(next_input))
            return [(row.id, 0.0)]
        if answer.done:
            return self._parent_wake(self._end(row, "Completed", answer.output, ""))
        return []

    # Effects

    def _schedule(self, row: Instance, effect: step.Effect, wakes: list[tuple[str, float]], works: list[Work]) -> Event:
        if isinstance(effect, step.StartTimer):
            fire_at = text_of(effect.fire_at)
            due = effect.fire_at.timestamp()
            fired = event(EventType.TIMER_FIRED, TimerId=effect.task, FireAt=fire_at)
            self.store.post(row.id, fired, execution=row.execution, due=due)
            wakes.append((row.id, due))
            return event(EventType.TIMER_CREATED, effect.task, FireAt=fire_at)
        if isinstance(effect, step.StartActivity):
            works.append(self.store.add_work(row.id, row.execution, effect.task, effect.name, effect.input))
            return event(EventType.TASK_SCHEDULED, effect.task, Name=effect.name, Version="", Input=effect.input)
        return self._start_child(row, effect, wakes)

    def _start_child(self, row: Instance, effect: step.StartChild, wakes: list[tuple[str, float]]) -> Event:
        child = effect.instance or f"{row.execution}:{effect.task:04x}"
        old = self.store.instance(child)
        if old is not None and old.status not in TERMINAL:
            reason = f"An Orchestration instance with the status {old.status} already exists."
            failed = event(EventType.CHILD_FAILED, TaskScheduledId=effect.task, Reason=reason, Details="")
            self.store.post(row.id, failed, execution=row.execution)
            wakes.append((row.id, 0.0))
        else:
            self.store.delete_instance(child)
            self._forget(child)
            raw_input = None if effect.input is None else compact(effect.input)
            self._create(child, effect.name, raw_input, effect.version or "", (row.id, effect.task))
            wakes.append((child, 0.0))
        return event(EventType.CHILD_CREATED, effect.task, Name=effect.name, InstanceId=child, Input=effect.input)

    def _create(
        self,
        instance: str,
        name: str,
        raw_input: str | None,
        version: str,
        parent: tuple[str, int] | None,
        created: str | None = None,
    ) -> None:
        execution, now = uuid.uuid4().hex, now_text()
        self.store.insert_instance(
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
                parent=parent[0] if parent else None,
                parent_task=parent[1] if parent else None,
                plan="",
                suspended=0,
            )
        )
        self._forget(instance)
        started = execution_started(instance, execution, name, version, raw_input, parent)
        self.store.post(instance, started, execution=execution)

    def _continue_as_new(self, row: Instance, raw_input: str) -> None:
        kept = self.store.unbound_messages(row.id)
        parent = (row.parent, row.parent_task) if row.parent is not None and row.parent_task is not None else None
        self.store.delete_run(row.id)
        self._create(row.id, row.name, raw_input, row.version, parent, row.created)
        for entry in kept:
            self.store.post(row.id, entry)

    def _end(self, row: Instance, status: str, output: object, details: str) -> tuple[str, Event] | None:
        """Close an instance; returns what its parent is told, if it has one."""
        text = compact(output)
        completed = event(EventType.EXECUTION_COMPLETED, OrchestrationStatus=status, Result=text)
        self.store.append_history(row.id, [completed])
        self.store.delete_run(row.id, keep_history=True)
        self.store.update_instance(row.id, status=status, output=text, plan="", suspended=0)
        self._forget(row.id)
        _log_end(row, status, output)
        parent = None if row.parent is None else self.store.instance(row.parent)
        if parent is None or parent.status in TERMINAL:
            return None
        if status == "Completed":
            told = event(EventType.CHILD_COMPLETED, TaskScheduledId=row.parent_task, Result=text)
        else:
            told = event(EventType.CHILD_FAILED, TaskScheduledId=row.parent_task, Reason=str(output), Details=details)
        self.store.post(parent.id, told, execution=parent.execution)
        return parent.id, told

    def _parent_wake(self, told: tuple[str, Event] | None) -> list[tuple[str, float]]:
        if told is None:
            return []
        awaited = self._awaiting.get(told[0])
        task = task_of(told[1])
        if awaited is not None and told[1]["EventType"] == EventType.CHILD_COMPLETED and task in awaited:
            awaited.discard(task)
            return [] if awaited else [(told[0], 0.0)]
        return [(told[0], 0.0)]

    def _wake_parent(self, told: tuple[str, Event] | None) -> None:
        for instance, due in self._parent_wake(told):
            self.touch(instance, due)

    # Helpers

    def _queue_work(self, work: Work) -> None:
        if self.queue is None:
            raise RuntimeError("the engine has no activity queue")
        self.queue.put(work)

    def _require_orchestrator(self, name: str) -> None:
        if name not in self._orchestrators:
            raise FunctionMissing(
                f"The function '{name}' doesn't exist, is disabled, or is not an orchestrator function."
            )

    def _require_function(self, effect: step.Effect) -> None:
        if isinstance(effect, step.StartChild):
            self._require_orchestrator(effect.name)
        if isinstance(effect, step.StartActivity) and effect.name not in self._activities:
            raise FunctionMissing(
                f"The function '{effect.name}' doesn't exist, is disabled, or is not an activity function."
            )

    def _history(self, row: Instance) -> list[str]:
        cached = self._histories.get(row.id)
        if cached is not None and cached[0] == row.execution:
            self._histories.move_to_end(row.id)
            return cached[1]
        texts = self.store.history(row.id)
        self._histories[row.id] = (row.execution, texts)
        if len(self._histories) > _CACHED_HISTORIES:
            self._histories.popitem(last=False)
        return texts

    def _keep_history(self, row: Instance, entries: list[Event]) -> None:
        texts = self.store.append_history(row.id, entries)
        cached = self._histories.get(row.id)
        if cached is not None and cached[0] == row.execution:
            cached[1].extend(texts)

    def _forget(self, instance: str) -> None:
        self._histories.pop(instance, None)
        self._awaiting.pop(instance, None)


def _log_end(row: Instance, status: str, output: object) -> None:
    if status == "Failed":
        log.error("Orchestration %s of %s failed: %s", row.id, row.name, str(output)[:_LOGGED_OUTPUT])
    else:
        log.info("Orchestration %s of %s: %s", row.id, row.name, status.lower())


def _context_text(row: Instance, past: list[str], new: list[Event]) -> str:
    """The value of the orchestration trigger, as JSON text; stored events are not parsed again."""
    rest = {
        "input": None if row.input is None else json.loads(row.input),
        "instanceId": row.id,
        "isReplaying": bool(past),
        "parentInstanceId": row.parent,
        "upperSchemaVersion": 1,
        "upperSchemaVersionNew": 2,
        "longRunningTimerIntervalDuration": None,
        "maximumShortTimerDuration": None,
        "defaultHttpAsyncRequestSleepTimeMillseconds": 30000,
    }
    history = ",".join([*past, *(compact(entry) for entry in new)])
    return f'{{"history":[{history}],{compact(rest)[1:]}'


def _check_id(instance: str) -> None:
    bad = any(letter in "/\\#?" or ord(letter) < 32 for letter in instance)
    if bad or instance.startswith("@") or len(instance) > 256:
        raise ValueError(
            "an instance id has at most 256 characters, none of / \\ # ? or control characters, and does not "
            "start with @"
        )
