"""A hub of which triggers only ask the version of a deployment."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from services.ports import Deployment, DeviceTags, HubDevices, Twin


class VersionedHub:
    def __init__(self, version: int | None = None) -> None:
        self.version = version
        self.room = 1

    def module_twin(self, device_id: str, module_id: str) -> Twin | None:
        return None if self.version is None else Twin({}, {}, self.version, "")

    def agents(self, device_ids: Collection[str]) -> Mapping[str, Twin]:
        raise AssertionError("triggers ask for one device")

    def devices_with(self, module_id: str, after: str | None) -> HubDevices:
        raise AssertionError("triggers never read a hub's devices")

    def update_desired(self, device_id: str, module_id: str, patch: Mapping[str, Any]) -> Twin:
        raise AssertionError("triggers never write twins")

    def device_tags(self, device_id: str) -> DeviceTags | None:
        raise AssertionError("triggers never read tags")

    def set_tags(self, device_id: str, patch: Mapping[str, Any], *, etag: str) -> None:
        raise AssertionError("triggers never write tags")

    def modules_content(self, device_id: str) -> Mapping[str, Any] | None:
        raise AssertionError("triggers never read deployments")

    def apply_content(self, device_id: str, modules_content: Mapping[str, Any], *, on: int) -> None:
        raise AssertionError("triggers never release")

    def deployments(self) -> Sequence[Deployment]:
        raise AssertionError("triggers never read deployments")

    def create_deployment(self, deployment: Deployment) -> None:
        raise AssertionError("triggers never deploy")

    def delete_deployment(self, deployment_id: str) -> None:
        raise AssertionError("triggers never deploy")
