"""Rebuilds that ended without a word: they are tried again, each time after a longer pause.

Whatever kills one costs as much CPU and flash as a rebuild that works, and neighbours would notice if it were begun
every few minutes for months.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edge_module.backoff import Backoff
from edge_module.verdict import STOPPED
from imagedelta.errors import DependencyError

FIRST_SECONDS, MOST_SECONDS = 30.0, 6 * 3600.0
CODES = ("rebuild.died", "rebuild.memory")
_MOST_TARGETS = 64


@dataclass
class _Grave:
    error: DependencyError
    retry_at: float = 0.0
    backoff: Backoff = field(default_factory=lambda: Backoff(FIRST_SECONDS, MOST_SECONDS))


class RebuildDeaths:
    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._graves: dict[str, _Grave] = {}

    def check(self, target: str) -> None:
        """Raises: the error that ended the last rebuild of ``target``, while its pause lasts."""
        grave = self._graves.get(target)
        if grave is not None and self._monotonic() < grave.retry_at:
            raise grave.error

    def note(self, target: str, error: DependencyError | None) -> None:
        """How a rebuild ended; None: it worked."""
        if error is not None and error.code in CODES:
            grave = self._graves.setdefault(target, _Grave(error))
            grave.error = error
            grave.retry_at = self._monotonic() + grave.backoff.failed()
            while len(self._graves) > _MOST_TARGETS:
                del self._graves[next(iter(self._graves))]
        elif error is None or error.code != STOPPED:
            self._graves.pop(target, None)
