"""Publish a verified patch to every device that waits for it, of whatever started set."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from orchestrators.retrying import Context, call


def publish_patch(context: Context) -> Generator[Any, Any, Any]:
    """Input ``{"patchId"}``. A batch at a time, each behind the last one; what fails is found by the next start."""
    patch_id, after, published = context.get_input()["patchId"], "", 0
    while after is not None:
        answer = yield call(context, "publish_batch", {"patchId": patch_id, "after": after})
        if not answer["ok"]:
            return answer
        published += answer["value"]["published"]
        after = answer["value"]["after"]
    return {"ok": True, "value": {"published": published}}
