"""The controls of one delta: what is made of old bytes and what is new, in turn. They say what moved."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

from imagedelta.delta.predict.shifts import Stretch

Control = tuple[int, int, int]
"""So many bytes that are old bytes and differences, then so many extra bytes, then a move in the old bytes."""


def stretches(start: int, controls: Iterable[Control]) -> Iterator[tuple[Stretch, int]]:
    """Yield each match, and how many extra bytes follow it.

    Args:
        start: Where in the old file the first begins.
    """
    old, new = start, 0
    for same, extra, seek in controls:
        yield Stretch(old, new, same), extra
        old += same + seek
        new += same + extra


class Controls:
    """All controls of a delta, in 24 bytes of memory each."""

    def __init__(self, start: int, controls: Iterable[Control] = ()) -> None:
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
        numbers = iter(self._numbers)
        return stretches(self._start, zip(numbers, numbers, numbers, strict=True))

    def matches(self) -> Iterator[Stretch]:
        """Yield the matches that are not empty."""
        return (match for match, _ in self.steps() if match.length)
