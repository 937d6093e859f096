"""How often an IoT hub takes requests, as its quotas say: what the stand-in enforces.

Source: learn.microsoft.com, "IoT Hub quotas and throttling" (operation throttles, edition S1): "limitations that are
applied in minute ranges"; "starts returning 429 ThrottlingException". Of the table: twin reads 100/s, twin updates
50/s, queries 20/min/unit, configurations 20/min/unit, identity registry 100/min/unit.
Ours, where the page is silent: that applyConfigurationContent counts as an operation on configurations, and that the
whole allowance of a minute may be used at once.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable

_KINDS = (
    ("query", re.compile(r"POST /devices/query")),
    ("configuration", re.compile(r"POST /devices/[^/]+/applyConfigurationContent|[A-Z]+ /configurations(/.*)?")),
    ("twin_read", re.compile(r"GET /twins/.*")),
    ("twin_update", re.compile(r"(PATCH|PUT) /twins/.*")),
    ("identity", re.compile(r"[A-Z]+ /devices/.*")),
)
_MINUTE = 60.0


def kind_of(method: str, path: str) -> str:
    asked = f"{method} {path}"
    return next((kind for kind, form in _KINDS if form.fullmatch(asked)), "other")


class Limits:
    """Counts what was taken within the last minute."""

    def __init__(self, units: int, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._most = {
            "query": 20 * units,
            "configuration": 20 * units,
            "twin_read": 100 * 60,
            "twin_update": 50 * 60,
            "identity": 100 * units,
        }
        self._taken: dict[str, deque[float]] = {kind: deque() for kind in self._most}
        self.count: Counter[str] = Counter()
        """kind -> requests that were taken."""
        self.refused: Counter[str] = Counter()

    def rest(self, kind: str) -> float:
        """Take one, or say in how many seconds the next is taken."""
        taken = self._taken.get(kind)
        if taken is None:
            return 0.0
        now = self._monotonic()
        while taken and now - taken[0] >= _MINUTE:
            taken.popleft()
        if len(taken) >= self._most[kind]:
            self.refused[kind] += 1
            return taken[0] + _MINUTE - now
        taken.append(now)
        self.count[kind] += 1
        return 0.0
