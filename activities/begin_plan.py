"""Take the planning of a deployment set, and find the members that have to be planned."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from activities.failures import final_failure
from contracts.states import ORCHESTRATOR
from services.deps import Deps
from services.plan_facts import policy_of

LEASE = timedelta(minutes=5)
"""After so long without an end, SQL has the planning started again."""


def begin_plan(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"setId"}`` -> ``{"state", "claim", "batches": [[first device, last device], …]}``.

    ``claim`` is None when the set is in no state to be planned.
    """
    set_id = payload["setId"]
    begun = deps.store.sets.begin_plan(set_id, LEASE, deps.settings.batch_size, deps.now())
    state = _with_a_policy(deps, set_id, begun.state) if begun.claim else begun.state
    claim = begun.claim.isoformat() if begun.claim and state != "failed" else None
    return {"state": state, "claim": claim, "batches": [list(one) for one in begun.ranges] if claim else []}


def _with_a_policy(deps: Deps, set_id: str, state: str) -> str:
    """What stands in no order stops a set that has not begun; one on its way waits until somebody has mended it."""
    found = deps.store.sets.deployment_set(set_id)
    try:
        if found is not None:
            policy_of(deps, found)
    except Exception as error:
        code, detail = final_failure(error)
        if state != "planning":
            raise
        deps.store.sets.move(set_id, "planning", "failed", ORCHESTRATOR, deps.now(), code=code, detail=detail)
        return "failed"
    return state
