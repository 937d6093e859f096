"""Publish a batch of patches side by side: those that were verified before this set came to need them."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from orchestrators.retrying import Context


def publish_bundles(context: Context) -> Generator[Any, Any, Any]:
    """Input ``{"ids"}``: patches."""
    given = [{"patchId": patch_id} for patch_id in context.get_input()["ids"]]
    results = yield context.task_all([context.call_sub_orchestrator("publish_patch", each) for each in given])
    return {"published": sum(result["value"]["published"] for result in results if result["ok"])}
