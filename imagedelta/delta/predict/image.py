"""Where the segments of a program lie, in its file and in memory, whatever its format."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from imagedelta.delta.predict.shifts import Shifts

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
        self._addresses = [one.address for one in self.segments]
        self._pieces = list(_by_place(self.segments))
        self._places = [piece.start for piece in self._pieces]

    @property
    def lowest(self) -> int:
        """The first address."""
        return self._addresses[0] if self.segments else 0

    @property
    def end(self) -> int:
        """Behind the last address."""
        return self.segments[-1].address + self.segments[-1].memory if self.segments else 0

    def segment_of(self, address: int) -> Segment | None:
        """Return the segment that has an address."""
        at = bisect_right(self._addresses, address) - 1
        if at < 0 or address - self._addresses[at] >= self.segments[at].memory:
            return None
        return self.segments[at]

    def offset_of(self, address: int) -> int | None:
        """Return where in the file the byte of an address is."""
        segment = self.segment_of(address)
        within = address - segment.address if segment else 0
        return segment.offset + within if segment and within < segment.size else None

    def address_of(self, offset: int) -> int | None:
        """Return the address of a byte of the file."""
        at = bisect_right(self._places, offset) - 1
        if at < 0 or offset >= self._pieces[at].end:
            return None
        segment = self._pieces[at].segment
        return segment.address + offset - segment.offset if segment else None

    def pieces(self, start: int, end: int) -> Iterator[Piece]:
        """Yield the pieces that make up ``start`` to ``end`` of the file."""
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


def _by_place(segments: Iterable[Segment]) -> Iterator[Piece]:
    """Yield segments in the order of the file; what two of them have is the first one's."""
    end = 0
    for one in sorted(segments, key=lambda segment: segment.offset):
        start = max(end, one.offset)
        if start < one.offset + one.size:
            end = one.offset + one.size
            yield Piece(start, end, one)


NOWHERE = -(1 << 63)


class AddressMap:
    """By how much addresses of an old image differ in the new one: a function that is constant between ``starts``."""

    def __init__(self, old: Image, new: Image, shifts: Shifts) -> None:
        self.starts = array("q")
        self.differences = array("q")
        """``NOWHERE`` for addresses that either image has not. So is the last, which is also what is before the first:
        ``differences[bisect_right(starts, address) - 1]`` needs no check."""
        for segment in old.segments:
            self._add_segment(segment, new, shifts)
            self._add(segment.address + segment.memory, NOWHERE)
        self._add(_ADDRESSES, NOWHERE, always=True)

    def moved(self, address: int) -> int | None:
        """Return what an address is in the new image."""
        difference = self.differences[bisect_right(self.starts, address) - 1]
        return None if difference == NOWHERE else address + difference

    def _add_segment(self, segment: Segment, new: Image, shifts: Shifts) -> None:
        ahead = segment.address - segment.offset
        for start, end, shift in shifts.constant_between(segment.offset, segment.offset + segment.size):
            for piece in new.pieces(start + shift, end + shift):
                place = piece.start - shift
                if piece.segment is None:
                    self._add(place + ahead, NOWHERE)
                else:
                    new_ahead = piece.segment.address - piece.segment.offset
                    self._add(place + ahead, shift + new_ahead - ahead)

    def _add(self, start: int, difference: int, *, always: bool = False) -> None:
        if always or not self.differences or difference != self.differences[-1]:
            self.starts.append(start)
            self.differences.append(difference)
