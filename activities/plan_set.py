"""Plan a deployment set: what each device lacks, from which sources, and whether a person must approve it first.

Runs whenever SQL shows members to plan: at the start, after an approval, when an inventory came in, and when a
device reported a source missing. What is planned already is not planned again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from activities.failures import final_failure
from contracts.records import DeploymentSet, Device, Member, Transfer
from contracts.states import BEFORE_ARRIVAL, ORCHESTRATOR, STARTED_SET, UNSENT
from imagedelta.errors import DependencyError, RequestError
from planning.plan import PlannedDevice, Policy, hold_back, needs_approval, plan_fleet
from services.deps import Deps
from services.plan_facts import gather_facts, policy_of, wanted_of
from services.store_port import PlannedTransfer

log = logging.getLogger("imagedelta.steps")


def plan_set(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"setId"}`` -> ``{"state": the set's state afterwards}``."""
    set_id = payload["setId"]
    deps.store.sets.move(set_id, "accepted", "planning", ORCHESTRATOR, deps.now())
    found = deps.store.sets.deployment_set(set_id)
    if found is None:
        raise RequestError(f"there is no deployment set {set_id}", code="request.not_found")
    if found.state in STARTED_SET | {"planning"}:
        try:
            _plan(deps, found)
        except Exception as error:
            code, detail = final_failure(error)
            if found.state != "planning":
                raise
            deps.store.sets.move(set_id, "planning", "failed", ORCHESTRATOR, deps.now(), code=code, detail=detail)
    after = deps.store.sets.deployment_set(set_id)
    return {"state": after.state if after else "failed"}


def _plan(deps: Deps, of: DeploymentSet) -> None:
    members = [member for member in deps.store.sets.members(of.set_id) if member.state in BEFORE_ARRIVAL]
    transfers = {member.device_id: deps.store.transfers.of_member(of.set_id, member.device_id) for member in members}
    members = [member for member in members if _is_due(member, transfers[member.device_id])]
    devices = [device for member in members if (device := deps.store.devices.device(member.device_id))]
    wanted = wanted_of(of.images, of.manifest)
    policy = policy_of(deps, of)
    facts = gather_facts(deps, devices, wanted, _refused(deps, transfers))
    plan = plan_fleet(facts, wanted, policy)
    if _stops_for_approval(deps, of, plan, policy):
        return
    if of.state != "planning" and not of.approved_by:
        plan = hold_back(plan, policy, _spent_on_others(deps, of, plan))
    _fail_unplannable(deps, of, members, plan)
    versions = _agent_versions(deps, [planned.device for planned in plan if planned.state in ("planned", "ready")])
    doable = [planned for planned in plan if planned.device.device_id in versions]
    deps.store.sets.record_plan(
        of.set_id,
        [transfer for planned in doable for transfer in _transfers(planned)],
        versions,
        deps.now(),
        max_attempts=deps.settings.max_attempts,
    )
    deps.store.sets.move(of.set_id, "planning", "preparing", ORCHESTRATOR, deps.now())


def _is_due(member: Member, transfers: Sequence[Transfer]) -> bool:
    """Of members in transit only those with a transfer that lost its source."""
    return member.state != "in_transit" or any(
        (transfer.state in UNSENT and transfer.patch_id is None) or transfer.state == "source_missing"
        for transfer in transfers
    )


def _refused(deps: Deps, transfers: Mapping[str, Sequence[Transfer]]) -> dict[tuple[str, str], frozenset[str]]:
    """Sources that are not planned again: those reported missing; in the last attempt all, for it must succeed."""
    return {
        (device_id, transfer.image_id): frozenset(transfer.refused_sources) | _doubtful(deps, transfer)
        for device_id, of_device in transfers.items()
        for transfer in of_device
        if transfer.refused_sources
    }


def _doubtful(deps: Deps, transfer: Transfer) -> frozenset[str]:
    if transfer.attempt < deps.settings.max_attempts:
        return frozenset()
    return frozenset(image.image_id for image in deps.store.devices.images_on(transfer.device_id))


def _stops_for_approval(deps: Deps, of: DeploymentSet, plan: Sequence[PlannedDevice], policy: Policy) -> bool:
    """Hold a new set for a person; devices that come later than the approval of a set are covered by it.

    Those that come later in a set that needed none are held back one by one (planning.plan.hold_back).
    """
    reasons = () if of.approved_by else needs_approval(plan, policy)
    if not reasons or of.state != "planning":
        return False
    total = sum(planned.spending.bytes for planned in plan)
    deps.store.sets.ask_approval(of.set_id, total, "; ".join(reasons)[:1000], deps.now())
    return True


def _spent_on_others(deps: Deps, of: DeploymentSet, plan: Sequence[PlannedDevice]) -> int:
    here = {planned.device.device_id for planned in plan}
    figures = deps.store.sets.figures_of_members(of.set_id)
    return sum(its.planned_bytes for device_id, its in figures.items() if device_id not in here)


def _fail_unplannable(deps: Deps, of: DeploymentSet, members: Sequence[Member], plan: Sequence[PlannedDevice]) -> None:
    states = {member.device_id: member.state for member in members}
    for planned in plan:
        if planned.state != "failed":
            continue
        device_id, reason = planned.device.device_id, {"code": planned.code, "detail": planned.detail}
        if states[device_id] == "waiting_inventory":
            deps.store.sets.move_member(of.set_id, device_id, "waiting_inventory", "planned", ORCHESTRATOR, deps.now())
        old = "in_transit" if states[device_id] == "in_transit" else "planned"
        deps.store.sets.move_member(of.set_id, device_id, old, "failed", ORCHESTRATOR, deps.now(), **reason)


def _transfers(planned: PlannedDevice) -> list[PlannedTransfer]:
    return [
        PlannedTransfer(
            device_id=planned.device.device_id,
            image_id=image.image_id,
            reference=image.reference,
            already_present=image.already_present,
            sources=image.sources,
            profile=image.profile,
            estimated_bytes=image.estimated_bytes,
            full_bytes=image.full_bytes,
            priority=image.priority,
            unregistered=image.unregistered,
        )
        for image in planned.images
    ]


def _agent_versions(deps: Deps, devices: Sequence[Device]) -> dict[str, int]:
    """``$version`` of each device's deployment now: a release over another one is a conflict.

    Devices whose hub does not answer are left out; they are planned in the next round, the others go on.
    """
    found = {}
    for device in devices:
        hub = deps.hubs.get(device.hub)
        try:
            twin = hub.module_twin(device.device_id, "$edgeAgent") if hub else None
        except DependencyError as error:
            log.warning("%s is planned later: %s", device.device_id, error)
            continue
        found[device.device_id] = twin.version if twin else 0
    return found
