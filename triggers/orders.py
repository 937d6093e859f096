"""From what a caller asks to what a deployment set is: manifest resolved, references frozen to image IDs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.records import DeploymentSet, Device
from contracts.requests import DeviceSelection, Owner, StartDeployment, StartRollback
from imagedelta.errors import RequestError
from planning import manifest as manifests
from planning.dry_run import page_of, plan_answer
from planning.plan import plan_fleet
from services.deps import Deps
from services.plan_facts import gather_facts, policy_of, wanted_of
from services.registries.origin_rules import forbidden

_NAMED = 10
"""Names repeated in an error message."""


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


def check_origins(order: Order, devices: Sequence[Device], deps: Deps) -> None:
    """Raises: RequestError ``plan.registry``: a device may not have one of the images because of where it came from."""
    for reference, by_platform in order.images.items():
        wanted = {device.device_id: image_id for device in devices if (image_id := device.image_of(by_platform))}
        refused = forbidden(deps, set(wanted.values()), wanted)
        names = sorted(one for one, image_id in wanted.items() if one in refused.get(image_id, ()))
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            raise RequestError(
                f"{reference} came from no registry that may feed {', '.join(names[:_NAMED])}{more}",
                code="plan.registry",
            )


def dry_run(order: Order, after: str | None, deps: Deps) -> Mapping[str, Any]:
    """What the set would move; nothing is stored. ``after``: the device behind which a further page begins."""
    wanted = wanted_of(order.images, order.manifest)
    chosen = deps.store.sets.select_devices(order.request)
    check_origins(order, chosen, deps)
    devices = page_of(chosen, after)
    plan = plan_fleet(gather_facts(deps, devices, wanted), wanted, policy_of(deps, order.request))
    return plan_answer(plan, order.request, after)


def rollback_order(old: DeploymentSet, request: StartRollback, deps: Deps) -> Order:
    """The set that the devices of ``old`` ran before it, ordered again for those that ``old`` was released to.

    Raises: RequestError ``request.no_previous`` (409): nothing was released, or the devices had no set of this
    workstream before, or not all the same one.
    """
    before = deps.store.sets.ran_before(old.set_id)
    if not before:
        raise _no_previous(f"{old.set_id} was released to no device")
    previous = _common_previous(old, before, deps)
    order = StartDeployment(
        name=request.name or f"Back from {old.name}"[:128],
        workstream=old.workstream,
        owner=request.owner or Owner(name=old.owner_name, email=old.owner_email),
        devices=DeviceSelection(ids=list(before)),
        manifest=dict(previous.manifest or {}),
        release="device" if old.release_policy == "device" else "set",
        release_by=old.release_by,
    )
    return Order(order, previous.images, previous.manifest)


def _common_previous(old: DeploymentSet, before: Mapping[str, str | None], deps: Deps) -> DeploymentSet:
    lost = [device_id for device_id, set_id in before.items() if set_id is None]
    if lost:
        names = ", ".join(lost[:_NAMED])
        raise _no_previous(f"nothing of workstream {old.workstream} was released before to {names}")
    distinct = sorted({set_id for set_id in before.values() if set_id is not None})
    if len(distinct) > 1:
        raise _no_previous(f"the devices ran different sets before: {', '.join(distinct[:_NAMED])}")
    found = deps.store.sets.deployment_set(distinct[0])
    if found is None:
        raise _no_previous(f"{distinct[0]} is no longer kept")
    return found


def _no_previous(why: str) -> RequestError:
    return RequestError(why, code="request.no_previous", status=409)
