"""See whether a device runs what was released to it, as its $edgeAgent reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.records import Member, Release
from planning.applied import agent_view, replaced_modules
from services.deps import Deps


def confirm_member(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"setId", "deviceId"}`` -> ``{"state": released|applied|apply_failed}``.

    A device that has not seen the manifest yet stays released, however long its link is down. One that has seen
    it and whose modules do not run after ``settings.apply_timeout`` is apply_failed. So is one whose deployment
    names other images by now: what was released can no longer come to run.
    """
    set_id, device_id = payload["setId"], payload["deviceId"]
    release = deps.store.releases.release(set_id, device_id)
    member = next((one for one in deps.store.sets.members(set_id) if one.device_id == device_id), None)
    hub = deps.hubs.get(release.hub) if release else None
    twin = hub.module_twin(device_id, "$edgeAgent") if hub else None
    if release is None or member is None or member.state != "released" or twin is None:
        return {"state": member.state if member else "unknown"}
    view = agent_view(twin.reported, release.version, _images(release))
    if view.state == "applied":
        deps.store.releases.confirm(set_id, device_id, "applied", None, None, deps.now())
    elif other := replaced_modules(twin.desired, _images(release)):
        detail = f"the deployment of {device_id} has been given other images for {', '.join(other)}"
        deps.store.releases.confirm(set_id, device_id, "apply_failed", "release.overtaken", detail, deps.now())
    elif view.state == "unhealthy" and _is_late(deps, member):
        deps.store.releases.confirm(set_id, device_id, "apply_failed", "release.unhealthy", view.detail, deps.now())
    else:
        return {"state": "released", "detail": view.detail}
    return {"state": "applied" if view.state == "applied" else "apply_failed"}


def _images(release: Release) -> dict[str, str]:
    modules = release.content["$edgeAgent"]["properties.desired"]["modules"]
    return {name: str(modules[name]["settings"]["image"]) for name in release.modules}


def _is_late(deps: Deps, member: Member) -> bool:
    return member.released_at is not None and deps.now() - member.released_at > deps.settings.apply_timeout
