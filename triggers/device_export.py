"""A device's bundles for a person who carries them: what lies in its outbox, and for how long it can be read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from contracts.outbox import SHARED, outbox_container
from contracts.records import Transfer
from contracts.responses import DeviceExport, ExportedBundle, NotExported
from contracts.states import UNSENT
from services.deps import Deps

LIFETIME = timedelta(hours=12)
_MOST = 500
"""Transfers of each state; a device has few at a time."""
_TO_FETCH = ("published", "receiving", "blocked")


def export_of(device_id: str, deps: Deps) -> DeviceExport:
    """Raises: DependencyError."""
    ready, not_ready, ends = [], [], deps.now() + LIFETIME
    for transfer in _under_way(device_id, deps):
        found = _bundle(transfer, deps)
        if found is None:
            not_ready.append(NotExported.of(transfer))
        else:
            ready.append(found[0])
            ends = min(ends, found[1])
    ready.sort(key=lambda bundle: bundle.bundle)
    return DeviceExport(device_id=device_id, expires_at=ends, bundles=ready, not_ready=not_ready)


def _under_way(device_id: str, deps: Deps) -> Iterator[Transfer]:
    for state in ("in_transit", *sorted(UNSENT)):
        yield from deps.store.transfers.list_transfers(
            device_id=device_id, image_id=None, state=state, set_id=None, limit=_MOST, after=None
        ).items


def _bundle(transfer: Transfer, deps: Deps) -> tuple[ExportedBundle, datetime] | None:
    """The bundle and until when it can be read; None where there is nothing to carry."""
    container, name = outbox_container(transfer.device_id), transfer.bundle
    if transfer.state not in _TO_FETCH or transfer.received_at or not name or transfer.bundle_bytes is None:
        return None
    if deps.blobs.info(container, name) is None:
        return None
    url, ends = _grant(container, name, deps)
    patch_url = None
    if name.endswith(SHARED):
        patch = deps.store.patches.patch(transfer.patch_id or "")
        if patch is None or patch.sha256 is None:
            return None
        patch_url, patch_ends = _grant("patches", patch.sha256, deps)
        ends = min(ends, patch_ends)
    bundle = ExportedBundle(
        transfer_id=transfer.transfer_id,
        reference=transfer.reference,
        image_id=transfer.image_id,
        bundle=name,
        bundle_bytes=transfer.bundle_bytes,
        url=url,
        patch_url=patch_url,
    )
    return bundle, ends


def _grant(container: str, name: str, deps: Deps) -> tuple[str, datetime]:
    grant = deps.blobs.blob_grant(container, name, LIFETIME)
    return f"{deps.blobs.container_url(container)}/{name}?{grant.query}", grant.expires_at
