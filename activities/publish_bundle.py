"""Put a sealed bundle into a device's outbox: a small head and tail of its own around the shared patch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from activities.failures import final_failure
from contracts.outbox import bundle_name, outbox_container
from contracts.records import Device, Patch, Transfer
from imagedelta.bundles import BundleHead, Sealer, compose
from imagedelta.errors import RequestError
from services.deps import Deps
from services.ports import BlobRange

_DIGITS = {"urgent": 1, "normal": 2, "background": 3}


def publish_bundle(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"transferId"}`` -> ``{"published": bool}``; False when there is nothing (more) to publish.

    The number is given once per attempt, so a second run composes the same bytes under the same name.
    """
    transfer = deps.store.transfers.assign_number(payload["transferId"], deps.now())
    patch = deps.store.patches.patch(transfer.patch_id) if transfer.patch_id else None
    device = deps.store.devices.device(transfer.device_id)
    if transfer.state != "building" or patch is None or patch.state != "verified" or device is None:
        return {"published": False}
    try:
        name, size = _compose(deps, transfer, patch, device)
    except Exception as error:
        code, detail = final_failure(error)
        deps.store.transfers.fail_publishing(transfer.transfer_id, transfer.attempt, code, detail, deps.now())
        return {"published": False, "code": code}
    done = deps.store.transfers.mark_published(transfer.transfer_id, transfer.attempt, name, size, deps.now())
    return {"published": done}


def _compose(deps: Deps, transfer: Transfer, patch: Patch, device: Device) -> tuple[str, int]:
    """Store the bundle after its chunk list, so that whoever sees the bundle finds the list."""
    head = _head(deps, transfer, patch)
    before, after = compose(head, _sealer(deps, device), patch.crc32 or 0, head.patch_bytes)
    container = outbox_container(device.device_id)
    name = bundle_name(head.priority, head.number, transfer.transfer_id, transfer.attempt)
    blob = patch.blob or ""
    deps.blobs.put(container, f"{name}.chunks", [deps.blobs.read("patches", f"{blob}.chunks")])
    part = BlobRange("patches", blob, 0, head.patch_bytes)
    return name, deps.blobs.compose_if_absent(container, name, [before, part, after]).size


def _head(deps: Deps, transfer: Transfer, patch: Patch) -> BundleHead:
    target = deps.store.images.image(transfer.image_id)
    return BundleHead(
        bundle_id=transfer.bundle_id,
        device_id=transfer.device_id,
        transfer_id=transfer.transfer_id,
        attempt=transfer.attempt,
        number=transfer.number or 0,
        floor=transfer.floor or 0,
        target_image_id=transfer.image_id,
        source_image_ids=patch.sources,
        reference=transfer.reference,
        platform=target.platform if target else "",
        patch_sha256=patch.sha256 or "",
        patch_bytes=patch.bytes or 0,
        chunks_sha256=(patch.chunks or "").removeprefix("sha256:"),
        memory_bytes=patch.memory_bytes or 0,
        full_bytes=transfer.full_bytes,
        priority=_DIGITS.get(transfer.priority, 2),
    )


def _sealer(deps: Deps, device: Device) -> Sealer:
    """The preferred key that the device says it trusts.

    Raises: RequestError ``seal.no_trusted_key``: the device would refuse every bundle.
    """
    for key_id, sealer in deps.sealers.items():
        if key_id in device.trusted_keys:
            return sealer
    raise RequestError(
        f"{device.device_id} trusts the keys {', '.join(device.trusted_keys) or 'none'}, "
        f"the cloud has {', '.join(deps.sealers) or 'none'}",
        code="seal.no_trusted_key",
    )
