"""Requests to an IoT hub that end: bounded in bytes and in time, whoever makes them.

Azure's library alone bounds neither: its client waits 100 seconds for each single read, sleeps as long as a Retry-After
says before it tries again by itself, and opens a connection for every request.
Source: msrest 0.7, ``universal_http/requests.py`` and ``service_client.py``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from services.http_bounded import bounded_client
from services.hubs.calls import unanswered

_SILENCE_SECONDS = 10.0
_ANSWER_SECONDS = 30.0
"""For the body of an answer: one that comes byte by byte must not hold up what waits behind it."""
_ANSWER_BYTES = 32 << 20
"""A page of 100 twins is the largest: each has at most 32 KB desired, 32 KB reported and the times of both."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class HubTransport:
    """Connections to one hub, kept between requests; many threads may ask."""

    def __init__(self, name: str, url: str, client: httpx.Client | None = None) -> None:
        """Args:
        name: Of the hub, for messages.
        url: Of the hub. On this machine no proxy is asked; elsewhere HTTPS_PROXY and SSL_CERT_FILE are honoured.
        """
        self._name = name
        self._client = client or bounded_client(_SILENCE_SECONDS, proxies=not url.startswith("http://"))

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """Any answer; a redirection is one, too, and is not followed.

        Raises: DependencyError: No answer, or one without end.
        """
        common = {"Accept-Encoding": "identity"}
        try:
            request = self._client.stream(method, url, headers={**headers, **common}, content=body)
            with request as response:
                return Answer(response.status_code, response.headers, self._read(response))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise unanswered(self._name, f"{type(error).__name__} {error}") from error

    def _read(self, response: httpx.Response) -> bytes:
        data, end = bytearray(), time.monotonic() + _ANSWER_SECONDS
        for piece in response.iter_raw():
            data += piece
            if len(data) > _ANSWER_BYTES:
                raise unanswered(self._name, f"an answer of more than {_ANSWER_BYTES} bytes")
            if time.monotonic() > end:
                raise unanswered(self._name, f"an answer that took more than {_ANSWER_SECONDS:g} seconds")
        return bytes(data)
