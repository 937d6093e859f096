"""Where in the old file a stretch of a match is, and where in memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import NamedTuple

from imagedelta.delta.predict.image import Segment


class Run(NamedTuple):
    """A stretch of a match that is of one segment in the old file, and of one in the new."""

    start: int
    """In the old file; so is ``end``."""
    end: int
    segment: Segment | None
    """Of the old file."""
    difference: int
    """New address less old; of no meaning where one of the files has no segment there."""


class Site(NamedTuple):
    """A stretch of code, in the bytes that are predicted and in memory."""

    start: int
    end: int
    base: int
    """Address of its first byte."""
    low: int
    """From this address up to ``high`` all moved by ``same``."""
    high: int
    same: int


class Sites:
    """Where stretches of code are, in bytes of several parts, and where in memory; in ascending order."""

    def __init__(self, aligned: int = 1) -> None:
        """Args:
        aligned: Instructions begin at multiples of so many bytes.
        """
        self._aligned = aligned
        self.numbers = array("q")
        """Those of one ``Site`` after the other."""

    def add(self, at: int, length: int, start: int, run: Run) -> None:
        """Add a part of a run of code.

        Args:
            at: Where the part begins in the bytes that are predicted.
            start: Where it does in the old file.
        """
        skip = min(-start % self._aligned, length)
        ahead = ahead_of(run)
        self.numbers.extend(
            (at + skip, at + length, start + skip + ahead, run.start + ahead, run.end + ahead, run.difference)
        )

    def __bool__(self) -> bool:
        return bool(self.numbers)


def each_site(numbers: array[int]) -> Iterator[Site]:
    """Yield the sites of ``Sites.numbers``."""
    one = iter(numbers)
    return map(Site._make, zip(one, one, one, one, one, one, strict=True))


def ahead_of(run: Run) -> int:
    """Return by how much addresses of the run are ahead of places in the old file."""
    segment = run.segment
    assert segment is not None  # noqa: S101 - what has references is in a segment
    return segment.ahead
