"""One step of an orchestration, pure: messages and the orchestrator's answer in, effects out.

Not here: running the orchestrator and storing the effects (imagedelta_host.durable.engine).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from imagedelta_host.durable.history import Event, EventType, moment_of, task_of
from imagedelta_host.durable.plan import ActionType, Leaf, Plan

_COMPLETIONS = (
    EventType.TASK_COMPLETED,
    EventType.TASK_FAILED,
    EventType.CHILD_COMPLETED,
    EventType.CHILD_FAILED,
    EventType.TIMER_FIRED,
)
_FAILURES = (EventType.TASK_FAILED, EventType.CHILD_FAILED)


@dataclass(frozen=True)
class Message:
    """An event in the inbox of an instance; ``number`` is its row."""

    number: int
    entry: Event


@dataclass
class Selection:
    """What an episode does with the inbox: ``taken`` in order, ``dropped`` for good; the rest stays."""

    taken: list[Message] = field(default_factory=list)
    dropped: list[Message] = field(default_factory=list)
    more: bool = False


@dataclass(frozen=True)
class StartActivity:
    """Schedule an activity under a task id; ``input`` is JSON text."""

    task: int
    name: str
    input: str | None


@dataclass(frozen=True)
class StartChild:
    """Start a sub-orchestration; without ``instance`` the engine makes an id from the task id."""

    task: int
    name: str
    instance: str | None
    input: str | None
    version: str | None


@dataclass(frozen=True)
class StartTimer:
    """Fire a timer for a task id at a moment."""

    task: int
    fire_at: datetime


Effect = StartActivity | StartChild | StartTimer


@dataclass
class Answer:
    """What the orchestrator function said in this episode.

    Attributes:
        actions: Everything it asked for from the start; ``None`` when it failed before asking.
        done: It returned, or asked to continue as new.
        output: What it returned.
        error: Why it failed; ``None`` if it did not.
        details: Traceback of the failure.
        custom_status: As set by the orchestrator; ``None`` leaves it unchanged.
    """

    actions: list[dict[str, Any]] | None = None
    done: bool = False
    output: Any = None
    error: str | None = None
    details: str = ""
    custom_status: Any = None

    def next_input(self) -> tuple[bool, Any]:
        """Whether it continues as new, and with which input."""
        for action in self.actions or []:
            if action["actionType"] == ActionType.CONTINUE_AS_NEW:
                return True, action.get("input")
        return False, None


def select(plan: Plan, messages: Sequence[Message]) -> Selection:
    """Choose the messages of the next episode.

    Completions nobody waits for are dropped. The SDK gives a task id to a retry while it reads the event, but to
    new actions only when user code resumes; so events that consume an id for a retry come first, and one that
    follows an event which may resume user code waits for the next episode.
    """
    chosen = Selection()
    open_tasks = plan.open_tasks()
    may_resume = False
    for message in messages:
        kind = message.entry["EventType"]
        leaf = open_tasks.get(task) if (task := task_of(message.entry)) is not None else None
        if kind in _COMPLETIONS and leaf is None:
            chosen.dropped.append(message)
            continue
        retries = leaf is not None and _takes_id(leaf, kind)
        if retries and may_resume:
            chosen.more = True
            break
        may_resume = may_resume or not retries
        if task is not None:
            open_tasks.pop(task, None)
        chosen.taken.append(message)
    return chosen


def _takes_id(leaf: Leaf, kind: int) -> bool:
    if not leaf.retries:
        return False
    return kind in _FAILURES or (kind == EventType.TIMER_FIRED and leaf.attempt < leaf.attempts)


def apply_events(plan: Plan, entries: Sequence[Event], now: datetime) -> list[Effect]:
    """Mark what has ended and run the host's part of retries: a timer after a failure, then the task again.

    As in DurableTask.Core a timer is also waited for after the last failure.
    """
    effects: list[Effect] = []
    open_tasks = plan.open_tasks()
    for entry in entries:
        if entry["EventType"] == EventType.EVENT_RAISED:
            plan.raised[entry["Name"]] = plan.raised.get(entry["Name"], 0) + 1
        leaf = open_tasks.get(task) if (task := task_of(entry)) is not None else None
        if leaf is not None:
            effects.extend(_complete(plan, leaf, entry["EventType"], now))
    return effects


def _complete(plan: Plan, leaf: Leaf, kind: int, now: datetime) -> list[Effect]:
    if leaf.retries and kind in _FAILURES:
        leaf.retrying = True
        return [StartTimer(plan.next_task_of(leaf), now + timedelta(milliseconds=leaf.interval_ms))]
    if leaf.retries and kind == EventType.TIMER_FIRED and leaf.attempt < leaf.attempts:
        leaf.attempt += 1
        leaf.retrying = False
        plan.next_task_of(leaf)
        return [start(leaf)]
    leaf.done, leaf.input = True, None
    return []


def start(leaf: Leaf) -> Effect:
    """The effect that schedules a leaf under its present task id."""
    if leaf.task is None:
        raise ValueError("an external event is not started")
    if leaf.kind in (ActionType.ACTIVITY, ActionType.ACTIVITY_RETRY):
        return StartActivity(leaf.task, leaf.name, leaf.input)
    if leaf.kind in (ActionType.CHILD, ActionType.CHILD_RETRY):
        return StartChild(leaf.task, leaf.name, leaf.instance, leaf.input, leaf.version)
    return StartTimer(leaf.task, moment_of(leaf.fire_at).astimezone(UTC))


def start_ready(plan: Plan) -> tuple[list[Effect], bool]:
    """Start what may start; also tells whether the orchestrator is held back by an incomplete action."""
    ready, held_back = plan.startable()
    effects = [start(leaf) for leaf in ready if leaf.task is not None and not leaf.done]
    for leaf in ready:
        leaf.started = True
        if not leaf.retries:
            leaf.input = None
    return effects, held_back
