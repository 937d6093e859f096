"""How far each place of an old file moved in the new one: what the controls of a delta say about it.

A place in a match moved as the match did; where matches overlap in the old file, as the longest of them. A place in
none moved as the nearest match did, of two as near the one before it.
"""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_PLACE_BITS = 48
_PLACE = (1 << _PLACE_BITS) - 1
"""Places and lengths are below this: a layer is at most 64 GiB. Matches are sorted as integers of three of them, which
take a third of the memory of tuples."""


class Stretch(NamedTuple):
    """A match: so many bytes of the old file from ``old`` on are, or nearly are, in the new one from ``new`` on."""

    old: int
    new: int
    length: int


class Shifts:
    """New place less old place, as a function that is constant between ``starts``; 16 bytes of memory for each."""

    def __init__(self, stretches: Iterable[Stretch]) -> None:
        self.starts = array("q", [0])
        """Rising; the first is 0."""
        self.values = array("q", [0])
        """What holds from the start of the same index on, up to the next."""
        end_before: int | None = None
        for old, new, length in _disjoint(stretches):
            if end_before is None:
                self.values[0] = new - old
            else:
                self._add((end_before + old + 1) // 2 if old > end_before else old, new - old)
            end_before = old + length

    def equals(self, other: Shifts) -> bool:
        """Whether both say the same of each place."""
        return self.starts == other.starts and self.values == other.values

    def of(self, place: int) -> int:
        """Return how far ``place`` moved."""
        return self.values[max(0, bisect_right(self.starts, place) - 1)]

    def moved(self, place: int) -> int:
        """Return where ``place`` is in the new file."""
        return place + self.of(place)

    def constant_between(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield (start, end, shift) of the stretches of one shift that make up ``start`` to ``end``."""
        at = max(0, bisect_right(self.starts, start) - 1)
        while start < end:
            last = at + 1 == len(self.starts)
            stop = end if last else min(end, self.starts[at + 1])
            yield start, stop, self.values[at]
            start = stop
            at += 1

    def _add(self, start: int, value: int) -> None:
        if value != self.values[-1]:
            self.starts.append(start)
            self.values.append(value)


def _disjoint(stretches: Iterable[Stretch]) -> Iterator[tuple[int, int, int]]:
    """Yield parts of stretches that do not overlap in the old file, in its order: of each place the longest.

    Of two that are as long, it is the one that begins earlier in the old file, then in the new one.
    """
    over: list[tuple[int, int, int]] = []
    """A heap of the stretches that begin before ``at``, the longest first, some of which have ended."""
    at = 0
    for packed in sorted([(old << _PLACE_BITS | new) << _PLACE_BITS | length for old, new, length in stretches]):
        start = packed >> 2 * _PLACE_BITS
        while over and at < start:
            missing, old, new = over[0]
            end = old + _PLACE - missing
            if end > at:
                stop = min(end, start)
                yield at, at - old + new, stop - at
                at = stop
            else:
                heapq.heappop(over)
        at = max(at, start)
        heapq.heappush(over, (_PLACE - (packed & _PLACE), start, packed >> _PLACE_BITS & _PLACE))
    while over:
        missing, old, new = heapq.heappop(over)
        end = old + _PLACE - missing
        if end > at:
            yield at, at - old + new, end - at
            at = end
