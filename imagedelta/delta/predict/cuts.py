"""How a match between two programs is cut into the parts that are predicted at once.

Source: docs/formats/patch.md, section 7a.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from imagedelta.delta.predict.image import Image, Piece, Segment
from imagedelta.delta.predict.old import PART_BYTES, Part, cut
from imagedelta.delta.predict.shifts import Stretch
from imagedelta.delta.predict.site import Run
from imagedelta.delta.predict.tables import Table


class Cuts:
    """Where a part ends: at the end of a segment of either file, and at the ends of tables."""

    def __init__(self, old: Image, new: Image, tables: list[Table]) -> None:
        """Args:
        tables: Of the old file, in its order; none overlaps another.
        """
        self._old, self._new, self._tables = old, new, tables
        self._ends = [table.end for table in tables]
        self._zone = _NO_ZONE
        """Of the last match."""

    def parts(self, match: Stretch) -> Iterable[Part]:
        """Return the parts of a match."""
        old, new, length = match
        if not self._zone.has(match):  # there are matches by the hundred thousand, and most are in the zone of the last
            self._zone = self._zone_at(old, new)
            if not self._zone.has(match):
                return self._cut(match)
        _, _, segment, ahead, table = self._zone
        run = Run(old, old + length, segment, new - old + ahead)
        if 0 < length <= PART_BYTES:
            return (Part(old, length, True, run, table),)
        return cut(old, old + length, run, table)

    def _cut(self, match: Stretch) -> Iterator[Part]:
        for run in self._runs(match):
            at = run.start
            for table in self._tables[bisect_right(self._ends, at) :]:
                if table.start >= run.end:
                    break
                start, end = max(at, table.start), min(run.end, table.end)
                if start < end:
                    yield from cut(at, start, run)
                    yield from cut(start, end, run, table)
                    at = end
            yield from cut(at, run.end, run)

    def _zone_at(self, old: int, new: int) -> _Zone:
        """Return the zone of a place of the old file, and of where it is in the new one."""
        old_piece, new_piece = self._old.piece_at(old), self._new.piece_at(new)
        if not old_piece or not old_piece.segment or not new_piece or not new_piece.segment:
            return _NO_ZONE
        (start, end, segment), at = old_piece, bisect_right(self._ends, old)
        table = self._tables[at] if at < len(self._tables) else None
        if table and table.start <= old:
            start, end = max(start, table.start), min(end, table.end)
        else:
            start, end = max(start, self._ends[at - 1] if at else 0), min(end, table.start if table else end)
            table = None
        return _Zone((start, end), new_piece[:2], segment, new_piece.segment.ahead - old_piece.segment.ahead, table)

    def _runs(self, match: Stretch) -> Iterator[Run]:
        shift = match.new - match.old
        for old in self._old.pieces(match.old, match.old + match.length):
            for new in self._new.pieces(old.start + shift, old.end + shift):
                yield _run(old, new, shift)


class _Zone(NamedTuple):
    """A stretch of the old file, and one of the new, between which all matches are of one kind."""

    old: tuple[int, int]
    """Its start and its end; so is ``new``."""
    new: tuple[int, int]
    segment: Segment | None
    ahead: int
    """By how much more addresses than places move."""
    table: Table | None

    def has(self, match: Stretch) -> bool:
        """Whether all of a match is in it."""
        old, new, length = match
        return self.old[0] <= old and old + length <= self.old[1] and self.new[0] <= new and new + length <= self.new[1]


_NO_ZONE = _Zone((0, 0), (0, 0), None, 0, None)


def _run(old: Piece, new: Piece, shift: int) -> Run:
    """Return what of a piece of the old file is in one of the new, which is not longer."""
    start, end = new.start - shift, new.end - shift
    if not old.segment or not new.segment:
        return Run(start, end, None, 0)
    return Run(start, end, old.segment, shift + new.segment.ahead - old.segment.ahead)
