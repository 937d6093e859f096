"""The controls of one delta: what is made of old bytes and what is new, in turn. They say what moved."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import compress
from operator import add, attrgetter

from imagedelta.delta.predict.shifts import Shifts, Stretch

FARTHEST = 1 << 48
"""Beyond any place in a file."""
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
    """All controls of a delta, in 32 bytes of memory each."""

    def __init__(self, start: int, controls: Iterable[Control]) -> None:
        """Args:
        start: Where in the old file the first begins.
        """
        self._olds, self._news, self._lengths, self._extras = (array("q") for _ in range(4))
        for (old, new, length), extra in stretches(start, controls):
            self._olds.append(old if -FARTHEST < old < FARTHEST else -1)  # which is in no file either
            self._news.append(new)
            self._lengths.append(length)
            self._extras.append(extra)

    def __len__(self) -> int:
        return len(self._olds)

    def steps(self) -> Iterator[tuple[Stretch, int]]:
        """Yield each match, and how many extra bytes follow it."""
        return zip(self._stretches(), self._extras, strict=True)

    def matches(self) -> Iterator[Stretch]:
        """Yield the matches that are not empty."""
        return filter(_LENGTH, self._stretches())

    @cached_property
    def shifts(self) -> Shifts:
        """What all of them say of where places moved."""
        return Shifts(self.matches())

    def are_within(self, size: int) -> bool:
        """Whether all matches are in an old file of so many bytes."""
        olds, lengths = list(compress(self._olds, self._lengths)), filter(None, self._lengths)
        return min(olds, default=0) >= 0 and max(map(add, olds, lengths), default=0) <= size

    def _stretches(self) -> Iterator[Stretch]:
        return map(Stretch._make, zip(self._olds, self._news, self._lengths, strict=True))


_LENGTH = attrgetter("length")
