"""One step on each of a group of payloads, side by side. What fails stays in SQL for the next start."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from typing import Any

from orchestrators.retrying import Context, call_all


def fan_out(context: Context) -> Generator[Any, Any, Any]:
    """Input ``{"step", "payloads"}``."""
    given = context.get_input()
    with suppress(Exception):  # the SDK raises plain Exception, once all of them have ended
        yield call_all(context, given["step"], given["payloads"])
