"""Publish a verified patch to every device that waits for it, of whatever started set."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from orchestrators.retrying import Context, call


def publish_patch(context: Context) -> Generator[Any, Any, Any]:
    """Input ``{"patchId", "after": transfer}``; without ``after`` from the first.

    A batch at a time, each behind the last one; what fails is found by the next start.
    """
    given, published = context.get_input(), 0
    patch_id, after = given["patchId"], given.get("after", "")
    while after is not None:
        answer = yield call(context, "publish_batch", {"patchId": patch_id, "after": after})
        if not answer["ok"]:
            return answer
        published += answer["value"]["published"]
        after = answer["value"]["after"]
    return {"ok": True, "value": {"published": published}}
