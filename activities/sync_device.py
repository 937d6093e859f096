"""Bring a device's module twin to what the cloud wants of it: outbox access, images to keep, bundles withdrawn."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from activities.patch_access import patch_access
from contracts.messages import DesiredProperties, OutboxAccess
from contracts.outbox import outbox_container, transfer_of
from contracts.records import Device
from contracts.states import BUNDLE_WANTED
from imagedelta.archives import sha256_id
from imagedelta.bundles import canonical_bytes
from imagedelta.errors import RequestError
from services.deps import Deps
from services.ports import Grant


def sync_device(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"deviceId"}`` -> ``{"written": bool}``; a retired device is left without an outbox.

    Why a twin cannot be written is kept with the device: people ask why nothing comes of it.
    """
    device = deps.store.devices.device(payload["deviceId"])
    if device is None:
        raise RequestError(f"there is no device {payload['deviceId']}", code="request.not_found")
    try:
        return _sync(deps, device)
    except RequestError as error:
        if error.code != device.twin_code:
            deps.store.devices.twin_refused(device.device_id, error.code)
        raise


def _sync(deps: Deps, device: Device) -> dict[str, Any]:
    hub = deps.hubs.get(device.hub)
    if hub is None:
        raise RequestError(f"hub {device.hub} is not configured", code="request.unknown_hub")
    _empty_outbox(deps, device)
    facts = deps.store.devices.desired_facts(device.device_id)
    digest = sha256_id(canonical_bytes({**facts, "hub": device.hub, "retired": device.state == "retired"}))
    if digest == device.desired_digest and device.outbox_renew_after and device.outbox_renew_after > deps.now():
        deps.store.devices.mark_synced(device.device_id, digest, device.outbox_renew_after)
        return {"written": False}  # nothing new to say: a twin's update costs bytes on the link
    grant = None if device.state == "retired" else _grant(deps, device)
    patches, patches_end = patch_access(deps.blobs, facts["patches"], deps.settings.patch_grant_lifetime)
    ends = [end for end in (grant and grant.expires_at, patches_end) if end]
    life = min(ends) - deps.now() if ends else deps.settings.grant_lifetime
    renew_after = deps.now() + life / 2
    wanted = _wanted(deps, device, {**facts, "patches": patches}, grant, renew_after)
    try:
        hub.update_desired(device.device_id, deps.settings.module_id, wanted)
    except RequestError as error:
        if device.state != "retired" or error.code != "hub.unknown_device":
            raise  # a retired device may be gone from its hub: nothing is left there to take back
    deps.store.devices.mark_synced(device.device_id, digest, renew_after)
    return {"written": True}


def _grant(deps: Deps, device: Device) -> Grant:
    return deps.blobs.read_grant(outbox_container(device.device_id), deps.settings.grant_lifetime)


def _wanted(
    deps: Deps, device: Device, facts: Mapping[str, Any], grant: Grant | None, renew_after: datetime
) -> dict[str, Any]:
    """The desired properties; ``outbox`` None deletes what a retired device had, ``patches`` None the last grants."""
    url = deps.blobs.container_url(outbox_container(device.device_id))
    outbox = grant and OutboxAccess(url=url, query=grant.query, renewAfter=renew_after.isoformat())
    desired = DesiredProperties.model_validate({**facts, "outbox": outbox})
    document = desired.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {**document, "outbox": document.get("outbox"), "patches": document.get("patches")}


def _empty_outbox(deps: Deps, device: Device) -> None:
    """Delete what is no longer to be fetched, so that no link carries it; for a retired device the outbox itself."""
    container = outbox_container(device.device_id)
    if device.state == "retired":
        deps.blobs.delete_container(container)
        return
    for blob in deps.blobs.list(container):
        if not _is_wanted(deps, blob.name):
            deps.blobs.delete(container, blob.name)


def _is_wanted(deps: Deps, name: str) -> bool:
    """Whether the bundle is of its transfer's present attempt and not yet on the device. Strangers' files stay."""
    of = transfer_of(name)
    if of is None:
        return True
    transfer = deps.store.transfers.transfer(of[0])
    return transfer is not None and transfer.attempt == of[1] and transfer.state in BUNDLE_WANTED
