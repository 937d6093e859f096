"""A stand-in of Azure IoT Hub's service side: HTTPS, its two ways to sign in, its limits, its lagging index.

The core is a local hub of the embedded host, which is our reading of the same documents and no second opinion; what
stands before it is what a local hub does without:

- TLS, the host name as the resource of a signature, a bearer token of Entra ID for ``https://iothubs.azure.net``.
  Source: learn.microsoft.com, "Control access to IoT Hub using shared access signatures" and "… by using Microsoft
  Entra ID".
- 429 with ``ErrorCode:ThrottlingException`` and Retry-After over the limits of tests.hubs.limits.
- Queries answer from an index that lags. Source: learn.microsoft.com, "Queries for IoT Hub device and module twins",
  limitations: eventual consistency, up to half an hour.
- A request without ``api-version`` is refused.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, unquote

import aiohttp
from aiohttp import web
from yarl import URL

from imagedelta_local.iothub.documents import twin_document
from imagedelta_local.iothub.query import parse
from imagedelta_local.iothub.sas import sign
from imagedelta_local.iothub.service_api import POLICY
from tests.hubs.limits import Limits, kind_of
from tests.hubs.local import LocalHubs, Served

_FORWARDED = ("If-Match", "Content-Type", "x-ms-max-item-count", "x-ms-continuation")
_BACK = ("ETag", "x-ms-continuation", "x-ms-item-type", "iothub-errorcode")


@dataclass(frozen=True)
class Asked:
    kind: str
    status: int


class HubCloud(LocalHubs):
    """One hub behind TLS."""

    def __init__(
        self,
        folder: Path,
        certificate: tuple[Path, Path],
        *,
        units: int = 1,
        lag_seconds: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(folder)
        self.limits = Limits(units, monotonic)
        self.asked: list[Asked] = []
        self.bearer: str | None = None
        """The token that is believed."""
        self.connections = 0
        self._lag, self._monotonic = lag_seconds, monotonic
        self._index: tuple[float, list[dict[str, Any]]] | None = None
        self._sockets: set[int] = set()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*certificate)
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._answer)
        self._front = Served(app, tls)
        self.port = self._front.port
        self.host = f"127.0.0.1:{self.port}"
        self.hosts = {self.host}
        """Names that signatures are for."""
        self.connection = f"HostName={self.host};SharedAccessKeyName={POLICY};SharedAccessKey={self.key}"

    def close(self) -> None:
        self._front.close()
        super().close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self._sockets.add(id(request.transport))
        self.connections = len(self._sockets)
        kind = kind_of(request.method, request.rel_url.raw_path)
        answer = self._refusal(request, kind) or await self._served_by_the_core(request, kind)
        self.asked.append(Asked(kind, answer.status))
        return answer

    def _refusal(self, request: web.Request, kind: str) -> web.Response | None:
        if "api-version" not in request.query:
            return _error("InvalidProtocolVersion", "no api-version", 400)
        if not self._is_known(request.headers.get("Authorization", "")):
            return _error("IotHubUnauthorizedAccess", "neither a signature nor a token that is known", 401)
        if rest := self.limits.rest(kind):
            refused = _error("ThrottlingException", f"the request has been throttled. Operation type: {kind}", 429)
            refused.headers["Retry-After"] = str(math.ceil(rest))
            return refused
        return None

    def _is_known(self, authorization: str) -> bool:
        scheme, _, rest = authorization.partition(" ")
        if scheme == "Bearer":
            return self.bearer is not None and rest == self.bearer
        fields = dict(part.partition("=")[::2] for part in rest.split("&"))
        if scheme != "SharedAccessSignature" or not {"sr", "sig", "se", "skn"} <= fields.keys():
            return False
        signed = f"{fields['sr']}\n{fields['se']}".encode()
        right = base64.b64encode(hmac.new(base64.b64decode(self.key), signed, hashlib.sha256).digest()).decode()
        return (
            (unquote(fields["sig"]), fields["skn"]) == (right, POLICY)
            and unquote(fields["sr"]) in self.hosts
            and (int(fields["se"]) > time.time())
        )

    async def _served_by_the_core(self, request: web.Request, kind: str) -> web.StreamResponse:
        body = await request.read()
        if kind == "query" and self._lag:
            return self._from_the_index(json.loads(body), request.headers)
        headers = {name: request.headers[name] for name in _FORWARDED if name in request.headers}
        headers["Authorization"] = self._signature()
        url = f"{self.url}{request.rel_url.raw_path}?{request.query_string}"
        # a session a request: the loop belongs to this server, and nothing is left to be closed
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, URL(url, encoded=True), data=body, headers=headers) as answer,
        ):
            content = await answer.read()
            back = {name: answer.headers[name] for name in _BACK if name in answer.headers}
            back["Content-Type"] = answer.headers.get("Content-Type", "application/json; charset=utf-8")
            return web.Response(status=answer.status, body=content, headers=back)

    def _from_the_index(self, asked: Mapping[str, Any], headers: Mapping[str, str]) -> web.Response:
        """Of the twins as they were when the index was last brought up to date."""
        now = self._monotonic()
        if self._index is None or now - self._index[0] >= self._lag:
            self._index = now, self._twins()
        query = parse(str(asked["query"]))
        of_modules = query.source == "devices.modules"
        found = [
            query.shown(twin) for twin in self._index[1] if ("moduleId" in twin) == of_modules and query.accepts(twin)
        ]
        start, size = int(headers.get("x-ms-continuation") or 0), int(headers.get("x-ms-max-item-count") or 100)
        more = {"x-ms-continuation": str(start + size)} if start + size < len(found) else {}
        return web.json_response(found[start : start + size], headers={"x-ms-item-type": "Twin", **more})

    def _twins(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []

        def read() -> None:
            found.extend(map(twin_document, [*self.store.devices(self.NAME), *self.store.modules(self.NAME)]))

        self._do(read)
        return found

    def _signature(self) -> str:
        expiry, resource = str(int(time.time()) + 600), quote_plus(self.url.partition("://")[2])
        signature = quote_plus(sign(self.key, resource, expiry))
        return f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={POLICY}"


def _error(code: str, message: str, status: int) -> web.Response:
    body = {"Message": f"ErrorCode:{code};{message}", "ExceptionMessage": "Tracking ID:stand-in"}
    return web.json_response(body, status=status, headers={"iothub-errorcode": code})
