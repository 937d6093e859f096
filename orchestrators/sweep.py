"""One round of what the timer looks after: settle sets, release, confirm, send mails, bring twins up to date.

Started every few seconds under one instance id, so that there is one at a time. Steps are tried once: the next
round is their retry, so that a hub that does not answer holds up neither the mails nor the other hub.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from orchestrators.retrying import Context, call


def sweep(context: Context) -> Generator[Any, Any, Any]:
    """No input. Sets that a release or a confirmation has moved are settled once more in the same round."""
    due = yield call(context, "list_due", {"of": "sets"})
    sets = due["value"]["sets"] if due["ok"] else []
    moved = yield from _settle(context, sets)
    again = yield from _settle(context, moved)
    if again:
        yield from _settle(context, again)
    due = yield call(context, "list_due", {"of": "messages"})
    found = due["value"] if due["ok"] else {"notifications": [], "devices": []}
    yield from _each(context, "send_notification", [{"notificationId": one} for one in found["notifications"]])
    yield from _each(context, "sync_device", [{"deviceId": one} for one in found["devices"]])


def _settle(context: Context, sets: list[str]) -> Generator[Any, Any, list[str]]:
    """Settle the sets and do what they then ask for; returns those that something was done for."""
    payloads = [{"setId": set_id} for set_id in sets]
    results = yield from _each(context, "settle_set", payloads)
    settled = [
        (payload["setId"], result["value"]) for payload, result in zip(payloads, results, strict=False) if result["ok"]
    ]
    for step, asked in (("release_member", "release"), ("confirm_member", "confirm")):
        members = [{"setId": set_id, "deviceId": one} for set_id, value in settled for one in value[asked]]
        yield from _each(context, step, members)
    return [set_id for set_id, value in settled if value["release"] or value["confirm"]]


def _each(context: Context, step: str, payloads: list[dict[str, Any]]) -> Generator[Any, Any, list[Any]]:
    """The results; none when one of the tasks raised, which is known once all of them have ended."""
    if not payloads:
        return []
    try:
        return list((yield context.task_all([context.call_activity(step, payload) for payload in payloads])))
    except Exception:  # the SDK raises plain Exception for a failed task
        return []
