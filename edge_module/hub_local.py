"""The hub port on the local IoT Hub of imagedelta_local, by HTTP.

Messages: POST {host}/devices/{d}/modules/{m}/messages/events, acknowledged by 204. Twin: GET …/twin,
PATCH …/twin/properties/reported.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from contracts.messages import DesiredProperties
from edge_module.hub import Envelope, read_desired
from edge_module.sas_token import ModuleConnection
from imagedelta.archives.json_reading import parse_object
from imagedelta.errors import ContentError, DependencyError, RequestError

TOKEN_SECONDS = 3600
_MAX_TWIN_BYTES = 256 * 1024
_NEVER = frozenset({400, 413})
"""Statuses that mean: this message will never be taken. 401, 403, 404 can heal when somebody enrols us."""


class LocalHub:
    def __init__(
        self, connection: ModuleConnection, client: httpx.Client, now: Callable[[], float] = time.time
    ) -> None:
        self._connection = connection
        self._client = client
        self._now = now

    @property
    def device_id(self) -> str:
        return self._connection.device_id

    def listen(self, wake: Callable[[], None]) -> None:
        """HTTP only answers: the twin is looked at every pollEverySeconds."""

    def send(self, message: Envelope) -> None:
        headers = {
            "iothub-messageid": message.message_id,
            "iothub-contenttype": message.content_type,
            "iothub-app-kind": message.kind,
            "content-type": "application/octet-stream",
        }
        if message.content_encoding:
            headers["iothub-contentencoding"] = message.content_encoding
        self._call("POST", "/messages/events", headers, content=message.body)

    def desired(self) -> DesiredProperties:
        response = self._call("GET", "/twin", {})
        if len(response.content) > _MAX_TWIN_BYTES:
            raise ContentError("the module twin is larger than any hub allows", code="content.malformed_message")
        try:
            twin = parse_object(response.content, "the twin")
        except ContentError as error:
            raise DependencyError(f"hub: {error}") from error
        return read_desired(twin.get("desired", {}))

    def report_properties(self, properties: Mapping[str, Any]) -> None:
        self._call("PATCH", "/twin/properties/reported", {}, json=dict(properties))

    def close(self) -> None:
        self._client.close()

    def _call(self, method: str, path: str, headers: dict[str, str], **body: Any) -> httpx.Response:
        url = f"{self._connection.base_url}{self._connection.module_path}{path}"
        token = self._connection.token(int(self._now()) + TOKEN_SECONDS)
        try:
            response = self._client.request(method, url, headers=headers | {"authorization": token}, **body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise DependencyError(f"hub: {type(error).__name__} {error}".rstrip()) from error
        if response.is_success:
            return response
        problem = f"hub: {method} {path} answered status {response.status_code}"
        if response.status_code in _NEVER:
            raise RequestError(problem, code="hub.refused")
        raise DependencyError(problem, code="dependency.unavailable")
