"""The service side of an IoT hub by its REST interface, as the local hubs of the embedded host serve it.

The same paths and bodies as Azure IoT Hub: twins of modules, queries, deployments. Plain HTTP, because it only ever
talks to this machine.
Source: learn.microsoft.com/rest/api/iothub/service (devices/get-twin, query, configuration/apply-on-edge-device).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from imagedelta.errors import ContentError, RequestError
from services.clock import utc_now
from services.hub_connection import HubConnection
from services.hub_documents import PAGE, agent_queries, deployment_document, read_deployment, read_tags, read_twin
from services.hub_rest import Answer, HubRest
from services.ports import Clock, Deployment, DeviceTags, Twin

T = TypeVar("T")

_MAX_MODULES = 50
"""An IoT Edge deployment holds at most 50 modules. Source: IoT Hub quotas."""
_MORE_PAGES = 3
"""A query may be answered in smaller pages than were asked for; one that goes on beyond that has no end."""


class LocalHub:
    """The port ``Hub``."""

    def __init__(
        self, name: str, connection: HubConnection, *, client: httpx.Client | None = None, now: Clock = utc_now
    ) -> None:
        """Args:
        name: For messages.
        connection: Of the hub's service policy.
        """
        self._rest = HubRest(name, connection, client=client, now=now)

    def module_twin(self, device_id: str, module_id: str) -> Twin | None:
        answer = self._rest.ask("GET", _twin_path(device_id, module_id))
        return None if answer.status == 404 else self._twin(self._rest.value(answer))

    def agents(self, device_ids: Collection[str]) -> Mapping[str, Twin]:
        wanted, found = set(device_ids), dict[str, Twin]()
        for query, most in agent_queries(device_ids):
            for document in self._rows(query, most):
                device_id = document.get("deviceId") if isinstance(document, Mapping) else None
                if isinstance(device_id, str) and device_id in wanted:
                    found[device_id] = self._twin(document)
        return found

    def update_desired(self, device_id: str, module_id: str, patch: Mapping[str, Any]) -> Twin:
        answer = self._rest.ask("PATCH", _twin_path(device_id, module_id), {"properties": {"desired": dict(patch)}})
        self._require(answer, f"{device_id}/{module_id}")
        return self._twin(self._rest.value(answer))

    def device_tags(self, device_id: str) -> DeviceTags | None:
        answer = self._rest.ask("GET", _device_path(device_id))
        return None if answer.status == 404 else self._read(read_tags, self._rest.value(answer))

    def set_tags(self, device_id: str, patch: Mapping[str, Any], *, etag: str) -> None:
        match = {"If-Match": f'"{etag}"'}
        answer = self._rest.ask("PATCH", _device_path(device_id), {"tags": dict(patch)}, match, judged=(404, 412))
        self._require(answer, f"device {device_id}")
        if answer.status == 412:
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
        path = f"/devices/{quote(device_id, safe='')}/applyConfigurationContent"
        self._require(self._rest.ask("POST", path, {"modulesContent": dict(modules_content)}), f"device {device_id}")

    def deployments(self) -> Sequence[Deployment]:
        answer = self._rest.ask("GET", "/configurations", judged=())
        found = self._rest.value(answer)
        if not isinstance(found, list):
            raise self._rest.unanswered("the deployments are not a list")
        edge = [one for one in found if isinstance(one, Mapping) and _is_of_edge(one)]
        return [self._read(read_deployment, one) for one in edge]

    def create_deployment(self, deployment: Deployment) -> None:
        path = _deployment_path(deployment.deployment_id)
        if self._rest.ask("PUT", path, deployment_document(deployment), judged=(409,)).status != 409:
            return
        there = self._rest.value(self._rest.ask("GET", path, judged=()))
        if self._read(read_deployment, there) != deployment:
            raise RequestError(
                f"hub {self._rest.name} has another deployment {deployment.deployment_id}",
                code="hub.deployment_exists",
                status=409,
            )

    def delete_deployment(self, deployment_id: str) -> None:
        self._rest.ask("DELETE", _deployment_path(deployment_id), headers={"If-Match": "*"})

    def _rows(self, query: str, most: int) -> Iterator[Any]:
        marker: dict[str, str] = {}
        for _ in range(most + _MORE_PAGES):
            headers = {"x-ms-max-item-count": str(PAGE), **marker}
            answer = self._rest.ask("POST", "/devices/query", {"query": query}, headers)
            page = self._rest.value(answer)
            if not isinstance(page, list):
                raise self._rest.unanswered("a query was not answered by a list")
            yield from page
            token = answer.headers.get("x-ms-continuation", "")
            if not token:
                return
            if not token.isascii():
                raise self._rest.unanswered("a query whose next page cannot be asked for")
            marker = {"x-ms-continuation": token}
        raise self._rest.unanswered("a query has no last page")

    def _twin(self, document: object) -> Twin:
        return self._read(read_twin, document)

    def _read(self, reader: Callable[[object], T], document: object) -> T:
        try:
            return reader(document)
        except ContentError as error:
            raise self._rest.unanswered(str(error)) from error

    def _require(self, answer: Answer, what: str) -> None:
        if answer.status == 404:
            raise RequestError(f"hub {self._rest.name} has no {what}", code="hub.unknown_device", status=404)


def _device_path(device_id: str) -> str:
    return f"/twins/{quote(device_id, safe='')}"


def _twin_path(device_id: str, module_id: str) -> str:
    return f"{_device_path(device_id)}/modules/{quote(module_id, safe='')}"


def _deployment_path(deployment_id: str) -> str:
    return f"/configurations/{quote(deployment_id, safe='')}"


def _is_of_edge(document: Mapping[str, Any]) -> bool:
    """Configurations of device or module twins are not ours to speak of."""
    content = document.get("content")
    return not isinstance(content, Mapping) or "modulesContent" in content


def _settings(twin: Twin) -> dict[str, Any]:
    return {"properties.desired": dict(twin.desired)}
