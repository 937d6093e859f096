"""The cost guard: may what is planned be started, or must a person approve it first?

It reads the figures of the recorded plan, which the API and the mails read too. A new set is weighed as a whole; of
one that is on its way the members that came later, one by one. Devices that come later than the approval of a set are
covered by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.records import DeploymentSet
from contracts.states import ORCHESTRATOR, STARTED_SET
from imagedelta.errors import RequestError
from planning.guard import guards, held_back, needs_approval
from services.deps import Deps

_MAX_DETAIL = 1000


def weigh_set(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"setId"}`` -> ``{"state", "at", "batches": [[first device, last device], …]}``: members to be started, of
    those that were planned by ``at``."""
    set_id, at = payload["setId"], deps.now()
    of = deps.store.sets.deployment_set(set_id)
    if of is None:
        raise RequestError(f"there is no deployment set {set_id}", code="request.not_found")
    if of.state == "planning":
        _weigh_whole(deps, of)
    elif of.state in STARTED_SET and not of.approved_by and guards(of):
        _weigh_late(deps, of)
    after = deps.store.sets.deployment_set(set_id) or of
    batches = deps.store.sets.to_start(set_id, deps.settings.batch_size)
    return {
        "state": after.state,
        "at": at.isoformat(),
        "batches": [list(one) for one in batches],
    }


def _weigh_whole(deps: Deps, of: DeploymentSet) -> None:
    """A set of which nothing could be planned though it should have been stays where it is, to be planned again."""
    costs = deps.store.sets.costs(of.set_id)
    if not costs and deps.store.sets.is_unplanned(of.set_id, deps.now()):
        return
    reasons = () if of.approved_by else needs_approval(costs, of)
    if reasons:
        total = sum(cost.bytes for cost in costs)
        deps.store.sets.ask_approval(of.set_id, total, "; ".join(reasons)[:_MAX_DETAIL], deps.now())
    else:
        deps.store.sets.move(of.set_id, "planning", "preparing", ORCHESTRATOR, deps.now())


def _weigh_late(deps: Deps, of: DeploymentSet) -> None:
    costs = deps.store.sets.costs(of.set_id)
    if costs:
        here = sum(cost.bytes for cost in costs)
        reasons = held_back(costs, of, _planned_bytes(deps, of) - here)
        deps.store.sets.hold_back(of.set_id, reasons, deps.now())


def _planned_bytes(deps: Deps, of: DeploymentSet) -> int:
    """Of the whole set, which is added up only where there is a limit for it."""
    if of.max_bytes is None:
        return 0
    figures = deps.store.sets.figures([of.set_id]).get(of.set_id)
    return figures.planned_bytes if figures else 0
