"""The hub port on the local IoT Hub of imagedelta_local, by HTTP.

Messages: POST {host}/devices/{d}/modules/{m}/messages/events, acknowledged by 204. Twin: GET …/twin,
PATCH …/twin/properties/reported. A device whose clock is wrong makes tokens that have ended long ago: the hub's own
Date, which it tells with its refusal, makes the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from contracts.messages import DesiredProperties
from edge_module.hub import Envelope, read_desired, wire_id
from edge_module.reported_limits import fitting
from edge_module.sas_token import ModuleConnection
from imagedelta.archives.json_reading import parse_object
from imagedelta.errors import ContentError, DependencyError, RequestError
from services.http_bounded import read_bounded

TOKEN_SECONDS = 3600
_MAX_ANSWER_BYTES = 256 * 1024
"""A twin has at most 32 KB desired, 32 KB reported and the times of both."""
_NEVER = frozenset({400, 413})
"""Statuses that mean: this message will never be taken. 401, 403, 404 can heal when somebody enrols us."""
_DENIED = frozenset({401, 403})


class LocalHub:
    def __init__(
        self, connection: ModuleConnection, client: httpx.Client, now: Callable[[], float] = time.time
    ) -> None:
        """Args:
        client: Its requests end (services.http_bounded); closed with the hub.
        """
        self._connection = connection
        self._client = client
        self._now = now
        self._ahead = 0.0
        """The hub's clock less ours, in seconds, as far as it matters."""
        self._set_right = False

    @property
    def device_id(self) -> str:
        return self._connection.device_id

    def listen(self, wake: Callable[[], None]) -> None:
        """HTTP only answers: the twin is looked at every pollEverySeconds."""

    def send(self, message: Envelope) -> None:
        headers = {
            "iothub-messageid": wire_id(message.message_id),
            "iothub-contenttype": message.content_type,
            "iothub-app-kind": message.kind,
            "content-type": "application/octet-stream",
        }
        if message.content_encoding:
            headers["iothub-contentencoding"] = message.content_encoding
        self._call("POST", "/messages/events", headers, content=message.body)

    def desired(self) -> DesiredProperties:
        answer = self._call("GET", "/twin", {})
        try:
            twin = parse_object(answer, "the twin")
        except ContentError as error:
            raise DependencyError(f"hub: {error}", code="hub.unreachable") from error
        return read_desired(twin.get("desired", {}))

    def report_properties(self, properties: Mapping[str, Any]) -> None:
        self._call("PATCH", "/twin/properties/reported", {}, json=fitting(properties))

    def close(self) -> None:
        self._client.close()

    def _call(self, method: str, path: str, headers: dict[str, str], **body: Any) -> bytes:
        status, answer = self._ask(method, path, headers, **body)
        if status == 401 and self._set_right:
            status, answer = self._ask(method, path, headers, **body)
        if 200 <= status < 300:
            return answer
        problem = f"hub: {method} {path} answered status {status}"
        if status in _NEVER:
            raise RequestError(problem, code="hub.refused")
        raise DependencyError(problem, code="hub.denied" if status in _DENIED else "hub.unreachable")

    def _ask(self, method: str, path: str, headers: dict[str, str], **body: Any) -> tuple[int, bytes]:
        """Status and body of the answer, with a token made by the hub's clock as far as it is known."""
        url = f"{self._connection.base_url}{self._connection.module_path}{path}"
        token = self._connection.token(int(self._now() + self._ahead) + TOKEN_SECONDS)
        headers = headers | {"authorization": token, "accept-encoding": "identity"}
        try:
            with self._client.stream(method, url, headers=headers, **body) as response:
                self._set_right = response.status_code == 401 and self._learn(response.headers.get("date"))
                answer = read_bounded(response.iter_raw(), _MAX_ANSWER_BYTES)
                status = response.status_code
        except (httpx.HTTPError, httpx.InvalidURL, RuntimeError) as error:  # RuntimeError: it was closed meanwhile
            raise DependencyError(f"hub: {type(error).__name__} {error}".rstrip(), code="hub.unreachable") from error
        if answer is None:
            raise DependencyError(f"hub: an answer of more than {_MAX_ANSWER_BYTES} bytes", code="hub.unreachable")
        return status, answer

    def _learn(self, date: str | None) -> bool:
        """Whether the hub's clock is so far from ours that another token may be taken."""
        try:
            ahead = parsedate_to_datetime(date or "").timestamp() - self._now()
        except ValueError:
            return False
        known, self._ahead = self._ahead, ahead
        return abs(ahead - known) > TOKEN_SECONDS / 2
