"""Plan a batch of a set's members: read what their devices have, decide what they lack, record it.

Whatever fails for one device fails it alone; what may heal by itself is left for later. Nothing is started here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from activities.failures import final_failure
from contracts.records import DeploymentSet, Device
from planning.facts import FleetFacts, Wanted
from planning.plan import PlannedDevice, PlannedImage, Policy, plan_fleet
from services.deps import Deps
from services.plan_facts import Agents, agents_of, gather_facts, policy_of, wanted_of
from services.store_port import Decisions, PlannedMember, PlannedTransfer, Unplanned


@dataclass(frozen=True)
class _Batch:
    set_id: str
    facts: FleetFacts
    agents: Agents
    wanted: Sequence[Wanted]
    policy: Policy


def plan_batch(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"setId", "range": [first device, last device]}`` -> ``{"devices": int}``; members that are planned already
    are not planned again."""
    set_id, (first, last) = payload["setId"], payload["range"]
    of = deps.store.sets.deployment_set(set_id)
    members = deps.store.sets.unplanned(set_id, (first, last), deps.now())
    if of is not None and members:
        _plan(deps, _read(deps, of, members), [member.device for member in members])
    return {"devices": len(members)}


# ---------------------------------------------------------------- reading


def _read(deps: Deps, of: DeploymentSet, members: Sequence[Unplanned]) -> _Batch:
    wanted = wanted_of(of.images, of.manifest)
    facts = gather_facts(deps, [member.device for member in members], wanted)
    facts = replace(facts, refused=_refused(members, facts, deps.settings.max_attempts))
    agents = agents_of(deps, [device for device in facts.devices if device.state == "active"])
    return _Batch(of.set_id, facts, agents, wanted, policy_of(deps, of))


def _refused(
    members: Sequence[Unplanned], facts: FleetFacts, max_attempts: int
) -> dict[tuple[str, str], frozenset[str]]:
    """Sources that are not planned again: those reported missing; in the last attempt all, for it must succeed."""
    refused = {}
    for member in members:
        device_id = member.device.device_id
        for image_id, (sources, attempt) in member.refused.items():
            here = {image.image_id for image in facts.present.get(device_id, ())} if attempt >= max_attempts else ()
            refused[device_id, image_id] = sources.union(here)
    return refused


# ---------------------------------------------------------------- deciding, and recording


def _plan(deps: Deps, batch: _Batch, devices: Sequence[Device]) -> None:
    """Where one device's plan cannot be made or recorded, halves are tried until it is alone."""
    try:
        deps.store.sets.record_plan(batch.set_id, _decide(batch, devices), deps.now())
    except Exception as error:
        reason = final_failure(error)
        if len(devices) == 1:
            failed = Decisions(failed={devices[0].device_id: reason})
            deps.store.sets.record_plan(batch.set_id, failed, deps.now())
            return
        middle = len(devices) // 2
        _plan(deps, batch, devices[:middle])
        _plan(deps, batch, devices[middle:])


def _decide(batch: _Batch, devices: Sequence[Device]) -> Decisions:
    plan = plan_fleet(replace(batch.facts, devices=tuple(devices)), batch.wanted, batch.policy)
    agents, states = batch.agents, {planned.device.device_id: planned.state for planned in plan}
    refused = {one: (error.code, str(error)) for one, error in agents.refused.items() if one in states}
    impossible = {
        planned.device.device_id: (planned.code or "plan.impossible", planned.detail or "")
        for planned in plan
        if planned.state == "failed"
    }
    doable = [planned for planned in plan if planned.state in ("planned", "ready")]
    return Decisions(
        planned=[
            _member(planned, agents.versions[planned.device.device_id])
            for planned in doable
            if planned.device.device_id in agents.versions
        ],
        failed={**refused, **impossible},
        put_off=[planned.device.device_id for planned in doable if planned.device.device_id in agents.silent],
        silent=[device_id for device_id, state in states.items() if state == "waiting_inventory"],
    )


def _member(planned: PlannedDevice, agent_version: int) -> PlannedMember:
    device = planned.device
    transfers = tuple(_transfer(device.device_id, image) for image in planned.images)
    return PlannedMember(device.device_id, agent_version, device.last_inventory_at, transfers)


def _transfer(device_id: str, image: PlannedImage) -> PlannedTransfer:
    return PlannedTransfer(
        device_id=device_id,
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
