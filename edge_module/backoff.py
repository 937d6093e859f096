"""How long to wait after failures in a row: doubling, bounded, with jitter so that a fleet spreads out."""

from __future__ import annotations

import random


class Backoff:
    def __init__(self, first: float = 1.0, most: float = 300.0, chance: random.Random | None = None) -> None:
        """Args:
        first, most: Seconds before jitter, after the first failure and at the bound.
        """
        self._first = first
        self._most = most
        self._chance = chance or random.Random()  # noqa: S311 -- spreads load, keeps no secret
        self._failures = 0

    def failed(self) -> float:
        """Seconds to wait after one more failure: between half and the whole of the doubled step."""
        step = min(self._most, self._first * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return float(step * self._chance.uniform(0.5, 1.0))

    def succeeded(self) -> None:
        self._failures = 0
