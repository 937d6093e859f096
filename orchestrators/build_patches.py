"""Build a batch of patches side by side."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from orchestrators.retrying import Context, call_all


def build_patches(context: Context) -> Generator[Any, Any, Any]:
    """Input ``{"worker", "ids"}``; ``worker`` is the orchestration of the set, which keeps its leases."""
    given = context.get_input()
    results = yield call_all(
        context, "build_patch", ({"patchId": patch_id, "worker": given["worker"]} for patch_id in given["ids"])
    )
    return {"built": sum(bool(result["ok"] and result["value"]["built"]) for result in results)}
