"""What can be done for a deployment set now: plan, build each distinct patch once, publish bundles.

It ends when nothing is left to do for now; SQL has it started again when there is (docs/adr/0005).
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from typing import Any

from orchestrators.retrying import Context, call

_AT_WORK = frozenset({"preparing", "in_transit", "ready", "releasing", "released"})
"""Also while the others are released: a member retried late is still built for."""


def deploy_set(context: Context) -> Generator[Any, Any, Any]:
    """Input ``{"setId"}``."""
    set_id = context.get_input()["setId"]
    planned = yield call(context, "plan_set", {"setId": set_id})
    if not planned["ok"] or planned["value"]["state"] not in _AT_WORK:
        return planned
    yield from _in_batches(context, set_id, "patches", "build_patches")
    yield from _in_batches(context, set_id, "bundles", "publish_bundles")
    return planned


def _in_batches(context: Context, set_id: str, what: str, orchestrator: str) -> Generator[Any, Any, None]:
    """One sub-orchestration for each batch of work. What fails stays in SQL for the next start; it holds up nothing."""
    work = yield call(context, "list_work", {"setId": set_id, "of": what})
    batches = work["value"]["batches"] if work["ok"] else []
    inputs = [{"worker": context.instance_id, "ids": ids} for ids in batches]
    if inputs:
        with suppress(Exception):  # the SDK raises plain Exception, once all of them have ended
            yield context.task_all([context.call_sub_orchestrator(orchestrator, given) for given in inputs])
