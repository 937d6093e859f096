"""What is asked of an IoT hub's service side, one method a request: what the port ``Hub`` is made of.

Two ways to ask the same: services.hubs.rest by ourselves, services.hubs.sdk by Azure's library. Answers are documents
as the REST interface has them; what they mean is read in services.hubs.documents.
Source: learn.microsoft.com/rest/api/iothub/service, API version 2021-04-12.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

from imagedelta.errors import DependencyError, RequestError

Document = Mapping[str, Any]
MAX_DEPLOYMENTS = 100
"""Of a hub. Source: IoT Hub quotas. It is asked for all of them: what it gives unasked is less."""

_LONGEST_REST = timedelta(hours=1)
"""No Retry-After is believed beyond this."""
_BUSY = frozenset({401, 403, 408, 429})
"""Worth another try, as all from 500 on, and what only a proxy in between says (below 400): keys are corrected,
and a busy hub asks to come back."""


@dataclass(frozen=True)
class Rows:
    """A page of a query."""

    rows: Sequence[Any]
    next: str | None
    """Asks for the page behind it."""


class HubCalls(Protocol):
    """One hub; many threads may ask it.

    Every method raises DependencyError ``dependency.hub`` for no answer, one without end, one that asks to come back
    (``retry_after`` says when); RequestError ``hub.refused`` for one that says no.
    """

    @property
    def name(self) -> str:
        """Of the hub, for messages."""
        ...

    def module_twin(self, device_id: str, module_id: str) -> Document | None:
        """None when there is no such module."""
        ...

    def patch_desired(self, device_id: str, module_id: str, patch: Document) -> Document | None:
        """The twin afterwards; None when there is no such module."""
        ...

    def device_twin(self, device_id: str) -> Document | None:
        """None when there is no such device."""
        ...

    def patch_tags(self, device_id: str, patch: Document, etag: str) -> bool | None:
        """False when its twin has another etag; None when there is no such device."""
        ...

    def query(self, text: str, page: int, after: str | None) -> Rows: ...

    def apply(self, device_id: str, modules_content: Document) -> bool:
        """False when there is no such device."""
        ...

    def configurations(self) -> Sequence[Any]: ...

    def configuration(self, configuration_id: str) -> Document: ...

    def create_configuration(self, document: Document) -> bool:
        """False when the id is taken."""
        ...

    def delete_configuration(self, configuration_id: str) -> None:
        """Deleting what is not there is fine."""
        ...


def unanswered(hub: str, why: str, retry_after: timedelta | None = None) -> DependencyError:
    """What to raise for an answer that is none."""
    return DependencyError(f"hub {hub}: {why}", code="dependency.hub", retry_after=retry_after)


def refusal(hub: str, status: int, body: str, rest: str, now: datetime) -> DependencyError | RequestError:
    """What to raise for an answer that is not what was asked for.

    Args:
        rest: The Retry-After header; empty when there is none.
    """
    detail = f"answered {status}: {body[:300]}"
    if status in _BUSY or status >= 500 or status < 400:
        return unanswered(hub, detail, retry_after(rest, now))
    return RequestError(f"hub {hub} {detail}", code="hub.refused")


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
