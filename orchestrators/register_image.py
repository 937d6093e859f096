"""Register images, then have the patches prepared that an order of them will want; what becomes of both is in SQL."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from typing import Any

from orchestrators.retrying import Context, call


def register_image(context: Context) -> Generator[Any, Any, Any]:
    """Input ``{"registrationId"}``."""
    answer = yield call(context, "read_image", context.get_input())
    if answer["ok"] and answer["value"].get("images"):
        with suppress(Exception):  # the SDK raises plain Exception for a step whose tries are used up
            prepared = yield call(context, "prepare_patches", context.get_input())
            if prepared["ok"] and prepared["value"]["patches"]:
                yield call(context, "start_due", {})
    return answer
