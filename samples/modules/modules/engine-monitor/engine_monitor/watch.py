"""When an engine is too hot: the mean of its last readings is over a limit, and cools down well below it again."""

from __future__ import annotations

from collections import deque


class Watch:
    """Takes readings in degrees Celsius and says when that is news."""

    def __init__(self, limit: float, *, readings: int = 5, margin: float = 5.0) -> None:
        self._limit = limit
        self._margin = margin
        self._last: deque[float] = deque(maxlen=readings)
        self._is_hot = False

    @property
    def mean(self) -> float:
        return sum(self._last) / len(self._last)

    def take(self, celsius: float) -> str | None:
        """Return ``hot`` or ``cool`` when the engine has just become so, else None."""
        self._last.append(celsius)
        if not self._is_hot and self.mean > self._limit:
            self._is_hot = True
            return "hot"
        if self._is_hot and self.mean < self._limit - self._margin:
            self._is_hot = False
            return "cool"
        return None
