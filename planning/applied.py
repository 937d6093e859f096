"""Whether a device runs what was released to it, as its $edgeAgent reports.

Source: Microsoft Learn, "Properties of the IoT Edge agent and hub module twins".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from planning.layers import family_of


@dataclass(frozen=True)
class AgentTwin:
    """What of the $edgeAgent twin is looked at."""

    desired: Mapping[str, Any]
    reported: Mapping[str, Any]
    version: int
    seen_at: datetime | None
    """When the hub was last told which version the device has seen."""
    layers: Collection[str] = ()
    """Deployments by target condition that the device meets."""


@dataclass(frozen=True)
class Released:
    """What must run, and since when it may be expected to."""

    state: str
    """Of the member: released or apply_failed."""
    version: int
    """``$version`` of the desired properties that the release brought."""
    images: Mapping[str, str]
    """module -> image that must be running."""
    released_at: datetime
    seen_at: datetime | None
    """Since when the device has known the manifest, as far as was found before."""
    layer_id: str | None = None
    """The layer that brings it, where the hub does that by itself; then ``version`` says nothing."""


@dataclass(frozen=True)
class Verdict:
    """``state`` of the member: applied, apply_failed, or as it was."""

    state: str
    seen_at: datetime | None
    code: str | None = None
    detail: str | None = None
    final: bool = False
    """Nothing that the device does can change it any more."""


@dataclass(frozen=True)
class AgentView:
    """``state``: applied; behind (the device has not yet seen the manifest); unhealthy."""

    state: str
    detail: str


def judge(released: Released, agent: AgentTwin, now: datetime, apply_timeout: timedelta) -> Verdict:
    """A device that has not seen the manifest stays released, however long its link is down.

    One that has seen it, and whose modules do not run ``apply_timeout`` later, is apply_failed; it heals when they
    run after all. So is one whose deployment names other images by now, and that one never heals: what was released
    to it can no longer come to run.
    """
    if released.layer_id is not None:
        missing = replaced_modules(agent.desired, released.images)
        if missing:
            return _not_given(released, released.layer_id, missing, agent, now - released.released_at > apply_timeout)
        released = replace(released, version=agent.version)
    view = agent_view(agent.reported, released.version, released.images)
    seen_at = None if view.state == "behind" else released.seen_at or _first_seen(released, agent, now)
    if view.state == "applied":
        return Verdict("applied", seen_at, final=True)
    other = replaced_modules(agent.desired, released.images) if agent.version >= released.version else ()
    if other:
        detail = f"the deployment has been given other images for {', '.join(other)}"
        return Verdict("apply_failed", seen_at, "release.overtaken", detail, final=True)
    if view.state == "unhealthy" and seen_at is not None and now - seen_at > apply_timeout:
        return Verdict("apply_failed", seen_at, "release.unhealthy", view.detail)
    return Verdict(released.state, seen_at, detail=view.detail)


def _not_given(released: Released, layer_id: str, missing: Collection[str], agent: AgentTwin, late: bool) -> Verdict:
    """The hub has not laid the layer over the device's base: not yet, not any more, or never."""
    later = [one for one in agent.layers if one.startswith(family_of(layer_id)) and one != layer_id]
    if later and layer_id not in agent.layers:
        detail = f"the device has been given {', '.join(sorted(later))} instead"
        return Verdict("apply_failed", released.seen_at, "release.overtaken", detail, final=True)
    detail = f"the hub has not given {layer_id} to the device: it lacks {', '.join(missing)}"
    if late:
        return Verdict("apply_failed", released.seen_at, "release.not_given", detail)
    return Verdict(released.state, released.seen_at, detail=detail)


def _first_seen(released: Released, agent: AgentTwin, now: datetime) -> datetime:
    """Not before it was released; and not after now, whatever clock the hub has."""
    return min(max(agent.seen_at or now, released.released_at), now)


def agent_view(reported: Mapping[str, Any], version: int, images: Mapping[str, str]) -> AgentView:
    """Args:
    reported: Reported properties of $edgeAgent.
    version: ``$version`` of its desired properties that the release brought.
    images: module -> image that must be running.
    """
    seen = reported.get("lastDesiredVersion")
    if not isinstance(seen, int) or seen < version:
        return AgentView("behind", f"the device has seen version {seen or 'none'} of {version}")
    status = reported.get("lastDesiredStatus")
    code = status.get("code") if isinstance(status, Mapping) else None
    if code != 200:
        return AgentView("unhealthy", f"edgeAgent answers {code} to version {seen}")
    wrong = [text for name, image in sorted(images.items()) if (text := _trouble(reported, name, image))]
    return AgentView("unhealthy", "; ".join(wrong)) if wrong else AgentView("applied", f"version {seen} runs")


def replaced_modules(desired: Mapping[str, Any], images: Mapping[str, str]) -> tuple[str, ...]:
    """The modules that the desired properties of $edgeAgent no longer start from ``images``."""
    return tuple(sorted(name for name, image in images.items() if _image_of(desired, name) != image))


def _image_of(properties: Mapping[str, Any], name: str) -> Any:
    found: Any = properties
    for key in ("modules", name, "settings", "image"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _trouble(reported: Mapping[str, Any], name: str, image: str) -> str | None:
    modules = reported.get("modules")
    module = modules.get(name) if isinstance(modules, Mapping) else None
    if not isinstance(module, Mapping):
        return f"{name} does not exist"
    running = _image_of(reported, name)
    if running != image:
        return f"{name} runs {running} instead of {image}"
    if module.get("runtimeStatus") != "running" and not _may_stand(module):
        return f"{name} is {module.get('runtimeStatus')}"
    return None


def _may_stand(module: Mapping[str, Any]) -> bool:
    """Ordered to stand, or a job that runs once and ended well."""
    if module.get("status") == "stopped":
        return True
    once = module.get("restartPolicy") in ("never", "on-failure", "on-unhealthy")
    return once and module.get("runtimeStatus") == "stopped" and module.get("exitCode") == 0
