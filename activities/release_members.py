"""Set the manifest of a set on devices: claimed under a lease, read first, written once, recorded.

Source: docs/adr/0003-states-are-data.md; the merge is planning.release.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from activities.due_work import SERVICE_PAUSE, Run, Subject, pause_of, rest_of
from activities.failures import final_failure
from activities.refused_release import Refused
from activities.release_by_layer import goes_by_layer, put_into_layer
from contracts import work
from contracts.records import DeploymentSet, Device, Member, Release
from contracts.states import ON_DEVICE
from contracts.work import pause_after
from imagedelta.errors import DependencyError, RequestError
from planning.release import NewContent, new_content
from planning.versions import Versions
from services.deps import Deps
from services.ports import Hub, Twin
from services.store_port import MemberClaim, MemberDue

_AGENT = "$edgeAgent"


class ReleaseMembers:
    """Items are members that are due."""

    name = work.RELEASE
    is_remote = True

    def due(self, deps: Deps, at: datetime, limit: int) -> Sequence[MemberDue]:
        """No more than the hubs take now: the others stay due, and are not claimed in vain."""
        room = {name: hub.room for name, hub in deps.hubs.items()}
        return deps.store.releases.due(at, limit, room)

    def do(self, run: Run, item: MemberDue) -> None:
        deps = run.deps
        claim = deps.store.releases.claim(item.set_id, item.device_id, deps.settings.claim_lease, deps.now())
        if claim is None:
            return
        of = deps.store.sets.deployment_set(item.set_id)
        device = deps.store.devices.device(item.device_id)
        if of is None or of.manifest is None or device is None:
            return
        try:
            release = set_manifest(deps, of, of.manifest, claim.member, device)
            run.silence.heard(item.hub)
        except Refused as refusal:
            deps.store.releases.refuse(claim, refusal.state, refusal.code, str(refusal), deps.now())
        except DependencyError as error:
            _unanswered(run, item, claim, error)
        except Exception as error:
            deps.store.releases.refuse(claim, "failed", *final_failure(error), deps.now())
        else:
            deps.store.releases.record(release, deps.now())

    def put_off(self, deps: Deps, item: MemberDue, until: datetime) -> None:
        deps.store.releases.put_off(item.set_id, item.device_id, until)

    def subject(self, item: MemberDue) -> Subject:
        return Subject([item.set_id], {"set_id": item.set_id, "device_id": item.device_id, "hub": item.hub})


def _unanswered(run: Run, item: MemberDue, claim: MemberClaim, error: DependencyError) -> None:
    """The next try reads the twin first, and finds it if this one was written after all."""
    deps, now = run.deps, run.deps.now()
    rest = rest_of(error)
    again = now + (rest or pause_of(error, pause_after(claim.tries)))
    reason = {"code": error.code, "detail": str(error)}
    deps.store.releases.put_off(item.set_id, item.device_id, again, claim=claim, **reason)
    if rest is None and run.silence.unheard(item.hub):
        deps.store.releases.put_off_hub(item.hub, now + pause_of(error, SERVICE_PAUSE), now)


def set_manifest(deps: Deps, of: DeploymentSet, manifest: Mapping[str, Any], member: Member, device: Device) -> Release:
    """Raises: Refused; DependencyError when the hub does not answer."""
    hub = _hub(deps, device)
    twin = hub.module_twin(device.hub_device_id, _AGENT)  # first: a change while the rest is read is noticed
    if twin is None:
        raise _not_in_hub(device)
    digests = _local_digests(deps, of, device)
    if goes_by_layer(of, device.device_id, twin):
        return put_into_layer(deps, of, manifest, device, hub, twin, digests)
    return _written_to_it(deps, of, manifest, member, device, hub, twin, digests)


def _written_to_it(
    deps: Deps,
    of: DeploymentSet,
    manifest: Mapping[str, Any],
    member: Member,
    device: Device,
    hub: Hub,
    twin: Twin,
    local_digests: Mapping[str, str | None],
) -> Release:
    before = hub.modules_content(device.hub_device_id)
    if before is None:
        raise _not_in_hub(device)
    new = new_content(
        manifest,
        before,
        workstream=of.workstream,
        owners=deps.store.releases.workstream_modules(device.device_id),
        registry_address=device.registry_address,
        local_digests=local_digests,
    )
    versions = _versions(deps, member)
    if new.changes and not versions.are_ours_until(twin.version):
        raise _conflict(member, twin)
    return Release(
        set_id=of.set_id,
        device_id=device.device_id,
        hub=device.hub,
        workstream=of.workstream,
        modules=tuple(sorted(new.images)),
        content=new.content,
        previous=before,
        version=_written(hub, device.hub_device_id, new, twin) if new.changes else twin.version,
        applied_by_us=new.changes,
        released_at=deps.now(),
        base_version=twin.version if new.changes else versions.before(twin.version),
    )


def _versions(deps: Deps, member: Member) -> Versions:
    planned = member.agent_version
    own = {} if planned is None else deps.store.releases.own_versions(member.device_id, planned)
    return Versions(planned, own)


def _written(hub: Hub, device_id: str, new: NewContent, twin: Twin) -> int:
    """Write it; the version it has afterwards, which is the next one: nobody else's change is taken for ours."""
    try:
        hub.apply_content(device_id, new.content, on=twin.version)
    except RequestError as error:
        if error.code == "hub.changed":  # the next try reads it again, and finds the conflict if it is one
            raise Refused(str(error), code=error.code, state="ready") from error
        raise
    return twin.version + 1


def _hub(deps: Deps, device: Device) -> Hub:
    hub = deps.hubs.get(device.hub)
    if hub is None:
        raise Refused(f"hub {device.hub} is not configured", code="request.unknown_hub", state="failed")
    return hub


def _not_in_hub(device: Device) -> Refused:
    return Refused(f"the hub has no {_AGENT} of {device.device_id}", code="request.not_in_hub", state="failed")


def _conflict(member: Member, twin: Twin) -> Refused:
    return Refused(
        f"somebody else changed the deployment of {member.device_id}: version {twin.version} instead of "
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
