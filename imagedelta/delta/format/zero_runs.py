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
            piece = self._counted(length) if self._left else self._given(length)
            length -= len(piece)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def finish(self) -> None:
        """Check that no zeros are left over at the end of the item."""
        if self._left:
            raise ContentError(f"{self._left} zeros too many in the differences of an item")

    def _counted(self, most: int) -> bytes:
        zeros = min(self._left, most)
        self._left -= zeros
        return bytes(zeros)

    def _given(self, most: int) -> bytes:
        if self._row:  # a run that is begun may end first
            piece = self._dense.some(min(most, len(self._run) - self._row))
        else:
            piece = self._dense.up_to(self._run, most)
        behind = len(piece.rstrip(b"\0"))
        self._row = len(piece) - behind + (0 if behind else self._row)
        if self._row == len(self._run):
            self._left, self._row = self._counts.number(), 0
        return piece
