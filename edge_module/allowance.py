"""How much of the link may be used now: a rate and hours of the day, of the settings or, outweighing them, the twin.

Held for what bundles are made of; lists, reports and the twin are small and always pass. A clock that is not set
(before 2026, from 2100 on) knows no hours: then bundles are fetched at any time, for waiting might never end.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from contracts.link_hours import Hours, parse_hours, seconds_until_open
from contracts.messages import LinkRules
from edge_module.clock import YEAR_2026, YEAR_2100

_LOOK_AGAIN_SECONDS = 60.0
"""The clock may be set, or the twin change, while we wait."""


class Allowance:
    def __init__(self, own: LinkRules, monotonic: Callable[[], float], now: Callable[[], float]) -> None:
        """Args:
        own: What the settings of the module say.
        now: Seconds since 1970, as far as this device knows.
        """
        self._own = own
        self._monotonic = monotonic
        self._now = now
        self._rate = 0
        self._hours: Hours = ()
        self._free_at = 0.0
        self.follow(None)

    def follow(self, rules: LinkRules | None) -> None:
        """Each thing that the twin says outweighs the settings; 0 and "" take a limit away."""
        rules = rules or LinkRules()
        rate = self._own.bytes_per_second if rules.bytes_per_second is None else rules.bytes_per_second
        hours = self._own.hours if rules.hours is None else rules.hours
        if self._rate != (rate or 0):
            self._free_at = 0.0
        self._rate, self._hours = rate or 0, parse_hours(hours or "")

    def wait(self) -> float:
        """Seconds until something may be fetched, at most a minute; 0: now."""
        return min(_LOOK_AGAIN_SECONDS, max(self._closed_for(), self._free_at - self._monotonic(), 0.0))

    @property
    def is_open(self) -> bool:
        """Whether the hour allows it, whatever the rate says."""
        return self._closed_for() == 0

    def spend(self, size: int) -> None:
        """So many bytes were fetched: the rate allows none until they are earned."""
        if self._rate:
            self._free_at = max(self._free_at, self._monotonic()) + size / self._rate

    def _closed_for(self) -> float:
        now = self._now()
        if not self._hours or not YEAR_2026 <= now < YEAR_2100:
            return 0.0
        return seconds_until_open(self._hours, datetime.fromtimestamp(now, UTC))
