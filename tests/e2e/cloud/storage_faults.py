"""The way to the storage, whose n-th request goes wrong: refused, answered into the void, busy, or the process dies."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from services.blobs.azure_account import BoundedTransport
from tests.simulators.calls import Crash

Send = Callable[[], requests.Response]


class StorageLink(HTTPAdapter):
    """Counts requests and bytes; ``fail`` says what becomes of one of those to come."""

    def __init__(self) -> None:
        super().__init__(pool_maxsize=64)
        self.count = 0
        self.sent_bytes = 0
        self.got_bytes = 0
        self.requests: list[str] = []
        self._fault: Callable[[int, requests.PreparedRequest, Send], requests.Response] | None = None
        self._lock = threading.Lock()

    def transport(self) -> BoundedTransport:
        """The adapter's own, over this link."""
        transport = BoundedTransport()
        transport.session.mount("https://", self)
        return transport

    def fail(self, nth: int, how: str) -> None:
        """The ``nth`` request from now on, and with ``away`` every one that follows until ``heal``."""
        at = self.count + nth

        def fault(number: int, request: requests.PreparedRequest, send: Send) -> requests.Response:
            if number != at and not (how == "away" and number > at):
                return send()
            return FAULTS[how](request, send)

        self._fault = fault

    def before(self, nth: int, do: Callable[[], object]) -> None:
        """Something else happens right before the ``nth`` request from now on."""
        at = self.count + nth

        def meanwhile(number: int, request: requests.PreparedRequest, send: Send) -> requests.Response:
            if number == at:
                do()
            return send()

        self._fault = meanwhile

    def heal(self) -> None:
        self._fault = None

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        with self._lock:
            self.count += 1
            number = self.count
            self.sent_bytes += int(request.headers.get("content-length") or 0)
            operation = (request.url or "").partition("?")[2].partition("&")[0]
            self.requests.append(f"{request.method} {operation}")

        def send() -> requests.Response:
            answer = super(StorageLink, self).send(request, *args, **options)
            if request.method == "GET":
                self.got_bytes += int(answer.headers.get("content-length") or 0)
            return answer

        return self._fault(number, request, send) if self._fault else send()


def _refused(request: requests.PreparedRequest, send: Send) -> requests.Response:
    raise requests.ConnectionError("connection refused", request=request)


def _lost(request: requests.PreparedRequest, send: Send) -> requests.Response:
    send().close()
    raise requests.ConnectionError("connection reset", request=request)


def _killed_before(request: requests.PreparedRequest, send: Send) -> requests.Response:
    raise Crash


def _killed_after(request: requests.PreparedRequest, send: Send) -> requests.Response:
    send().close()
    raise Crash


def _busy(request: requests.PreparedRequest, send: Send) -> requests.Response:
    """As the storage says it when it throttles.

    Source: "Scalability and performance targets for Blob storage", 503 Server Busy; "Status and error codes".
    """
    body = b"<?xml version='1.0' encoding='utf-8'?><Error><Code>ServerBusy</Code><Message>busy</Message></Error>"
    headers = {"x-ms-error-code": "ServerBusy", "retry-after": "2", "content-type": "application/xml"}
    raw = urllib3.HTTPResponse(io.BytesIO(body), headers=headers, status=503, preload_content=False)
    answer = HTTPAdapter().build_response(request, raw)
    answer.reason = "Server Busy"
    return answer


FAULTS: dict[str, Callable[[requests.PreparedRequest, Send], requests.Response]] = {
    "refused": _refused,
    "lost": _lost,
    "busy": _busy,
    "away": _refused,
    "killed": _killed_before,
    "killed late": _killed_after,
}
