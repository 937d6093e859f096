"""Where the segments of a program lie, in its file and in memory, whatever its format."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from imagedelta.delta.predict.shifts import Shifts
from imagedelta.delta.predict.steps import NOWHERE, Steps, no_steps

_ADDRESSES = 1 << 62
"""Segments beyond it are left out, so that all sums fit 64 bits."""
_PLACES = 1 << 48


class Segment(NamedTuple):
    """A stretch of a file and its address; behind its bytes in the file, memory may go on with zeros."""

    offset: int
    address: int
    size: int
    memory: int
    executable: bool
    writable: bool = False

    @property
    def ahead(self) -> int:
        """By how much its addresses are ahead of places in the file."""
        return self.address - self.offset


class Piece(NamedTuple):
    """A stretch of a file that belongs to one segment, or to none."""

    start: int
    end: int
    segment: Segment | None


class Image:
    """Segments as a file lists them: in the order of their addresses; those that overlap one before are left out."""

    def __init__(self, segments: Iterable[Segment], *, is_fixed: bool = False) -> None:
        """Args:
        is_fixed: Whether it is loaded where its addresses say, so that they are also in what is never written.
        """
        self.is_fixed = is_fixed
        self.segments: list[Segment] = []
        end = 0
        for one in segments:
            if one.address < end or one.address + one.memory >= _ADDRESSES or one.offset + one.size >= _PLACES:
                continue
            self.segments.append(one)
            end = one.address + one.memory
        self.offsets = no_steps()
        """From addresses to places in the file; ``NOWHERE`` without one."""
        self.code = no_steps()
        """0 for addresses of code, ``NOWHERE`` for all others."""
        for one in self.segments:
            self._add(one)
        self.offsets.add(_ADDRESSES, NOWHERE)
        self.code.add(_ADDRESSES, NOWHERE)
        self._pieces = list(_by_place(self.segments))
        self._places = [piece.start for piece in self._pieces]

    @property
    def lowest(self) -> int:
        """The first address."""
        return self.segments[0].address if self.segments else 0

    @property
    def end(self) -> int:
        """Behind the last address."""
        return self.segments[-1].address + self.segments[-1].memory if self.segments else 0

    def offset_of(self, address: int) -> int | None:
        """Return where in the file the byte of an address is."""
        return self.offsets.moved(address)

    def address_of(self, offset: int) -> int | None:
        """Return the address of a byte of the file."""
        piece = self.piece_at(offset)
        segment = piece.segment if piece else None
        return segment.address + offset - segment.offset if segment else None

    def piece_at(self, place: int) -> Piece | None:
        """Return the piece of a segment that a byte of the file is in."""
        at = bisect_right(self._places, place) - 1
        return self._pieces[at] if at >= 0 and place < self._pieces[at].end else None

    def pieces(self, start: int, end: int) -> Iterator[Piece]:
        """Yield the pieces that make up ``start`` to ``end`` of the file."""
        if start < end and (only := self.piece_at(start)) and end <= only.end:
            yield Piece(start, end, only.segment)
            return
        at = max(0, bisect_right(self._places, start) - 1)
        while start < end:
            if at < len(self._pieces) and self._pieces[at].end <= start:
                at += 1
                continue
            inside = at < len(self._pieces) and self._pieces[at].start <= start
            if inside:
                stop = min(end, self._pieces[at].end)
            else:
                stop = min(end, self._pieces[at].start) if at < len(self._pieces) else end
            yield Piece(start, stop, self._pieces[at].segment if inside else None)
            start = stop

    def _add(self, one: Segment) -> None:
        if one.size:
            self.offsets.add(one.address, one.offset - one.address)
            self.offsets.add(one.address + one.size, NOWHERE)
        if one.executable:
            self.code.add(one.address, 0)
            self.code.add(one.address + one.memory, NOWHERE)


def _by_place(segments: Iterable[Segment]) -> Iterator[Piece]:
    """Yield segments in the order of the file; what two of them have is the first one's."""
    end = 0
    for one in sorted(segments, key=lambda segment: segment.offset):
        start = max(end, one.offset)
        if start < one.offset + one.size:
            end = one.offset + one.size
            yield Piece(start, end, one)


def address_moves(old: Image, new: Image, shifts: Shifts) -> Steps:
    """Return by how much addresses of an old image differ in the new one; ``NOWHERE`` for those that either has not."""
    moves = no_steps()
    for segment in old.segments:
        _add_segment(moves, segment, new, shifts)
        moves.add(segment.address + segment.memory, NOWHERE)
    moves.add(_ADDRESSES, NOWHERE)
    return moves


def _add_segment(moves: Steps, segment: Segment, new: Image, shifts: Shifts) -> None:
    ahead = segment.ahead
    for start, end, shift in shifts.constant_between(segment.offset, segment.offset + segment.size):
        for piece in new.pieces(start + shift, end + shift):
            place = piece.start - shift
            if piece.segment is None:
                moves.add(place + ahead, NOWHERE)
            else:
                moves.add(place + ahead, shift + piece.segment.ahead - ahead)
