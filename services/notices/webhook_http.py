"""Events by HTTP POST, signed as Standard Webhooks 1.0.0 says: whoever has the secret knows that they are ours.

Redirects are not followed: they would carry an event to where the settings do not say. An answer is read to its
status and a few kilobytes, within half a minute. Whether the address is a private one is the operator's choice: the
URL is a setting, never part of an order.
Source: docs/formats/webhook.md; github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

from __future__ import annotations

import base64
import hmac
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from imagedelta.errors import DependencyError, RequestError
from imagedelta.printable import printable
from services.clock import utc_now
from services.http_bounded import bounded_client, read_bounded
from services.notices.webhook_settings import WebhookSettings
from services.ports import Clock, Event

_SILENCE_SECONDS = 20.0
"""15 to 30 s, says the specification. Within IMAGEDELTA_CLAIM_LEASE_SECONDS, or an event goes out twice."""
_MAX_ANSWER = 2048
_SHOWN = 200
_HEADERS = {"content-type": "application/json", "user-agent": "imagedelta", "accept-encoding": "identity"}
_BUSY = frozenset({429, 502, 503, 504})
_LONGEST_WAIT = timedelta(days=1)
"""Whatever a receiver asks for."""


class HttpWebhook:
    """The port ``Webhook``; threads share it."""

    def __init__(self, settings: WebhookSettings, *, now: Clock = utc_now, client: httpx.Client | None = None) -> None:
        self._settings = settings
        self._now = now
        self._client = client or bounded_client(_SILENCE_SECONDS)

    def post(self, event: Event) -> None:
        body = event.text.encode()
        headers = {**_HEADERS, **self._signed(event.event_id, body)}
        try:
            with self._client.stream("POST", self._settings.url, content=body, headers=headers) as answer:
                if answer.is_success:
                    return
                said = read_bounded(answer.iter_raw(_MAX_ANSWER), _MAX_ANSWER) or b""  # raw: nothing to be blown up
        except (httpx.HTTPError, httpx.StreamError, ValueError) as error:
            raise DependencyError(
                f"webhook {self._settings.host}: {type(error).__name__}: {error}", code="dependency.webhook"
            ) from error
        raise self._refusal(answer, said)

    def _signed(self, event_id: str, body: bytes) -> dict[str, str]:
        """The time is that of this try, so that a receiver may refuse what somebody plays to it again later."""
        timestamp = str(int(self._now().timestamp()))
        content = b".".join((event_id.encode(), timestamp.encode(), body))
        macs = (hmac.digest(secret, content, "sha256") for secret in self._settings.secrets)
        signatures = " ".join(f"v1,{base64.b64encode(mac).decode()}" for mac in macs)
        return {"webhook-id": event_id, "webhook-timestamp": timestamp, "webhook-signature": signatures}

    def _refusal(self, answer: httpx.Response, said: bytes) -> RequestError | DependencyError:
        """Of what was answered. A wrong path, login or secret is an operator's to mend: it is tried again."""
        status = answer.status_code
        told = printable(" ".join(said.decode("utf-8", "replace").split()))[:_SHOWN]
        detail = f"webhook {self._settings.host} answered {status} {told}".rstrip()
        if status == 410:
            return RequestError(detail, code="webhook.gone")
        if status in _BUSY:
            wait = _retry_after(answer.headers.get("retry-after", ""), self._now())
            return DependencyError(detail, code="dependency.webhook", retry_after=wait)
        return DependencyError(detail, code="webhook.rejected")


def _retry_after(text: str, now: datetime) -> timedelta | None:
    """Seconds or a date, RFC 9110, section 10.2.3; None for anything else."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=int(text[:9])), _LONGEST_WAIT)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    wait = (at if at.tzinfo else at.replace(tzinfo=UTC)) - now
    return min(max(wait, timedelta()), _LONGEST_WAIT)
