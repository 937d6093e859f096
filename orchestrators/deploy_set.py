"""What can be planned and started of a deployment set now: plan its members, weigh what that costs, start them.

Nothing waits here: not for a build, a device or a person. It ends when nothing is left to plan for now; SQL has it
started again when there is (docs/adr/0005).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from orchestrators.retrying import Context, call

GROUP = 50
"""Activities of one sub-orchestration, whose history stays small by it."""


def deploy_set(context: Context) -> Generator[Any, Any, Any]:
    """Input ``{"setId"}``."""
    set_id = context.get_input()["setId"]
    begun = yield call(context, "begin_plan", {"setId": set_id})
    if not begun["ok"] or begun["value"]["claim"] is None:
        return begun
    yield from _in_groups(context, "plan_batch", [_batch(set_id, one) for one in begun["value"]["batches"]])
    weighed = yield call(context, "weigh_set", {"setId": set_id})
    if weighed["ok"]:
        found = weighed["value"]
        started = [_batch(set_id, one) | {"weighedAt": found["at"]} for one in found["batches"]]
        yield from _in_groups(context, "start_batch", started)
    yield call(context, "end_plan", {"setId": set_id, "claim": begun["value"]["claim"]})
    yield call(context, "start_due", {})
    return weighed


def _batch(set_id: str, devices: list[str]) -> dict[str, Any]:
    return {"setId": set_id, "range": devices}


def _in_groups(context: Context, step: str, payloads: list[dict[str, Any]]) -> Generator[Any, Any, None]:
    groups = [payloads[at : at + GROUP] for at in range(0, len(payloads), GROUP)]
    if groups:
        yield context.task_all(
            [context.call_sub_orchestrator("fan_out", {"step": step, "payloads": group}) for group in groups]
        )
