"""Whether a device runs what was released, as its $edgeAgent reports.

Source: Microsoft Learn, "Properties of the IoT Edge agent and hub module twins".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class AgentView:
    """``state``: applied; behind (the device has not yet seen the manifest); unhealthy."""

    state: str
    detail: str


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
