"""What steps and triggers tell whoever watches: spans and metrics. One class sends them, the other one does not.

A trace begins with the order of a set and is kept with it in SQL, so that what is done for it weeks later belongs to
it: each piece of work is a short span under the order's. Source: docs/adr/0032-telemetry.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from services.watching.log_fields import TRACE, about
from services.watching.metrics import Metric

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context, version 00, the form that is kept."""


@dataclass
class Span:
    """A piece of work that goes on; what is set on it is told at its end."""

    traceparent: str | None
    """W3C; None where nothing is traced."""
    attributes: dict[str, Any] = field(default_factory=dict)


class Telemetry(Protocol):
    watched: bool
    """False: nobody looks, so nothing need be asked for it."""

    def span(
        self, name: str, *, parent: str | None = None, links: Sequence[str] = (), **ids: str | None
    ) -> AbstractContextManager[Span]:
        """A span around what is done inside, and the ids on its log lines.

        Args:
            parent: traceparent of what it belongs to; None begins a trace of its own.
            links: traceparents of others that it serves, too.
            ids: Of services.watching.log_fields.IDS.
        """
        ...

    def record(self, metric: Metric, amount: float, **split: str) -> None:
        """Add to a counter, or note a value of a histogram.

        Args:
            split: Exactly what the metric is split by.
        """
        ...

    def stand(self, metric: Metric, values: Mapping[str, float]) -> None:
        """What a gauge stands at now, as a whole: what it is split by -> value ("" where it is not split).

        It is told for a few minutes; whoever attends no more must not say for ever how things stood.
        """
        ...


class NoTelemetry:
    """Nothing is configured: nothing is sent, and no SDK is loaded. Log lines have their ids all the same."""

    watched = False

    @contextmanager
    def span(
        self, name: str, *, parent: str | None = None, links: Sequence[str] = (), **ids: str | None
    ) -> Iterator[Span]:
        with about(**ids, **{TRACE: trace_id(parent)}):
            yield Span(parent)

    def record(self, metric: Metric, amount: float, **split: str) -> None: ...

    def stand(self, metric: Metric, values: Mapping[str, float]) -> None: ...


def traceparent_of(text: str | None) -> str | None:
    """A ``traceparent`` header that somebody sent, if it is one."""
    return text if text and _TRACEPARENT.fullmatch(text) else None


def trace_id(traceparent: str | None) -> str | None:
    return traceparent.split("-")[1] if traceparent else None
