"""The port ``Hub`` of a hub that answers as Azure IoT Hub does, whichever way it is asked (services.hubs.calls).

Source: learn.microsoft.com/rest/api/iothub/service (devices/get-twin, query, configuration/apply-on-edge-device).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from imagedelta.errors import ContentError, RequestError
from services.hubs.calls import Document, HubCalls, unanswered
from services.hubs.documents import (
    PAGE,
    agent_queries,
    deployment_document,
    module_query,
    read_deployment,
    read_tags,
    read_twin,
    tag_queries,
)
from services.ports import Deployment, DeviceTags, HubDevices, Twin

T = TypeVar("T")

_MAX_MODULES = 50
"""An IoT Edge deployment holds at most 50 modules. Source: IoT Hub quotas."""
_NO_BUDGET = 1_000_000
_MORE_PAGES = 3
"""A query may be answered in smaller pages than were asked for; one that goes on beyond that has no end."""


class IotHub:
    """The port ``Hub``."""

    def __init__(
        self, calls: HubCalls, idle: HubCalls | None = None, room: Callable[[], int] = lambda: _NO_BUDGET
    ) -> None:
        """Args:
        idle: For what can wait.
        room: How many manifests may be written now.
        """
        self._calls = calls
        self._idle = idle or calls
        self._room = room

    @property
    def room(self) -> int:
        return self._room()

    def module_twin(self, device_id: str, module_id: str) -> Twin | None:
        document = self._calls.module_twin(device_id, module_id)
        return None if document is None else self._twin(document)

    def agents(self, device_ids: Collection[str]) -> Mapping[str, Twin]:
        wanted, found = set(device_ids), dict[str, Twin]()
        for query, most in agent_queries(device_ids):
            for document in self._rows(query, most):
                device_id = document.get("deviceId") if isinstance(document, Mapping) else None
                if isinstance(device_id, str) and device_id in wanted:
                    found[device_id] = self._twin(document)
        return found

    def devices_with(self, module_id: str, after: str | None) -> HubDevices:
        page = self._idle.query(module_query(module_id), PAGE, after)
        ids = [
            one["deviceId"] for one in page.rows if isinstance(one, Mapping) and isinstance(one.get("deviceId"), str)
        ]
        found: dict[str, Mapping[str, Any]] = {}
        for query, most in tag_queries(ids):
            for document in self._rows(query, most):
                if isinstance(document, Mapping) and document.get("deviceId") in ids:
                    found[document["deviceId"]] = self._read(read_tags, document).tags
        return HubDevices(found, page.next)

    def update_desired(self, device_id: str, module_id: str, patch: Mapping[str, Any]) -> Twin:
        document = self._calls.patch_desired(device_id, module_id, patch)
        if document is None:
            raise self._unknown(f"{device_id}/{module_id}")
        return self._twin(document)

    def device_tags(self, device_id: str) -> DeviceTags | None:
        document = self._calls.device_twin(device_id)
        return None if document is None else self._read(read_tags, document)

    def set_tags(self, device_id: str, patch: Mapping[str, Any], *, etag: str) -> None:
        written = self._calls.patch_tags(device_id, patch, etag)
        if written is None:
            raise self._unknown(f"device {device_id}")
        if not written:
            raise RequestError(f"the twin of {device_id} is another by now", code="hub.changed", status=409)

    def modules_content(self, device_id: str) -> Mapping[str, Any] | None:
        agent = self.module_twin(device_id, "$edgeAgent")
        if agent is None:
            return None
        modules = agent.desired.get("modules")
        names = sorted(modules)[:_MAX_MODULES] if isinstance(modules, Mapping) else []
        twins = {name: self.module_twin(device_id, name) for name in ("$edgeHub", *names)}
        content = {"$edgeAgent": _settings(agent)}
        return content | {name: _settings(twin) for name, twin in twins.items() if twin is not None and twin.desired}

    def apply_content(self, device_id: str, modules_content: Mapping[str, Any], *, on: int) -> None:
        agent = self.module_twin(device_id, "$edgeAgent")
        if agent is not None and agent.version != on:
            raise RequestError(
                f"the deployment of {device_id} has version {agent.version} by now, not {on}",
                code="hub.changed",
                status=409,
            )
        if not self._calls.apply(device_id, modules_content):
            raise self._unknown(f"device {device_id}")

    def deployments(self) -> Sequence[Deployment]:
        found = self._calls.configurations()
        edge = [one for one in found if isinstance(one, Mapping) and _is_of_edge(one)]
        return [self._read(read_deployment, one) for one in edge]

    def create_deployment(self, deployment: Deployment) -> None:
        if self._calls.create_configuration(deployment_document(deployment)):
            return
        there = self._calls.configuration(deployment.deployment_id)
        if self._read(read_deployment, there) != deployment:
            raise RequestError(
                f"hub {self._calls.name} has another deployment {deployment.deployment_id}",
                code="hub.deployment_exists",
                status=409,
            )

    def delete_deployment(self, deployment_id: str) -> None:
        self._calls.delete_configuration(deployment_id)

    def _rows(self, query: str, most: int) -> Iterator[Any]:
        after: str | None = None
        for _ in range(most + _MORE_PAGES):
            page = self._calls.query(query, PAGE, after)
            yield from page.rows
            if not page.next:
                return
            after = page.next
        raise unanswered(self._calls.name, "a query has no last page")

    def _twin(self, document: object) -> Twin:
        return self._read(read_twin, document)

    def _read(self, reader: Callable[[object], T], document: object) -> T:
        try:
            return reader(document)
        except ContentError as error:
            raise unanswered(self._calls.name, str(error)) from error

    def _unknown(self, what: str) -> RequestError:
        return RequestError(f"hub {self._calls.name} has no {what}", code="hub.unknown_device", status=404)


def _is_of_edge(document: Document) -> bool:
    """Configurations of device or module twins are not ours to speak of."""
    content = document.get("content")
    return not isinstance(content, Mapping) or "modulesContent" in content


def _settings(twin: Twin) -> dict[str, Any]:
    return {"properties.desired": dict(twin.desired)}
