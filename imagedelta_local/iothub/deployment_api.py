"""Deployments by target condition, as the service side of a local hub orders them and devices get them.

Source: Azure IoT Hub REST reference, configurations, API version 2021-04-12.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import web

from imagedelta_local.iothub.answers import HubError, json_body
from imagedelta_local.iothub.deployments import Deployment, DeploymentStore, content_for, ordered, states_for
from imagedelta_local.iothub.documents import twin_document
from imagedelta_local.iothub.store import HubStore, Identity
from imagedelta_local.iothub.twins import Properties

_AGENT = "$edgeAgent"


class DeploymentApi:
    """Handlers, called inside the guard of ``ServiceApi``."""

    def __init__(self, store: HubStore) -> None:
        self._store = store
        self._deployments = DeploymentStore(store)

    async def put(self, request: web.Request) -> web.StreamResponse:
        hub, deployment_id = request.match_info["hub"], request.match_info["deployment"]
        order = ordered(deployment_id, await json_body(request))
        with self._store.transaction():
            self._deployments.add(hub, order)
            self.give_all(hub)
        return web.json_response(_document(order), headers={"ETag": f'"{order.etag}"'})

    async def get(self, request: web.Request) -> web.StreamResponse:
        found = self._require(request)
        return web.json_response(_document(found), headers={"ETag": f'"{found.etag}"'})

    async def all(self, request: web.Request) -> web.StreamResponse:
        return web.json_response([_document(one) for one in self._deployments.all(request.match_info["hub"])])

    async def delete(self, request: web.Request) -> web.StreamResponse:
        found, hub = self._require(request), request.match_info["hub"]
        if request.headers.get("If-Match", "*").strip().strip('"') not in ("*", found.etag):
            raise HubError("PreconditionFailed", "the etag is not that of the present version", 412)
        with self._store.transaction():
            self._deployments.delete(hub, found.deployment_id)
            self.give_all(hub)
        return web.Response(status=204)

    def give_all(self, hub: str) -> None:
        """Give every device what the deployments say; inside a transaction."""
        if deployments := self._deployments.all(hub):
            for device in self._store.devices(hub):
                self._give(device, deployments)

    def shown(self, identity: Identity) -> dict[str, Any]:
        """A twin as the service sees it, an $edgeAgent's with what the deployments are to its device."""
        document = twin_document(identity)
        device = self._store.identity(identity.hub, identity.device) if identity.module == _AGENT else None
        deployments = self._deployments.all(identity.hub) if device is not None else []
        if device is None or not deployments:
            return document
        return {**document, "configurations": states_for(twin_document(device), deployments)}

    def give(self, device: Identity) -> None:
        """The same for one device, which is new or has other tags."""
        if deployments := self._deployments.all(device.hub):
            self._give(device, deployments)

    def _give(self, device: Identity, deployments: list[Deployment]) -> None:
        content = content_for(twin_document(device), deployments) if device.edge else None
        if content is not None:
            there = {module: self._store.identity(device.hub, device.device, module) for module in content}
            changed = {
                module: desired
                for module, desired in content.items()
                if (known := there[module]) is None or known.desired != desired
            }
            deploy(self._store, device, [*content, *content.get(_AGENT, {}).get("modules", {})], changed)

    def _require(self, request: web.Request) -> Deployment:
        wanted = request.match_info["deployment"]
        for one in self._deployments.all(request.match_info["hub"]):
            if one.deployment_id == wanted:
                return one
        raise HubError("ConfigurationNotFound", f"there is no deployment {wanted}", 404)


def deploy(store: HubStore, device: Identity, named: Iterable[str], desired: Mapping[str, Properties]) -> None:
    """Have the modules that are named, and set the desired properties of those that have any."""
    for module in dict.fromkeys(named):
        identity = store.identity(device.hub, device.device, module)
        if identity is None:
            identity = Identity.new(device.hub, device.device, module, edge=True)
            store.put(identity)
        if module in desired:
            identity.change_desired(desired[module])
            store.put(identity)


def _document(deployment: Deployment) -> dict[str, Any]:
    return {
        "id": deployment.deployment_id,
        "schemaVersion": "1.0",
        "labels": {},
        "content": {"modulesContent": deployment.content},
        "contentType": "assignment",
        "targetCondition": deployment.condition,
        "createdTimeUtc": deployment.created,
        "lastUpdatedTimeUtc": deployment.created,
        "priority": deployment.priority,
        "systemMetrics": {"results": {}, "queries": {}},
        "metrics": {"results": {}, "queries": {}},
        "etag": deployment.etag,
    }
