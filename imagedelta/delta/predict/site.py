"""Where in the old file a stretch of a match is, and where in memory."""

from __future__ import annotations

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
    """Where a part of the code is in memory."""

    base: int
    """Address of its first byte."""
    low: int
    """From this address up to ``high`` all moved by ``same``."""
    high: int
    same: int


def site_of(start: int, run: Run) -> Site:
    """Return where the part of a run of code is that begins at ``start`` of the old file."""
    segment = run.segment
    assert segment is not None  # noqa: S101 - code is in a segment
    ahead = segment.address - segment.offset
    return Site(start + ahead, run.start + ahead, run.end + ahead, run.difference)
