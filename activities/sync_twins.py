"""Bring devices' module twins to what the cloud wants of them: outbox access, images to keep, bundles withdrawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from activities.due_work import SERVICE_PAUSE, Run, Subject, pause_of, rest_of
from activities.patch_access import lose_patch, patch_access
from contracts import work
from contracts.messages import DesiredProperties, OutboxAccess
from contracts.outbox import outbox_container, transfer_of
from contracts.records import Device
from contracts.work import pause_after
from imagedelta.archives import sha256_id
from imagedelta.bundles import canonical_bytes
from imagedelta.errors import DependencyError, ImageDeltaError, RequestError
from planning.desired import GRANT_BYTES, MAX_BYTES, TOO_LARGE, fitted
from services.deps import Deps
from services.ports import Grant
from services.store_port import SyncClaim


class SyncTwins:
    """Items are devices."""

    name = work.SYNC
    is_remote = True

    def due(self, deps: Deps, at: datetime, limit: int) -> Sequence[str]:
        return deps.store.devices.to_sync(at, limit)

    def do(self, run: Run, device_id: str) -> None:
        """Why a twin cannot be written is kept with the device: people ask why nothing comes of it."""
        deps = run.deps
        claim = deps.store.devices.claim_sync(device_id, deps.settings.claim_lease, deps.now())
        if claim is None:
            return
        try:
            _sync(deps, claim)
            run.silence.heard(_service(claim.device.hub))
        except DependencyError as error:
            _unanswered(run, claim, error)
        except ImageDeltaError as error:
            deps.store.devices.sync_failed(claim, error.code, deps.now() + pause_after(claim.tries))

    def put_off(self, deps: Deps, device_id: str, until: datetime) -> None:
        """Its claim runs out by itself."""

    def subject(self, device_id: str) -> Subject:
        return Subject(ids={"device_id": device_id})


def _service(hub: str) -> str:
    """Counted apart from what releases ask of the hub: blobs are needed here too."""
    return f"twins of {hub}"


def _unanswered(run: Run, claim: SyncClaim, error: DependencyError) -> None:
    deps, device, now, rest = run.deps, claim.device, run.deps.now(), rest_of(error)
    again = now + (rest or pause_of(error, pause_after(claim.tries)))
    deps.store.devices.sync_failed(claim, device.twin_code, again)
    if rest is None and run.silence.unheard(_service(device.hub)):
        deps.store.devices.put_off_syncs(device.hub, now + pause_of(error, SERVICE_PAUSE), now)


def _sync(deps: Deps, claim: SyncClaim) -> None:
    """A retired device is left without an outbox, whatever its hub says to it: so what opened that opens nothing."""
    device = claim.device
    retired = device.state == "retired"
    _empty_outbox(deps, device)
    hub = deps.hubs.get(device.hub)
    if hub is None:
        raise RequestError(f"hub {device.hub} is not configured", code="request.unknown_hub")
    wanted = deps.store.devices.desired_facts(device.device_id)
    facts, cut = fitted(wanted, MAX_BYTES - GRANT_BYTES * len(wanted["patches"]))
    code = TOO_LARGE if cut else None
    digest = sha256_id(canonical_bytes({**facts, "hub": list(device.binding), "retired": retired}))
    if digest == device.desired_digest and (retired or _is_fresh(deps, device)):
        deps.store.devices.synced(claim, digest, device.outbox_renew_after, code)
        return  # nothing new to say: a twin's update costs bytes on the link
    if lost := [patch for patch in facts["patches"] if deps.blobs.info("patches", patch) is None]:
        for patch in lost:
            lose_patch(deps, patch)
        raise ImageDeltaError(f"patches are built anew: {', '.join(lost)}", code="patch.rebuilding")
    grant = None if retired else _grant(deps, device)
    patches, patches_end = patch_access(deps.blobs, facts["patches"], deps.settings.patch_grant_lifetime)
    ends = [end for end in (grant and grant.expires_at, patches_end) if end]
    renew_after = deps.now() + (min(ends) - deps.now()) / 2 if ends else None
    document = _document(deps, device, {**facts, "patches": patches}, grant, renew_after)
    try:
        hub.update_desired(device.hub_device_id, deps.settings.module_id, document)
    except RequestError as error:
        if not retired or error.code != "hub.unknown_device":
            raise  # a retired device may be gone from its hub: nothing is left there to take back
    deps.store.devices.synced(claim, digest, renew_after, code)


def _is_fresh(deps: Deps, device: Device) -> bool:
    return device.outbox_renew_after is not None and device.outbox_renew_after > deps.now()


def _grant(deps: Deps, device: Device) -> Grant:
    return deps.blobs.read_grant(outbox_container(device.device_id), deps.settings.grant_lifetime)


def _document(
    deps: Deps, device: Device, facts: Mapping[str, Any], grant: Grant | None, renew_after: datetime | None
) -> dict[str, Any]:
    """The desired properties. What a twin is not given stays in it, what is None is deleted: ``outbox`` of a retired
    device, ``patches`` after the last grant, ``link`` and each part of it."""
    outbox = None
    if grant and renew_after:
        url = deps.blobs.container_url(outbox_container(device.device_id))
        outbox = OutboxAccess(url=url, query=grant.query, renewAfter=renew_after.isoformat())
    desired = DesiredProperties.model_validate({**facts, "outbox": outbox})
    document = desired.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {**document, "link": facts.get("link"), **{name: document.get(name) for name in ("outbox", "patches")}}


def _empty_outbox(deps: Deps, device: Device) -> None:
    """Delete what is no longer to be fetched, so that no link carries it; for a retired device the outbox itself.

    The outbox is read first: a bundle that comes meanwhile is wanted.
    """
    container = outbox_container(device.device_id)
    if device.state == "retired":
        deps.blobs.delete_container(container)
        return
    names = [blob.name for blob in deps.blobs.list(container)]
    wanted = deps.store.transfers.wanted_bundles(device.device_id)
    for name in names:
        of = transfer_of(name)
        if of is not None and of not in wanted:  # strangers' files stay
            deps.blobs.delete(container, name)
