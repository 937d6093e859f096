"""Build a patch step by step, publish it as soon as it is verified, and have the next one started.

Steps of builds stand in one queue with all others, and each instance works on one at a time: so only a few patches are
built side by side (triggers.due), and each that ends makes room for the next.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from typing import Any

from orchestrators.retrying import Context, call


def build_patch(context: Context) -> Generator[Any, Any, Any]:
    """Input ``{"patchId"}``. What fails stays in SQL, which says when it is tried again."""
    patch_id = context.get_input()["patchId"]
    with suppress(Exception):  # the SDK raises plain Exception for a step whose tries are used up
        built = yield from _built(context, patch_id)
        if built.get("after") is not None:
            yield context.call_sub_orchestrator("publish_patch", {"patchId": patch_id, "after": built["after"]})
    yield call(context, "start_due", {})


def _built(context: Context, patch_id: str) -> Generator[Any, Any, dict[str, Any]]:
    """The last step's answer. Each step that ends brings the build on; those that do not are counted, and are few."""
    while True:
        step = yield call(context, "deliver_step", {"patchId": patch_id, "worker": context.instance_id})
        answer: dict[str, Any] = step["value"] if step["ok"] else {"state": "failed"}
        if answer["state"] != "more":
            return answer
