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
from imagedelta_host.durable.history import TERMINAL, Event, EventType, compact, event
from imagedelta_host.durable.ledger import Ledger, Outcome
from imagedelta_host.durable.plan import Plan
from imagedelta_host.durable.store import DurableStore, Instance, Work
from imagedelta_host.durable.waiting import Waiting

log = logging.getLogger("imagedelta_host.durable")

_RETRY_EPISODE_SECONDS = 5.0
_MAX_CUSTOM_STATUS_KB = 16


class FunctionMissing(ImageDeltaError):
    """A durable function of that name does not exist in the app, or is disabled."""

    code = "host.function_missing"


class InstanceExists(ImageDeltaError):
    """An instance with that id has not ended and may not be replaced."""

    code = "host.instance_exists"


class ActivityQueue(Protocol):
    """Where activities go once they are committed."""

    def put(self, work: Work) -> None:
        """Run an activity soon; its result comes back through ``Engine.activities_ended``."""


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
        """Args:
        orchestrators: Names of orchestrators that are switched on, in lower case: durable names ignore case.
        activities: The same of activities.
        """
        self.store = store
        self.queue: ActivityQueue | None = None
        self.troubles: dict[str, str] = {}
        """Instances whose last episode could not be run or stored, with the error; they are tried again."""
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
        self._waiting = Waiting()
        self._ledger = Ledger(store)
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
            self._ledger.create(instance, name, raw_input, version)
        self._waiting.forget(instance)
        self.touch(instance)
        return instance

    def send(self, instance: Instance, entry: Event) -> None:
        """Put an event of a client into an inbox; it is for the instance, so it outlives a continue-as-new."""
        with self.store.transaction():
            self.store.post(instance.id, entry)
        self.touch(instance.id)

    def rewind(self, instance: Instance, reason: str) -> None:
        """Have a failed instance go on from what succeeded; what failed is done again.

        Raises:
            RewindImpossible: It cannot; nothing was changed.
        """
        outcome = Outcome()
        with self.store.transaction():
            self._ledger.rewind(instance, reason, outcome)
        for rewound, _ in outcome.arrived:
            self._waiting.forget(rewound)
        self._act_on(outcome)

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

    def _arrived(self, instance: str, entry: Event | None) -> None:
        if self._waiting.counts(instance, entry):
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
            self.troubles.pop(instance, None)
        except Exception as error:
            self.troubles[instance] = f"{type(error).__name__}: {error}"
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
        outcome = Outcome()
        with self.store.transaction():
            self.store.append_history(row.id, [event(EventType.ORCHESTRATOR_STARTED), message.entry])
            self._ledger.end(row, "Terminated", message.entry.get("Input"), outcome)
        self._waiting.forget(row.id)
        self._act_on(outcome)

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
        new = [event(EventType.ORCHESTRATOR_STARTED), *(message.entry for message in selection.taken)]
        if row.name.lower() in self._orchestrators:
            answer = await self._orchestrate(row.name, _context_text(row, self._ledger.history(row), new))
        else:
            answer = Answer(error=missing(row.name, "an orchestrator"))
        current = self._current(row)
        if current is None:
            return
        self._act_on(self._commit(current, plan, selection, new, _bounded(answer)))
        if selection.more:
            self.touch(row.id)

    def _current(self, row: Instance) -> Instance | None:
        """The instance as it is after its function ran, ``None`` if this run is over.

        A rewind of its parent may have changed meanwhile whom it reports to.
        """
        current = self.store.instance(row.id)
        if current is None or current.execution != row.execution or current.status in TERMINAL:
            return None
        return current

    def _commit(
        self, row: Instance, plan: Plan, selection: step.Selection, new: list[Event], answer: Answer
    ) -> Outcome:
        """Store one episode, whole or not at all."""
        outcome = Outcome()
        with self.store.transaction():
            self.store.remove_messages([*selection.taken, *selection.dropped])
            try:
                effects, held_back = self._plan_effects(row, plan, new[1:], answer)
            except ImageDeltaError as error:
                self._ledger.keep_history(row, new)
                self._ledger.end(row, "Failed", str(error), outcome)
                self._waiting.forget(row.id)
                return outcome
            scheduled = [self._ledger.schedule(row, effect, outcome) for effect in effects]
            self._ledger.keep_history(row, [*new, *scheduled, event(EventType.ORCHESTRATOR_COMPLETED)])
            custom = row.custom_status if answer.custom_status is None else compact(answer.custom_status)
            self.store.update_instance(row.id, status="Running", plan=plan.to_json(), custom_status=custom)
            self._note_awaited(row, plan, outcome)
            if not held_back or answer.actions is None:
                self._conclude(row, answer, outcome)
        return outcome

    def _act_on(self, outcome: Outcome) -> None:
        for work in outcome.works:
            self._queue_work(work)
        for instance, due in outcome.due:
            self.touch(instance, due)
        for instance, entry in outcome.arrived:
            self._arrived(instance, entry)

    def _note_awaited(self, row: Instance, plan: Plan, outcome: Outcome) -> None:
        """Remember which tasks only count together; wakes the instance if the last of them is in already."""
        awaited = plan.awaited_together()
        missing = awaited - self.store.tasks_in_inbox(row.id, row.execution)
        self._waiting.note(row.id, missing)
        if awaited and not missing:
            outcome.arrived.append((row.id, None))

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

    def _conclude(self, row: Instance, answer: Answer, outcome: Outcome) -> None:
        """End the instance, or begin its next run, as the answer says."""
        continues, next_input = answer.next_input()
        if answer.error is not None:
            reason = f"Orchestrator function '{row.name}' failed: {answer.error}"
            self._ledger.end(row, "Failed", reason, outcome, answer.details)
        elif continues:
            self._ledger.continue_as_new(row, compact(next_input), outcome)
        elif answer.done:
            self._ledger.end(row, "Completed", answer.output, outcome)

    # Helpers

    def _queue_work(self, work: Work) -> None:
        if self.queue is None:
            raise RuntimeError("the engine has no activity queue")
        self.queue.put(work)

    def _require_orchestrator(self, name: str) -> None:
        if name.lower() not in self._orchestrators:
            raise FunctionMissing(missing(name, "an orchestrator"))

    def _require_function(self, effect: step.Effect) -> None:
        if isinstance(effect, step.StartChild):
            self._require_orchestrator(effect.name)
        if isinstance(effect, step.StartActivity) and effect.name.lower() not in self._activities:
            raise FunctionMissing(missing(effect.name, "an activity"))

    def _forget(self, instance: str) -> None:
        self._ledger.forget(instance)
        self._waiting.forget(instance)


def missing(name: str, kind: str) -> str:
    """Why a durable function cannot be called, in the words of the real host; ``kind`` with its article."""
    return f"The function '{name}' doesn't exist, is disabled, or is not {kind} function."


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


def _bounded(answer: Answer) -> Answer:
    """The answer; a failure in the words of the real host in place of one with a custom status that is too long."""
    kilobytes = len(json.dumps(answer.custom_status, ensure_ascii=False, separators=(",", ":"))) * 2 / 1024
    if kilobytes <= _MAX_CUSTOM_STATUS_KB:
        return answer
    refusal = (
        f"The UTF-16 size of the JSON-serialized payload must not exceed {_MAX_CUSTOM_STATUS_KB} KB. "
        f"The current payload size is {kilobytes:.0f} KB."
    )
    return Answer(error=answer.error or refusal, details=answer.details)


def _check_id(instance: str) -> None:
    bad = any(letter in "/\\#?" or ord(letter) < 32 for letter in instance)
    if bad or instance.startswith("@") or len(instance) > 256:
        raise ValueError(
            "an instance id has at most 256 characters, none of / \\ # ? or control characters, and does not "
            "start with @"
        )
