"""History events of an orchestration, as the out-of-process protocol of Durable Functions 1.x writes them.

Source: shared facts of the protocol; DurableTask.Core EventType.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

Event = dict[str, Any]

TERMINAL = ("Completed", "Failed", "Terminated", "Canceled")


class EventType(IntEnum):
    """Numbers of the event types on the wire."""

    EXECUTION_STARTED = 0
    EXECUTION_COMPLETED = 1
    EXECUTION_TERMINATED = 3
    TASK_SCHEDULED = 4
    TASK_COMPLETED = 5
    TASK_FAILED = 6
    CHILD_CREATED = 7
    CHILD_COMPLETED = 8
    CHILD_FAILED = 9
    TIMER_CREATED = 10
    TIMER_FIRED = 11
    ORCHESTRATOR_STARTED = 12
    ORCHESTRATOR_COMPLETED = 13
    EVENT_RAISED = 15
    GENERIC = 17
    SUSPENDED = 19
    RESUMED = 20


NAMES = {
    EventType.EXECUTION_STARTED: "ExecutionStarted",
    EventType.EXECUTION_COMPLETED: "ExecutionCompleted",
    EventType.EXECUTION_TERMINATED: "ExecutionTerminated",
    EventType.TASK_SCHEDULED: "TaskScheduled",
    EventType.TASK_COMPLETED: "TaskCompleted",
    EventType.TASK_FAILED: "TaskFailed",
    EventType.CHILD_CREATED: "SubOrchestrationInstanceCreated",
    EventType.CHILD_COMPLETED: "SubOrchestrationInstanceCompleted",
    EventType.CHILD_FAILED: "SubOrchestrationInstanceFailed",
    EventType.TIMER_CREATED: "TimerCreated",
    EventType.TIMER_FIRED: "TimerFired",
    EventType.EVENT_RAISED: "EventRaised",
    EventType.GENERIC: "GenericEvent",
}
"""What the management interface calls the events it shows, and those that a rewind takes back."""

STARTS = frozenset({EventType.TASK_SCHEDULED, EventType.CHILD_CREATED, EventType.TIMER_CREATED})
"""Events that start a task; their ``EventId`` is its id."""


def text_of(moment: datetime) -> str:
    """A moment as the SDK reads and writes it: UTC, microseconds, ``Z``; sorts as text."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment_of(text: str) -> datetime:
    """Read a moment; one without a zone is UTC, as the SDK writes naive times.

    Raises:
        ValueError: The text is not an ISO 8601 time.
    """
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def now_text() -> str:
    """The present as event timestamp."""
    return text_of(datetime.now(UTC))


def compact(value: object) -> str:
    """JSON without spaces, the form in which inputs and results travel."""
    return json.dumps(value, separators=(",", ":"))


def event(kind: EventType, event_id: int = -1, **fields: Any) -> Event:
    """One history event; ``event_id`` is the task id for events that schedule something, else -1."""
    return {"EventType": int(kind), "EventId": event_id, "IsPlayed": False, "Timestamp": now_text(), **fields}


def execution_started(
    instance: str, execution: str, name: str, version: str, raw_input: str | None, parent: tuple[str, int] | None
) -> Event:
    """The event that starts a run; ``raw_input`` is JSON text, ``parent`` is (instance, task id)."""
    parent_instance = None
    if parent is not None:
        parent_instance = {"OrchestrationInstance": {"InstanceId": parent[0]}, "TaskScheduleId": parent[1]}
    return event(
        EventType.EXECUTION_STARTED,
        OrchestrationInstance={"InstanceId": instance, "ExecutionId": execution},
        ParentInstance=parent_instance,
        Name=name,
        Version=version,
        Input=raw_input,
        Tags=None,
    )


def task_of(entry: Event) -> int | None:
    """The task id a completion event belongs to; ``None`` for events that complete nothing."""
    task = entry.get("TaskScheduledId", entry.get("TimerId"))
    return task if isinstance(task, int) else None


def replay_text(entry: Event) -> str:
    """The event as stored: marked as played, which it is whenever it is read again."""
    return compact({**entry, "IsPlayed": True})
