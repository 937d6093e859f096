"""What a person does with a local hub: register devices and modules, look at twins. By the hub's REST interface.

Source: Azure IoT Hub REST reference (identities, twins, applyConfigurationContent), API version 2021-04-12.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any
from urllib.parse import quote, quote_plus

import httpx

from imagedelta.errors import DependencyError
from imagedelta_local.iothub.sas import sign

_API_VERSION = "2021-04-12"
_TOKEN_SECONDS = 3600


@dataclass(frozen=True)
class ModuleTwin:
    desired: Mapping[str, Any]
    reported: Mapping[str, Any]
    version: int
    """``$version`` of the desired properties."""


class HubService:
    """The service side of one hub. A context manager."""

    def __init__(self, connection: str) -> None:
        """Args:
        connection: ``HostName=…;SharedAccessKeyName=…;SharedAccessKey=…``; a local hub's HostName is a URL.
        """
        parts = dict(part.partition("=")[::2] for part in connection.split(";"))
        self._url = parts["HostName"].rstrip("/")
        self._policy, self._key = parts["SharedAccessKeyName"], parts["SharedAccessKey"]
        self._client = httpx.Client(timeout=30, trust_env=False)

    def __enter__(self) -> HubService:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def register_device(self, device: str, tags: Mapping[str, str]) -> None:
        """An IoT Edge device with its tags; $edgeAgent and $edgeHub come with it."""
        path = f"/devices/{quote(device, safe='')}"
        self._call("PUT", path, {"deviceId": device, "capabilities": {"iotEdge": True}})
        self._call("PATCH", f"/twins/{quote(device, safe='')}", {"tags": dict(tags)})

    def ensure_module(self, device: str, module: str) -> str:
        """Register device and module if need be; return the connection string that the module signs in with."""
        path = f"/devices/{quote(device, safe='')}"
        self._ensure(path, {"deviceId": device, "capabilities": {"iotEdge": True}})
        self._ensure(f"{path}/modules/{quote(module, safe='')}", {"deviceId": device, "moduleId": module})
        return self.module_connection(device, module)

    def module_connection(self, device: str, module: str) -> str:
        """The connection string that a module on the device signs in with; its manifest has registered it."""
        path = f"/devices/{quote(device, safe='')}/modules/{quote(module, safe='')}"
        document = self._call("GET", path)
        key = document["authentication"]["symmetricKey"]["primaryKey"]
        return f"HostName={self._url};DeviceId={device};ModuleId={module};SharedAccessKey={key}"

    def twin(self, device: str, module: str) -> ModuleTwin:
        document = self._call("GET", f"/twins/{quote(device, safe='')}/modules/{quote(module, safe='')}")
        desired = dict(document["properties"]["desired"])
        version = int(desired.pop("$version"))
        desired.pop("$metadata", None)
        return ModuleTwin(desired, document["properties"].get("reported", {}), version)

    def apply_content(self, device: str, modules_content: Mapping[str, Any]) -> None:
        """Set the device's modules: what ran on it before this deployment."""
        path = f"/devices/{quote(device, safe='')}/applyConfigurationContent"
        self._call("POST", path, {"modulesContent": dict(modules_content)})

    def _ensure(self, path: str, identity: Mapping[str, Any]) -> None:
        if self._answer("GET", path).status_code == HTTPStatus.NOT_FOUND:
            self._call("PUT", path, identity)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        answer = self._answer(method, path, body)
        if not answer.is_success:
            detail = f"hub {self._url}: {method} {path} answered {answer.status_code}"
            raise DependencyError(detail, code="dependency.hub")
        return dict(answer.json()) if answer.content else {}

    def _answer(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        """Raises: DependencyError ``dependency.hub`` when nothing answers."""
        try:
            return self._client.request(
                method,
                f"{self._url}{path}",
                params={"api-version": _API_VERSION},
                headers={"Authorization": self._token()},
                json=body,
            )
        except httpx.HTTPError as error:
            problem = f"hub {self._url} does not answer: {error or type(error).__name__}"
            raise DependencyError(problem, code="dependency.hub") from error

    def _token(self) -> str:
        expiry = str(int(time.time()) + _TOKEN_SECONDS)
        resource = quote_plus(self._url.partition("://")[2])
        signature = quote_plus(sign(self._key, resource, expiry))
        return f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={self._policy}"
