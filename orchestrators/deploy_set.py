"""What can be done for a deployment set now: plan, build each distinct patch once, publish bundles.

It ends when nothing is left to do for now; SQL has it started again when there is (docs/adr/0005).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from orchestrators.retrying import Context, call

_AT_WORK = frozenset({"preparing", "in_transit", "ready"})


def deploy_set(context: Context) -> Generator[Any, Any, Any]:
    """Input ``{"setId"}``."""
    set_id = context.get_input()["setId"]
    planned = yield call(context, "plan_set", {"setId": set_id})
    if not planned["ok"] or planned["value"]["state"] not in _AT_WORK:
        return planned
    for what, orchestrator in (("patches", "build_patches"), ("transfers", "publish_bundles")):
        work = yield call(context, "list_work", {"setId": set_id, "of": what})
        batches = work["value"]["batches"] if work["ok"] else []
        if batches:
            yield context.task_all(
                [
                    context.call_sub_orchestrator(orchestrator, {"worker": context.instance_id, "ids": ids})
                    for ids in batches
                ]
            )
    return (yield call(context, "settle_set", {"setId": set_id}))
