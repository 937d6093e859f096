"""Requests to the REST interface of an IoT hub: signed, bounded in bytes and in time, refusals told apart.

Not here: which requests there are (services.hub_local), what a twin looks like (services.hub_documents).
Source: learn.microsoft.com, "IoT Hub REST API" and "Control access to IoT Hub using shared access signatures".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote_plus

import httpx

from imagedelta.archives.json_reading import parse
from imagedelta.errors import ContentError, DependencyError, RequestError
from services.hub_connection import HubConnection
from services.ports import Clock

_API_VERSION = "2021-04-12"
_TOKEN_SECONDS = 3600
_SILENCE = httpx.Timeout(10, connect=5)
_ANSWER_SECONDS = 30.0
"""For a whole answer: one that comes byte by byte must not hold up what waits behind it."""
_ANSWER_BYTES = 32 << 20
"""A page of 100 twins is the largest: each has at most 32 KB desired, 32 KB reported and the times of both."""
_LONGEST_REST = timedelta(hours=1)
"""No Retry-After is believed beyond this."""
_BUSY = frozenset({401, 403, 408, 429})
"""Worth another try, as all from 500 on, and what only a proxy in between says (below 400): keys are corrected,
and a busy hub asks to come back."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class HubRest:
    """One hub; many threads may ask it."""

    def __init__(self, name: str, connection: HubConnection, *, client: httpx.Client | None, now: Clock) -> None:
        self.name = name
        self._host, self._policy, self._key = connection.host, connection.policy, connection.key
        self._base = self._host if "://" in self._host else f"http://{self._host}"
        self._client = client or httpx.Client(timeout=_SILENCE, trust_env=False)
        self._now = now

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        judged: Collection[int] = (404,),
    ) -> Answer:
        """Any answer but a refusal.

        Args:
            judged: Statuses that the caller knows the meaning of.

        Raises:
            DependencyError: No answer, one without end, or one that asks to come back (``retry_after`` says when).
            RequestError: ``hub.refused``.
        """
        common = {"Authorization": self._token(), "Accept-Encoding": "identity"}
        try:
            with self._client.stream(
                method,
                f"{self._base}{path}",
                params={"api-version": _API_VERSION},
                headers=common | dict(headers or {}),
                json=body,
            ) as response:
                answer = Answer(response.status_code, response.headers, self._read(response))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self.unanswered(f"{type(error).__name__} {error}") from error
        if answer.status not in judged:
            self._refuse(answer)
        return answer

    def value(self, answer: Answer) -> Any:
        """The JSON of an answer.

        Raises: DependencyError: It is not JSON.
        """
        try:
            return parse(answer.body, "answer")
        except ContentError as error:
            raise self.unanswered(str(error)) from error

    def unanswered(self, why: str, retry_after: timedelta | None = None) -> DependencyError:
        """What to raise for an answer that is none."""
        return DependencyError(f"hub {self.name}: {why}", code="dependency.hub", retry_after=retry_after)

    def _read(self, response: httpx.Response) -> bytes:
        data, end = bytearray(), time.monotonic() + _ANSWER_SECONDS
        for piece in response.iter_raw():
            data += piece
            if len(data) > _ANSWER_BYTES:
                raise self.unanswered(f"an answer of more than {_ANSWER_BYTES} bytes")
            if time.monotonic() > end:
                raise self.unanswered(f"an answer that took more than {_ANSWER_SECONDS:g} seconds")
        return bytes(data)

    def _refuse(self, answer: Answer) -> None:
        if 200 <= answer.status < 300:
            return
        detail = f"answered {answer.status}: {answer.body[:300].decode(errors='replace')}"
        if answer.status in _BUSY or answer.status >= 500 or answer.status < 400:
            raise self.unanswered(detail, retry_after(answer.headers.get("retry-after", ""), self._now()))
        raise RequestError(f"hub {self.name} {detail}", code="hub.refused")

    def _token(self) -> str:
        expiry = int(self._now().timestamp()) + _TOKEN_SECONDS
        resource = quote_plus(self._host)
        digest = hmac.new(self._key, f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
        signature = quote_plus(base64.b64encode(digest))
        return f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={self._policy}"


def retry_after(text: str, now: datetime) -> timedelta | None:
    """A Retry-After header, in seconds or as a date; None when it is neither. Source: RFC 9110, 10.2.3."""
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=int(text[:9])), _LONGEST_REST)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    rest = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now
    return min(max(rest, timedelta(0)), _LONGEST_REST)
