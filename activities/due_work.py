"""What the timer looks after, one kind a class: how it is found, how one of it is done, how it is put off.

Each thing is done in short transactions of its own, claimed in SQL under a lease, so that two who attend at once do
nothing twice. What fails is put off on its own row, with growing pauses: nothing at the head of a line holds up the
rest. A service that does not answer several times in a row has all that needs it put off by one statement.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Protocol

from imagedelta.errors import DependencyError
from services.deps import Deps

SERVICE_PAUSE = timedelta(minutes=2)
"""For what needs a service that does not answer."""
_SILENT_AFTER = 3
"""Vain calls in a row. One may be about the one device; three are about the service."""


class Silence:
    """Counts which services do not answer. Many threads share it."""

    def __init__(self) -> None:
        self._vain: Counter[str] = Counter()
        self._lock = Lock()

    def heard(self, service: str) -> None:
        with self._lock:
            self._vain[service] = 0

    def unheard(self, service: str) -> bool:
        """Note a call that was not answered; whether the service is to be left alone now."""
        with self._lock:
            self._vain[service] += 1
            if self._vain[service] < _SILENT_AFTER:
                return False
            self._vain[service] = 0
            return True


@dataclass(frozen=True)
class Run:
    """One attendance."""

    deps: Deps
    silence: Silence = field(default_factory=Silence)


@dataclass(frozen=True)
class Subject:
    """What an item is about, for whoever watches."""

    sets: Collection[str] = ()
    """That it is done for."""
    ids: Mapping[str, str] = field(default_factory=dict)
    """On its log lines: names of services.watching.log_fields.IDS."""


class DueWork(Protocol):
    """Items are whatever ``due`` gives; what became of one is in SQL."""

    name: str
    """Of contracts.work."""
    is_remote: bool
    """It waits for hubs or mail servers, so several are done side by side."""

    def due(self, deps: Deps, at: datetime, limit: int) -> Sequence[Any]:
        """What is due, what waits longest first."""
        ...

    def do(self, run: Run, item: Any) -> None:
        """Do one, if there is still something to do. A failure that was foreseen is kept in SQL.

        Raises: what nobody foresaw, and DependencyError when SQL does not answer.
        """
        ...

    def put_off(self, deps: Deps, item: Any, until: datetime) -> None:
        """After a failure that nobody foresaw."""
        ...

    def subject(self, item: Any) -> Subject: ...


def rest_of(error: DependencyError) -> timedelta | None:
    """How long to wait when nothing is wrong but that a hub takes no more just now; None when something is."""
    return error.retry_after if error.code == "hub.budget" else None


def pause_of(error: DependencyError, otherwise: timedelta) -> timedelta:
    """As long as the service asks to be left alone, else as long as is usual."""
    return max(error.retry_after, otherwise) if error.retry_after is not None else otherwise
