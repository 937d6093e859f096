"""Bring a device's module twin to what the cloud wants of it: outbox access, images to keep, bundles withdrawn."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from contracts.messages import DesiredProperties, OutboxAccess
from contracts.outbox import outbox_container
from contracts.records import Device
from imagedelta.archives import sha256_id
from imagedelta.bundles import canonical_bytes
from imagedelta.errors import RequestError
from services.deps import Deps


def sync_device(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"deviceId"}`` -> ``{"written": bool}``; a retired device is left without an outbox."""
    device = deps.store.devices.device(payload["deviceId"])
    if device is None:
        raise RequestError(f"there is no device {payload['deviceId']}", code="request.not_found")
    hub = deps.hubs.get(device.hub)
    if hub is None:
        raise RequestError(f"hub {device.hub} is not configured", code="request.unknown_hub")
    renew_after = deps.now() + deps.settings.grant_lifetime / 2
    wanted = _wanted(deps, device, renew_after)
    hub.update_desired(device.device_id, deps.settings.module_id, wanted)
    _empty_withdrawn(deps, device, wanted)
    deps.store.devices.mark_synced(device.device_id, sha256_id(canonical_bytes(wanted)), renew_after)
    return {"written": True}


def _wanted(deps: Deps, device: Device, renew_after: datetime) -> dict[str, Any]:
    """The desired properties; ``outbox`` None deletes what a retired device had."""
    facts = deps.store.devices.desired_facts(device.device_id)
    container = outbox_container(device.device_id)
    retired = device.state == "retired"
    outbox = (
        None
        if retired
        else OutboxAccess(
            url=deps.blobs.container_url(container),
            query=deps.blobs.read_grant(container, deps.settings.grant_lifetime),
            renewAfter=renew_after.isoformat(),
        )
    )
    desired = DesiredProperties.model_validate({**facts, "outbox": outbox})
    document = desired.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {**document, "outbox": document.get("outbox")}


def _empty_withdrawn(deps: Deps, device: Device, wanted: Mapping[str, Any]) -> None:
    """Delete bundles that were withdrawn, all of them for a retired device, so that no link carries them."""
    container = outbox_container(device.device_id)
    revoked = tuple(f"-{bundle_id}.bundle" for bundle_id in wanted["revokedBundles"])
    for blob in deps.blobs.list(container):
        if device.state == "retired" or blob.name.removesuffix(".chunks").endswith(revoked):
            deps.blobs.delete(container, blob.name)
