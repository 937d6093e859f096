"""A simulated hub asked request by request, within the limits of IoT Hub: for what a fleet costs its hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from imagedelta.errors import RequestError
from imagedelta_local.iothub.query import parse
from services.hubs.calls import Document, Rows, unanswered
from services.hubs.documents import deployment_document, read_deployment
from services.ports import Twin
from tests.hubs.limits import Limits, kind_of
from tests.simulators.hub import HubSimulator


class SimulatedCalls:
    """``HubCalls``. What is over the limits is refused as IoT Hub does: 429, with Retry-After."""

    def __init__(self, hub: HubSimulator, units: int, monotonic: Callable[[], float]) -> None:
        self.name = hub.name
        self.limits = Limits(units, monotonic)
        self._hub = hub

    def module_twin(self, device_id: str, module_id: str) -> Document | None:
        self._take("GET", f"/twins/{device_id}/modules/{module_id}")
        twin = self._hub.module_twin(device_id, module_id)
        return None if twin is None else _document(twin, device_id)

    def patch_desired(self, device_id: str, module_id: str, patch: Document) -> Document | None:
        self._take("PATCH", f"/twins/{device_id}/modules/{module_id}")
        try:
            return _document(self._hub.update_desired(device_id, module_id, patch), device_id)
        except RequestError:
            return None

    def device_twin(self, device_id: str) -> Document | None:
        self._take("GET", f"/twins/{device_id}")
        found = self._hub.device_tags(device_id)
        return None if found is None else {"deviceId": device_id, "tags": found.tags, "etag": found.etag}

    def patch_tags(self, device_id: str, patch: Document, etag: str) -> bool | None:
        self._take("PATCH", f"/twins/{device_id}")
        self._hub.set_tags(device_id, patch, etag=etag)
        return True

    def query(self, text: str, page: int, after: str | None) -> Rows:
        """Of $edgeAgents alone."""
        self._take("POST", "/devices/query")
        wanted = sorted(parse(text).devices or ())
        return Rows([_document(twin, device) for device, twin in self._hub.agents(wanted).items()], None)

    def apply(self, device_id: str, modules_content: Document) -> bool:
        self._take("POST", f"/devices/{device_id}/applyConfigurationContent")
        self._hub.apply_content(device_id, modules_content)
        return True

    def configurations(self) -> Sequence[Any]:
        self._take("GET", "/configurations")
        return [deployment_document(one) for one in self._hub.deployments()]

    def configuration(self, configuration_id: str) -> Document:
        return next(one for one in self.configurations() if one["id"] == configuration_id)

    def create_configuration(self, document: Document) -> bool:
        self._take("PUT", "/configurations/x")
        self._hub.create_deployment(read_deployment(document))
        return True

    def delete_configuration(self, configuration_id: str) -> None:
        self._take("DELETE", "/configurations/x")
        self._hub.delete_deployment(configuration_id)

    def _take(self, method: str, path: str) -> None:
        if rest := self.limits.rest(kind_of(method, path)):
            raise unanswered(self.name, "answered 429", timedelta(seconds=rest))


def _document(twin: Twin, device_id: str) -> Mapping[str, Any]:
    seen = {} if twin.seen_at is None else {"lastDesiredVersion": {"$lastUpdated": twin.seen_at.isoformat()}}
    return {
        "deviceId": device_id,
        "etag": twin.etag,
        "configurations": {name: {"status": state} for name, state in twin.configurations.items()},
        "properties": {
            "desired": {**twin.desired, "$version": twin.version},
            "reported": {**twin.reported, "$metadata": seen},
        },
    }
