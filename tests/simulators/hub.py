"""The service side of an IoT Hub in memory: module twins with versions, tags, deployments, calls counted.

Deployments by target condition reach devices as the local hub's do (imagedelta_local.iothub.deployments): at once.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from imagedelta.errors import RequestError
from imagedelta_local.iothub import deployments as by_condition
from services.clock import utc_now
from services.ports import Clock, Deployment, DeviceTags, HubDevices, Twin
from tests.simulators.calls import Calls

PAGE = 100
_AGENT, _HUB = "$edgeAgent", "$edgeHub"


@dataclass
class _Module:
    desired: dict[str, Any] = field(default_factory=dict)
    reported: dict[str, Any] = field(default_factory=dict)
    version: int = 1
    seen_at: datetime | None = None

    def replace(self, desired: Mapping[str, Any]) -> None:
        self.desired, self.version = copy.deepcopy(dict(desired)), self.version + 1


class HubSimulator:
    """The port ``Hub``."""

    def __init__(self, name: str, now: Clock = utc_now) -> None:
        self.name = name
        self._now = now
        self.calls = Calls()
        self.room = 1_000_000
        self.applied: list[tuple[str, Mapping[str, Any]]] = []
        """(device, modulesContent) of every deployment written, in order."""
        self._devices: dict[str, dict[str, _Module]] = {}
        self._deployments: dict[str, Deployment] = {}
        self._tags: dict[str, dict[str, Any]] = {}
        self._tags_written = 0

    def add_device(self, device_id: str, modules_content: Mapping[str, Any], *others: str) -> None:
        """A device that runs ``modules_content``, and has ``others`` as modules without desired properties."""
        modules = {name: _Module(_properties(part)) for name, part in modules_content.items()}
        self._devices[device_id] = modules | {name: _Module() for name in others if name not in modules}

    def module_twin(self, device_id: str, module_id: str) -> Twin | None:
        with self.calls.call("module_twin"):
            module = self._devices.get(device_id, {}).get(module_id)
            return None if module is None else self._twin(device_id, module_id, module)

    def agents(self, device_ids: Collection[str]) -> Mapping[str, Twin]:
        with self.calls.call("agents"):
            known = {device: self._devices.get(device, {}).get(_AGENT) for device in device_ids}
            return {device: self._twin(device, _AGENT, agent) for device, agent in known.items() if agent is not None}

    def devices_with(self, module_id: str, after: str | None) -> HubDevices:
        with self.calls.call("devices_with"):
            if after is not None and after not in self._devices:
                raise RequestError(f"the page behind {after} is not known", code="hub.refused")
            having = sorted(device for device, modules in self._devices.items() if module_id in modules)
            page = [device for device in having if after is None or device > after][:PAGE]
            more = page[-1] if page and page[-1] != having[-1] else None
            return HubDevices({device: copy.deepcopy(self._tags.get(device, {})) for device in page}, more)

    def remove_device(self, device_id: str) -> None:
        del self._devices[device_id]

    def update_desired(self, device_id: str, module_id: str, patch: Mapping[str, Any]) -> Twin:
        with self.calls.call("update_desired"):
            module = self._module(device_id, module_id)
            module.replace(_merged(module.desired, patch))
            return self._twin(device_id, module_id, module)

    def device_tags(self, device_id: str) -> DeviceTags | None:
        with self.calls.call("device_tags"):
            known = device_id in self._devices
            return DeviceTags(copy.deepcopy(self._tags.get(device_id, {})), self._etag()) if known else None

    def set_tags(self, device_id: str, patch: Mapping[str, Any], *, etag: str) -> None:
        with self.calls.call("set_tags"):
            self._module(device_id, _AGENT)
            if etag != self._etag():
                raise RequestError(f"{device_id} has other tags by now", code="hub.changed")
            self.tag(device_id, patch)

    def modules_content(self, device_id: str) -> Mapping[str, Any] | None:
        with self.calls.call("modules_content"):
            modules = self._devices.get(device_id)
            if modules is None or _AGENT not in modules:
                return None
            named = (_AGENT, _HUB, *modules[_AGENT].desired.get("modules", {}))
            found = {name: modules[name] for name in named if name in modules and modules[name].desired}
            return {name: {"properties.desired": copy.deepcopy(module.desired)} for name, module in found.items()}

    def apply_content(self, device_id: str, modules_content: Mapping[str, Any], *, on: int | None = None) -> None:
        """``on`` None is another pipeline, which does not look before it writes."""
        with self.calls.call("apply_content"):
            version = self._module(device_id, _AGENT).version
            if on not in (None, version):
                raise RequestError(f"{device_id} has version {version}, not {on}", code="hub.changed")
            self.applied.append((device_id, copy.deepcopy(modules_content)))
            self._apply(self._devices[device_id], modules_content)

    def deployments(self) -> Sequence[Deployment]:
        with self.calls.call("deployments"):
            return list(self._deployments.values())

    def create_deployment(self, deployment: Deployment) -> None:
        """Kept, and given to the devices that meet its condition."""
        with self.calls.call("create_deployment"):
            known = self._deployments.setdefault(deployment.deployment_id, copy.deepcopy(deployment))
            if known != deployment:
                raise RequestError(f"there is another {deployment.deployment_id}", code="hub.deployment_exists")
            self._give()

    def delete_deployment(self, deployment_id: str) -> None:
        with self.calls.call("delete_deployment"):
            self._deployments.pop(deployment_id, None)
            self._give()

    def tag(self, device_id: str, patch: Mapping[str, Any]) -> None:
        """By whoever may: nobody looks first."""
        self._tags[device_id] = _merged(self._tags.get(device_id, {}), patch)
        self._tags_written += 1
        self._give([device_id])

    def report(self, device_id: str, module_id: str, reported: Mapping[str, Any]) -> None:
        """What the device says of a module."""
        module = self._module(device_id, module_id)
        module.reported, module.seen_at = dict(reported), self._now()

    def change_by_somebody_else(self, device_id: str, modules: Mapping[str, Any]) -> None:
        """Another pipeline adds modules to the device's deployment."""
        agent = self._module(device_id, _AGENT)
        agent.replace(_merged(agent.desired, {"modules": modules}))

    def images(self, device_id: str) -> dict[str, str]:
        """module -> image, as the device's deployment stands."""
        modules = self._module(device_id, _AGENT).desired.get("modules", {})
        return {name: str(module["settings"]["image"]) for name, module in modules.items()}

    def _give(self, device_ids: Collection[str] | None = None) -> None:
        """Let devices have what the deployments say, as far as they meet any."""
        orders = self._orders()
        for device_id in self._devices if device_ids is None else device_ids:
            content = by_condition.content_for(self._document(device_id), orders)
            if content is None:
                continue
            modules = self._devices[device_id]
            for name in (*content, *content.get(_AGENT, {}).get("modules", {})):
                module = modules.setdefault(name, _Module())
                if name in content and module.desired != content[name]:
                    module.replace(content[name])

    def _orders(self) -> list[by_condition.Deployment]:
        return [
            by_condition.Deployment(
                number, one.deployment_id, one.target_condition, one.priority, one.modules_content, "", ""
            )
            for number, one in enumerate(self._deployments.values())
        ]

    def _document(self, device_id: str) -> dict[str, Any]:
        return {"deviceId": device_id, "tags": self._tags.get(device_id, {})}

    def _etag(self) -> str:
        return f"tags-{self._tags_written}"

    def _twin(self, device_id: str, module_id: str, module: _Module) -> Twin:
        found = by_condition.states_for(self._document(device_id), self._orders()) if module_id == _AGENT else {}
        states = {name: state["status"].lower() for name, state in found.items()}
        etag = f"etag-{module.version}"
        desired = copy.deepcopy(module.desired)
        return Twin(desired, dict(module.reported), module.version, etag, module.seen_at, states)

    def _module(self, device_id: str, module_id: str) -> _Module:
        try:
            return self._devices[device_id][module_id]
        except KeyError as error:
            raise RequestError(f"hub {self.name} has no {device_id}/{module_id}", code="hub.unknown_device") from error

    def _apply(self, modules: dict[str, _Module], content: Mapping[str, Any]) -> None:
        for name in set(modules[_AGENT].desired.get("modules", {})) - set(_desired_modules(content)):
            modules.pop(name, None)
        for name in _desired_modules(content):
            modules.setdefault(name, _Module())
        for name, part in content.items():
            modules.setdefault(name, _Module()).replace(_properties(part))


def _desired_modules(content: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = _properties(content.get(_AGENT, {})).get("modules", {})
    return found


def _properties(part: Mapping[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(dict(part.get("properties.desired", {})))


def _merged(old: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            before = merged.get(key)
            merged[key] = _merged(before if isinstance(before, Mapping) else {}, value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged
