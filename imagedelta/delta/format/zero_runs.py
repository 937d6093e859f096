"""Differences without their long runs of zeros: after so many zeros in a row comes, apart, how many more follow.

Most of a changed file is as it was, so its differences are mostly zeros. LZMA's matches are at most 273 bytes
long: a run of megabytes costs hundreds of bytes there, and two here.

Source: docs/formats/patch.md, section 4.
"""

from __future__ import annotations

import re

from imagedelta import leb128
from imagedelta.delta.format.tape import Tape
from imagedelta.errors import ContentError
from imagedelta.limits import KIB

_AT_ONCE = 2 * KIB
"""So many bytes are searched for runs at once: mostly fewer are needed to the end of what is read."""
RUN, SHORT_RUN = 32, 8
"""Zeros after which the rest of a run is counted; the second in patches of the second format."""


def shorten(differences: bytes, run_bytes: int = RUN) -> tuple[bytes, bytes]:
    """Return the differences without the rest of each long run, and the counts of what was left out."""
    dense, counts = bytearray(), bytearray()
    at = 0
    for run in re.finditer(rb"\0{%d,}" % run_bytes, differences):
        dense += differences[at : run.start() + run_bytes]
        counts += leb128.encode(run.end() - run.start() - run_bytes)
        at = run.end()
    dense += differences[at:]
    return bytes(dense), bytes(counts)


class Shortening:
    """``shorten``, of differences that come bit by bit."""

    def __init__(self, run_bytes: int) -> None:
        self._run_bytes = run_bytes
        self._dense, self._counts = bytearray(), bytearray()
        self._zeros = 0
        """Of a run that may go on."""

    def add(self, differences: bytes) -> None:
        """Take the next."""
        behind = differences.lstrip(b"\0")
        self._zeros += len(differences) - len(behind)
        if not behind:
            return
        self._end_run()
        middle = behind.rstrip(b"\0")
        dense, counts = shorten(middle, self._run_bytes)
        self._dense += dense
        self._counts += counts
        self._zeros = len(behind) - len(middle)

    def finish(self) -> tuple[bytes, bytes]:
        """Return what ``shorten`` does of all."""
        self._end_run()
        return bytes(self._dense), bytes(self._counts)

    def _end_run(self) -> None:
        self._dense += bytes(min(self._zeros, self._run_bytes))
        if self._zeros >= self._run_bytes:
            self._counts += leb128.encode(self._zeros - self._run_bytes)
        self._zeros = 0


class ZeroRuns:
    """The differences of one item as they were, piece by piece."""

    def __init__(self, dense: Tape, counts: Tape, run_bytes: int = RUN) -> None:
        self._run = bytes(run_bytes)
        self._dense = dense
        self._counts = counts
        self._left = 0
        """Zeros of a run that was counted."""
        self._row = 0
        """Zeros behind the last byte that is none."""

    def read(self, length: int) -> bytes:
        """Return the next ``length`` differences, all of them in memory."""
        pieces: list[bytes] = []
        while length:
            if self._left:
                length -= self._counted(length, pieces)
            elif self._row:  # a run that is begun may end first
                length -= self._take(self._dense.some(min(length, len(self._run) - self._row)), pieces)
            else:
                length -= self._given(length, pieces)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def finish(self) -> None:
        """Check that no zeros are left over at the end of the item."""
        if self._left:
            raise ContentError(f"{self._left} zeros too many in the differences of an item")

    def _counted(self, most: int, pieces: list[bytes]) -> int:
        zeros = min(self._left, most)
        self._left -= zeros
        pieces.append(bytes(zeros))
        return zeros

    def _given(self, most: int, pieces: list[bytes]) -> int:
        """Take differences that are at hand; return how many."""
        given = self._dense.some(min(most, _AT_ONCE))
        run_bytes, number = len(self._run), self._counts.number
        used, room = 0, most
        for before in given.split(self._run)[:-1]:  # there may be a million runs
            size = len(before) + run_bytes
            if size > room:
                break
            counted = number()
            used, room = used + size, room - size
            zeros = min(counted, room)
            pieces += before, bytes(run_bytes + zeros)
            room -= zeros
            if zeros < counted:
                self._left = counted - zeros
                break
        end = used if self._left else used + room
        room -= self._take(given[used:end], pieces)
        self._dense.unread(max(0, len(given) - end))
        return most - room

    def _take(self, piece: bytes, pieces: list[bytes]) -> int:
        """Take differences in which a run may be begun, and ends at their end if anywhere; return how many."""
        behind = len(piece.rstrip(b"\0"))
        self._row = len(piece) - behind + (0 if behind else self._row)
        if self._row == len(self._run):
            self._left, self._row = self._counts.number(), 0
        pieces.append(piece)
        return len(piece)
