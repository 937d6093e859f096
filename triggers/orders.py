"""From what a caller asks to what a deployment set is: manifest resolved, references frozen to image IDs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.records import DeploymentSet, Member, Page
from contracts.requests import DeviceSelection, Owner, StartDeployment, StartRollback
from contracts.states import STANDING
from imagedelta.errors import RequestError
from planning import manifest as manifests
from planning.dry_run import plan_answer
from planning.plan import plan_fleet
from services.deps import Deps
from services.plan_facts import gather_facts, policy_of, wanted_of

_MAX_SETS_LOOKED_AT = 1000
"""How far back a rollback looks for what the devices ran before."""


@dataclass(frozen=True)
class Order:
    """A request that can be stored or planned as it stands."""

    request: StartDeployment
    images: Mapping[str, Mapping[str, str]]
    """reference -> platform -> image ID."""
    manifest: Mapping[str, Any] | None


def read_order(request: StartDeployment, deps: Deps) -> Order:
    """Raises: RequestError ``request.unresolved_placeholder``, ``request.unknown_image``, ``request.invalid``."""
    manifest = None
    references: Sequence[str] = tuple(dict.fromkeys(request.images or ()))
    if request.manifest is not None:
        manifest = manifests.resolve(request.manifest, request.values)
        references = manifests.module_images(manifest)
    images = deps.store.images.resolve(references)
    missing = sorted(set(references) - set(images))
    if missing:
        raise RequestError(f"not registered: {', '.join(missing)}", code="request.unknown_image")
    return Order(request, images, manifest)


def dry_run(order: Order, deps: Deps) -> Mapping[str, Any]:
    """What the set would move; nothing is stored."""
    wanted = wanted_of(order.images, order.manifest)
    facts = gather_facts(deps, deps.store.sets.select_devices(order.request), wanted)
    plan = plan_fleet(facts, wanted, policy_of(deps, order.request))
    return plan_answer(plan, order.request)


def rollback_order(old: DeploymentSet, request: StartRollback, deps: Deps) -> Order:
    """The set that the devices of ``old`` ran before it, ordered again for those that ``old`` was released to.

    Raises: RequestError ``request.no_previous`` (409): nothing was released, or the devices had no set of this
    workstream before, or not all the same one.
    """
    devices = [member.device_id for member in deps.store.sets.members(old.set_id) if member.state in STANDING]
    if not devices:
        raise RequestError(f"{old.set_id} was released to no device", code="request.no_previous", status=409)
    previous = _common_previous(old, devices, deps)
    order = StartDeployment(
        name=request.name or f"Back from {old.name}"[:128],
        workstream=old.workstream,
        owner=request.owner or Owner(name=old.owner_name, email=old.owner_email),
        devices=DeviceSelection(ids=devices),
        manifest=dict(previous.manifest or {}),
        release="device" if old.release_policy == "device" else "set",
    )
    return Order(order, previous.images, previous.manifest)


def _common_previous(old: DeploymentSet, devices: Sequence[str], deps: Deps) -> DeploymentSet:
    found = _previous_sets(old, devices, deps)
    lost = sorted(set(devices) - set(found))
    if lost:
        raise RequestError(
            f"nothing of workstream {old.workstream} was released before to {', '.join(lost[:10])}",
            code="request.no_previous",
            status=409,
        )
    distinct = {previous.set_id: previous for previous in found.values()}
    if len(distinct) > 1:
        raise RequestError(
            f"the devices ran different sets before: {', '.join(sorted(distinct))}",
            code="request.no_previous",
            status=409,
        )
    return next(iter(distinct.values()))


def _previous_sets(old: DeploymentSet, devices: Sequence[str], deps: Deps) -> dict[str, DeploymentSet]:
    """For each device the newest set older than ``old`` that was released to it."""
    found: dict[str, DeploymentSet] = {}
    for candidate in _older_sets(old, deps):
        released = _released_devices(deps.store.sets.members(candidate.set_id))
        for device_id in released.intersection(devices) - found.keys():
            found[device_id] = candidate
        if len(found) == len(devices):
            break
    return found


def _older_sets(old: DeploymentSet, deps: Deps) -> Iterator[DeploymentSet]:
    seen: list[DeploymentSet] = []
    after: str | None = None
    while len(seen) < _MAX_SETS_LOOKED_AT:
        page: Page = deps.store.sets.list_sets(
            owner=None, state=None, workstream=old.workstream, limit=100, after=after
        )
        seen += [item for item in page.items if item.ordinal < old.ordinal and item.manifest is not None]
        after = page.next
        if after is None:
            break
    return iter(sorted(seen, key=lambda item: -item.ordinal))


def _released_devices(members: Sequence[Member]) -> set[str]:
    return {member.device_id for member in members if member.state in STANDING}
