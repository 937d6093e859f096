"""Publish a batch of bundles side by side."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from orchestrators.retrying import Context, call_all


def publish_bundles(context: Context) -> Generator[Any, Any, Any]:
    """Input ``{"ids"}``: transfers."""
    ids = context.get_input()["ids"]
    results = yield call_all(context, "publish_bundle", ({"transferId": transfer_id} for transfer_id in ids))
    return {"published": sum(bool(result["ok"] and result["value"]["published"]) for result in results)}
