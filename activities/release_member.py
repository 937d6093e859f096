"""Set the manifest of a set on one device: claimed under a lease, read first, written once, recorded.

Source: docs/adr/0003-states-are-data.md; the merge is planning.release.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from activities.failures import final_failure
from contracts.records import DeploymentSet, Device, Member, Release
from contracts.states import ON_DEVICE
from imagedelta.errors import ImageDeltaError, RequestError
from planning.release import NewContent, new_content
from services.deps import Deps
from services.ports import Hub


class Refused(ImageDeltaError):
    """The device's manifest is not set now; ``state`` is what the member becomes."""

    def __init__(self, message: str, *, code: str, state: str) -> None:
        super().__init__(message, code=code)
        self.state = state


def release_member(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"setId", "deviceId"}`` -> ``{"released": bool}``; False when it may not be (any more), or was refused."""
    set_id, device_id = payload["setId"], payload["deviceId"]
    member = deps.store.releases.claim(set_id, device_id, deps.settings.claim_lease, deps.now())
    found = deps.store.sets.deployment_set(set_id)
    device = deps.store.devices.device(device_id)
    if member is None or found is None or found.manifest is None or device is None:
        return {"released": False}
    try:
        release = _set_manifest(deps, found, found.manifest, member, device)
    except Refused as refusal:
        deps.store.releases.refuse(set_id, device_id, refusal.state, refusal.code, str(refusal), deps.now())
        return {"released": False, "code": refusal.code}
    except Exception as error:
        code, detail = final_failure(error)
        deps.store.releases.refuse(set_id, device_id, "failed", code, detail, deps.now())
        return {"released": False, "code": code}
    return {"released": deps.store.releases.record(release, deps.now())}


def _set_manifest(
    deps: Deps, of: DeploymentSet, manifest: Mapping[str, Any], member: Member, device: Device
) -> Release:
    hub = _hub(deps, device)
    twin = hub.module_twin(device.device_id, "$edgeAgent")  # first: a change while the rest is read is noticed
    before = hub.modules_content(device.device_id)
    if before is None or twin is None:
        raise Refused(f"the hub has no $edgeAgent of {device.device_id}", code="request.not_in_hub", state="failed")
    new = new_content(
        manifest,
        before,
        workstream=of.workstream,
        owners=deps.store.releases.workstream_modules(device.device_id),
        registry_address=device.registry_address,
        local_digests=_local_digests(deps, of, device),
    )
    _refuse_conflict(member, twin.version, new)
    if new.changes:
        _apply(hub, device.device_id, new, on=twin.version)
        written = hub.module_twin(device.device_id, "$edgeAgent")
        twin = written or twin
    return Release(
        set_id=of.set_id,
        device_id=device.device_id,
        hub=device.hub,
        workstream=of.workstream,
        modules=tuple(sorted(new.images)),
        content=new.content,
        previous=before,
        version=twin.version,
        applied_by_us=new.changes,
        released_at=deps.now(),
    )


def _apply(hub: Hub, device_id: str, new: NewContent, *, on: int) -> None:
    try:
        hub.apply_content(device_id, new.content, on=on)
    except RequestError as error:
        if error.code == "hub.changed":  # the next try reads it again, and finds the conflict if it is one
            raise Refused(str(error), code=error.code, state="ready") from error
        raise


def _hub(deps: Deps, device: Device) -> Hub:
    hub = deps.hubs.get(device.hub)
    if hub is None:
        raise Refused(f"hub {device.hub} is not configured", code="request.unknown_hub", state="failed")
    return hub


def _refuse_conflict(member: Member, version: int, new: NewContent) -> None:
    """Content that stands already is ours, from a run that died before it was recorded, or nobody's quarrel."""
    if new.changes and member.agent_version is not None and version != member.agent_version:
        raise Refused(
            f"somebody else changed the deployment of {member.device_id}: version {version} instead of "
            f"{member.agent_version} when it was planned",
            code="release.conflict",
            state="conflict",
        )


def _local_digests(deps: Deps, of: DeploymentSet, device: Device) -> dict[str, str | None]:
    """reference -> digest in the device's registry; images that neither inventory nor report shows are not released."""
    here = {image.image_id: image.local_digest for image in deps.store.devices.images_on(device.device_id)}
    by_report = {
        transfer.image_id: transfer.local_digest
        for transfer in deps.store.transfers.of_member(of.set_id, device.device_id)
        if transfer.state in ON_DEVICE
    }
    digests: dict[str, str | None] = {}
    for reference, by_platform in of.images.items():
        image_id = device.image_of(by_platform)
        if image_id not in here and image_id not in by_report:
            raise Refused(f"{reference} is not on {device.device_id}", code="release.image_missing", state="ready")
        digests[reference] = here.get(image_id) or by_report.get(image_id)
    return digests
