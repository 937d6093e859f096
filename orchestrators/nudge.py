"""Do what an order or a report has made due now, instead of when the timer comes by."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from orchestrators.retrying import Context

_SECONDS = 30
_AT_MOST = 20
"""Activities of one nudge: its history stays small, and the timer goes on with what is left."""


def nudge(context: Context) -> Generator[Any, Any, Any]:
    """No input. Started under one instance id, so that there is one at a time. Nothing is retried: the timer does."""
    for _ in range(_AT_MOST):
        answer = yield context.call_activity("attend", {"seconds": _SECONDS})
        if not (answer["ok"] and answer["value"]["more"]):
            break
