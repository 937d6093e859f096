"""One round of what the timer looks after: settle sets, release, confirm, send mails, bring twins up to date.

Started every few seconds under one instance id, so that there is one at a time. A step that fails is left to the
next round; it never stops the others.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from orchestrators.retrying import Context, call, call_all


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
    """The results, or none when one of the tasks could not be done even after retries."""
    if not payloads:
        return []
    try:
        return list((yield call_all(context, step, payloads)))
    except Exception:  # the SDK raises plain Exception for a failed task
        return []
