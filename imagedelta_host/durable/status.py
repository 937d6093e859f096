"""How an instance and its history are shown to clients."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from imagedelta_host.durable.history import NAMES, STARTS, EventType
from imagedelta_host.durable.store import Instance

_ENDS = frozenset(
    {
        EventType.TASK_COMPLETED,
        EventType.TASK_FAILED,
        EventType.CHILD_COMPLETED,
        EventType.CHILD_FAILED,
        EventType.TIMER_FIRED,
    }
)


def status_of(row: Instance, *, with_input: bool, history: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """The status payload of an instance; times have whole seconds, as in the real one."""
    payload = {
        "name": row.name,
        "instanceId": row.id,
        "runtimeStatus": row.status,
        "input": _value(row.input) if with_input else None,
        "customStatus": _value(row.custom_status),
        "output": _value(row.output),
        "createdTime": row.created[:19] + "Z",
        "lastUpdatedTime": row.updated[:19] + "Z",
    }
    return payload if history is None else {**payload, "historyEvents": history}


def _value(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def history_of(texts: Iterable[str], *, with_output: bool) -> list[dict[str, Any]]:
    """Stored events as the management interface shows them: ends with the times and names of their starts."""
    starts: dict[int, dict[str, Any]] = {}
    shown: list[dict[str, Any]] = []
    for entry in map(json.loads, texts):
        kind = EventType(entry["EventType"])
        if kind in STARTS:
            starts[entry["EventId"]] = entry
        elif kind in NAMES:
            start = starts.get(entry.get("TaskScheduledId", entry.get("TimerId", -1)), {})
            shown.append(_shown(kind, entry, start, with_output))
    return shown


def _shown(kind: EventType, entry: dict[str, Any], start: dict[str, Any], with_output: bool) -> dict[str, Any]:
    item = {"EventType": NAMES[kind], "Timestamp": entry["Timestamp"]}
    if kind in _ENDS:
        item["ScheduledTime"] = start.get("Timestamp")
    name = entry.get("Name") or start.get("Name")
    if name:
        item["Name" if kind == EventType.EVENT_RAISED else "FunctionName"] = name
    for field in ("Data", "Reason", "Details", "FireAt", "OrchestrationStatus"):
        if field in entry:
            item[field] = entry[field]
    if with_output and "Result" in entry:
        item["Result"] = _value(entry["Result"])
    return item
