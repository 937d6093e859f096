"""The controls of one delta, all before the first of its differences: they say what moved."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

from imagedelta.delta.predict.shifts import Stretch


class Controls:
    """So many bytes that are old bytes and differences, then so many extra bytes, then a move in the old bytes."""

    def __init__(self, start: int, controls: Iterable[tuple[int, int, int]] = ()) -> None:
        """Args:
        start: Where in the old file the first begins.
        """
        self._start = start
        self._numbers = array("q")
        for control in controls:
            self.add(*control)

    def add(self, same: int, extra: int, seek: int) -> None:
        """Add the next."""
        self._numbers.extend((same, extra, seek))

    def __len__(self) -> int:
        return len(self._numbers) // 3

    def steps(self) -> Iterator[tuple[Stretch, int]]:
        """Yield each match, and how many extra bytes follow it."""
        old, new = self._start, 0
        numbers = iter(self._numbers)
        for same, extra, seek in zip(numbers, numbers, numbers, strict=True):
            yield Stretch(old, new, same), extra
            old += same + seek
            new += same + extra

    def matches(self) -> Iterator[Stretch]:
        """Yield the matches that are not empty."""
        return (match for match, _ in self.steps() if match.length)
