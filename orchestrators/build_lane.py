"""Build patches one after the other, each step by step, and publish each to its devices as soon as it is verified."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from typing import Any

from orchestrators.retrying import Context, call


def build_lane(context: Context) -> Generator[Any, Any, Any]:
    """Input ``{"worker", "ids"}``. A patch that fails, or whose steps raise for ever, holds up no other."""
    given = context.get_input()
    built = 0
    for patch_id in given["ids"]:
        with suppress(Exception):  # the SDK raises plain Exception
            state = yield from _built(context, patch_id, given["worker"])
            if state == "verified":
                built += 1
                yield context.call_sub_orchestrator("publish_patch", {"patchId": patch_id})
    return {"built": built}


def _built(context: Context, patch_id: str, worker: str) -> Generator[Any, Any, str]:
    """What became of it. Each step that ends brings the build on; those that do not are counted, and are few."""
    while True:
        step = yield call(context, "build_step", {"patchId": patch_id, "worker": worker})
        state: str = step["value"]["state"] if step["ok"] else "failed"
        if state != "more":
            return state
