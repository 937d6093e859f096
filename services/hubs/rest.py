"""What is asked of an IoT hub, by its REST interface itself.

For the local hubs of the embedded host (plain HTTP on this machine), and for hubs in Azure where Azure's library
cannot be: on arm64, and on Pythons that uamqp has no wheel for. Source: docs/adr/0028-the-hubs-service-side.md;
learn.microsoft.com, "IoT Hub REST API" and "Control access to IoT Hub using shared access signatures".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import quote, quote_plus

from imagedelta.archives.json_reading import parse
from imagedelta.errors import ContentError
from services.clock import utc_now
from services.hubs.calls import MAX_DEPLOYMENTS, Document, Rows, refusal, unanswered
from services.hubs.connection import HubConnection
from services.hubs.transport import Answer, HubTransport
from services.identity import Identity
from services.ports import Clock

_API_VERSION = "2021-04-12"
_TOKEN_SECONDS = 3600
_SCOPE = "https://iothubs.azure.net/.default"
_ANY = {"If-Match": "*"}


class RestCalls:
    """``HubCalls``."""

    def __init__(
        self,
        name: str,
        connection: HubConnection,
        identity: Identity,
        *,
        transport: HubTransport | None = None,
        now: Clock = utc_now,
    ) -> None:
        """Args:
        name: For messages.
        identity: Asked when ``connection`` has no key.
        """
        self.name = name
        self._connection = connection
        self._identity = identity
        self._transport = transport or HubTransport(name, connection.url)
        self._now = now

    def module_twin(self, device_id: str, module_id: str) -> Document | None:
        answer = self._ask("GET", _twin_path(device_id, module_id), judged=(404,))
        return None if answer.status == 404 else self._object(answer)

    def patch_desired(self, device_id: str, module_id: str, patch: Document) -> Document | None:
        body = {"properties": {"desired": dict(patch)}}
        answer = self._ask("PATCH", _twin_path(device_id, module_id), body, judged=(404,))
        return None if answer.status == 404 else self._object(answer)

    def device_twin(self, device_id: str) -> Document | None:
        answer = self._ask("GET", _device_path(device_id), judged=(404,))
        return None if answer.status == 404 else self._object(answer)

    def patch_tags(self, device_id: str, patch: Document, etag: str) -> bool | None:
        headers = {"If-Match": f'"{etag}"'}
        answer = self._ask("PATCH", _device_path(device_id), {"tags": dict(patch)}, headers, judged=(404, 412))
        return None if answer.status == 404 else answer.status != 412

    def query(self, text: str, page: int, after: str | None) -> Rows:
        marker = {"x-ms-continuation": after} if after else {}
        headers = {"x-ms-max-item-count": str(page), **marker}
        answer = self._ask("POST", "/devices/query", {"query": text}, headers)
        token = answer.headers.get("x-ms-continuation") or None
        if token is not None and not token.isascii():
            raise unanswered(self.name, "a query whose next page cannot be asked for")
        return Rows(self._list(answer), token)

    def apply(self, device_id: str, modules_content: Document) -> bool:
        path = f"/devices/{quote(device_id, safe='')}/applyConfigurationContent"
        return self._ask("POST", path, {"modulesContent": dict(modules_content)}, judged=(404,)).status != 404

    def configurations(self) -> Sequence[Any]:
        return self._list(self._ask("GET", "/configurations", more=f"&top={MAX_DEPLOYMENTS}"))

    def configuration(self, configuration_id: str) -> Document:
        return self._object(self._ask("GET", _configuration_path(configuration_id)))

    def create_configuration(self, document: Document) -> bool:
        path = _configuration_path(document["id"])
        return self._ask("PUT", path, document, judged=(409,)).status != 409

    def delete_configuration(self, configuration_id: str) -> None:
        self._ask("DELETE", _configuration_path(configuration_id), headers=_ANY, judged=(404,))

    def _ask(
        self,
        method: str,
        path: str,
        body: Document | None = None,
        headers: Mapping[str, str] | None = None,
        judged: Collection[int] = (),
        more: str = "",
    ) -> Answer:
        """Any answer but a refusal.

        Args:
            judged: Statuses that the caller knows the meaning of.
        """
        of_json = {} if body is None else {"Content-Type": "application/json"}
        sent = {"Authorization": self._authorization(), **of_json, **(headers or {})}
        content = None if body is None else json.dumps(body).encode()
        url = f"{self._connection.url}{path}?api-version={_API_VERSION}{more}"
        answer = self._transport.send(method, url, sent, content)
        if 200 <= answer.status < 300 or answer.status in judged:
            return answer
        text, rest = answer.body[:300].decode(errors="replace"), answer.headers.get("retry-after", "")
        raise refusal(self.name, answer.status, text, rest, self._now())

    def _authorization(self) -> str:
        connection = self._connection
        if connection.key is None:
            return f"Bearer {self._identity.token(_SCOPE)}"
        expiry = int(self._now().timestamp()) + _TOKEN_SECONDS
        resource = quote_plus(connection.host)
        digest = hmac.new(connection.key, f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
        signature = quote_plus(base64.b64encode(digest))
        policy = quote_plus(connection.policy)
        return f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={policy}"

    def _object(self, answer: Answer) -> Document:
        value = self._value(answer)
        if not isinstance(value, Mapping):
            raise unanswered(self.name, "an answer that is no JSON object")
        return value

    def _list(self, answer: Answer) -> Sequence[Any]:
        value = self._value(answer)
        if not isinstance(value, list):
            raise unanswered(self.name, "an answer that is no list")
        return value

    def _value(self, answer: Answer) -> Any:
        try:
            return parse(answer.body, "answer")
        except ContentError as error:
            raise unanswered(self.name, str(error)) from error


def _device_path(device_id: str) -> str:
    return f"/twins/{quote(device_id, safe='')}"


def _twin_path(device_id: str, module_id: str) -> str:
    return f"{_device_path(device_id)}/modules/{quote(module_id, safe='')}"


def _configuration_path(configuration_id: str) -> str:
    return f"/configurations/{quote(configuration_id, safe='')}"
