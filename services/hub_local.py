"""The service side of an IoT hub by its REST interface, as the local hubs of the embedded host serve it.

The same paths and bodies as Azure IoT Hub: twins of modules, applyConfigurationContent, a SAS token made of
the connection string. Plain HTTP, because it only ever talks to this machine.
Source: learn.microsoft.com/rest/api/iothub/service (devices/get-twin, configuration/apply-on-edge-device).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus

import httpx

from imagedelta.archives.json_reading import parse_object
from imagedelta.errors import ContentError, DependencyError, RequestError
from services.clock import utc_now
from services.hub_connection import HubConnection
from services.ports import Clock, Twin

_API_VERSION = "2021-04-12"
_TOKEN_SECONDS = 3600
_TIMEOUT = 30.0
_MAX_MODULES = 50
"""An IoT Edge deployment holds at most 50 modules. Source: IoT Hub quotas."""


class LocalHub:
    """The port ``Hub``."""

    def __init__(
        self, name: str, connection: HubConnection, *, client: httpx.Client | None = None, now: Clock = utc_now
    ) -> None:
        """Args:
        name: For messages.
        connection: Of the hub's service policy.
        """
        self._host, self._policy, self._key = connection.host, connection.policy, connection.key
        self._base = self._host if "://" in self._host else f"http://{self._host}"
        self._name = name
        self._client = client or httpx.Client(timeout=_TIMEOUT, trust_env=False)
        self._now = now

    def module_twin(self, device_id: str, module_id: str) -> Twin | None:
        answer = self._call("GET", f"/twins/{quote(device_id, safe='')}/modules/{quote(module_id, safe='')}")
        return None if answer.status_code == 404 else _twin(self._json(answer))

    def update_desired(self, device_id: str, module_id: str, patch: Mapping[str, Any]) -> Twin:
        answer = self._call(
            "PATCH",
            f"/twins/{quote(device_id, safe='')}/modules/{quote(module_id, safe='')}",
            {"properties": {"desired": dict(patch)}},
        )
        if answer.status_code == 404:
            raise RequestError(
                f"hub {self._name} has no {device_id}/{module_id}", code="hub.unknown_device", status=404
            )
        return _twin(self._json(answer))

    def modules_content(self, device_id: str) -> Mapping[str, Any] | None:
        agent = self.module_twin(device_id, "$edgeAgent")
        if agent is None:
            return None
        modules = agent.desired.get("modules")
        names = sorted(modules)[:_MAX_MODULES] if isinstance(modules, Mapping) else []
        twins = {name: self.module_twin(device_id, name) for name in ("$edgeHub", *names)}
        content = {"$edgeAgent": _settings(agent)}
        return content | {name: _settings(twin) for name, twin in twins.items() if twin is not None and twin.desired}

    def apply_content(self, device_id: str, modules_content: Mapping[str, Any]) -> None:
        answer = self._call(
            "POST",
            f"/devices/{quote(device_id, safe='')}/applyConfigurationContent",
            {"modulesContent": dict(modules_content)},
        )
        if answer.status_code == 404:
            raise RequestError(f"hub {self._name} has no device {device_id}", code="hub.unknown_device", status=404)
        self._check(answer)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        try:
            return self._client.request(
                method,
                f"{self._base}{path}",
                params={"api-version": _API_VERSION},
                headers={"Authorization": self._token()},
                json=body,
            )
        except httpx.HTTPError as error:
            raise DependencyError(f"hub {self._name}: {type(error).__name__} {error}", code="dependency.hub") from error

    def _json(self, answer: httpx.Response) -> Mapping[str, Any]:
        self._check(answer)
        try:
            return parse_object(answer.content, "answer")
        except ContentError as error:
            raise DependencyError(f"hub {self._name}: {error}", code="dependency.hub") from error

    def _check(self, answer: httpx.Response) -> None:
        status = answer.status_code
        if status < 400:
            return
        detail = f"hub {self._name} answered {status}: {answer.text[:300]}"
        if status == 429 or status >= 500 or status in (401, 403, 408):
            raise DependencyError(detail, code="dependency.hub")
        raise RequestError(detail, code="hub.refused")

    def _token(self) -> str:
        expiry = int(self._now().timestamp()) + _TOKEN_SECONDS
        resource = quote_plus(self._host)
        digest = hmac.new(self._key, f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
        signature = quote_plus(base64.b64encode(digest))
        return f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={self._policy}"


def _twin(document: Mapping[str, Any]) -> Twin:
    properties = document.get("properties", {})
    desired = dict(properties.get("desired", {}))
    version = int(desired.pop("$version", 0))
    desired.pop("$metadata", None)
    reported = {key: value for key, value in properties.get("reported", {}).items() if not key.startswith("$")}
    return Twin(desired, reported, version, str(document.get("etag", "")))


def _settings(twin: Twin) -> dict[str, Any]:
    return {"properties.desired": dict(twin.desired)}
