"""Matches that follow each other, and the extra bytes between them, made at once.

A program that was built anew consists of hundreds of thousands, of a few hundred bytes each.

Source: docs/formats/patch.md, section 4.
"""

from __future__ import annotations

from imagedelta.delta.byte_sums import PIECE_BYTES
from imagedelta.delta.format.tape import Tape
from imagedelta.delta.format.zero_runs import ZeroRuns
from imagedelta.delta.predict import differences
from imagedelta.delta.predict.old import Old, Part


class Batch:
    """What is to be made next of a delta, at most ``PIECE_BYTES``."""

    def __init__(self, old: Old, runs: ZeroRuns, extra: Tape) -> None:
        """Args:
        old: What differences are added to.
        runs: The differences.
        extra: Stream of the extra bytes.
        """
        self._old, self._runs, self._extra = old, runs, extra
        self._start()

    def add(self, part: Part) -> bool:
        """Add the next part of a match, if there is room for it; return whether there was."""
        length = part.length
        if length > self._room:
            return False
        self._parts.append(part)
        self._same += length
        self._room -= length
        return True

    def add_extra(self, length: int) -> bool:
        """Add the next extra bytes, if there is room for them; return whether there was."""
        if length > self._room:
            return False
        self._between.append((self._same, length))
        self._new += length
        self._room -= length
        return True

    def make(self) -> bytes:
        """Return the bytes of what was added, and begin anew."""
        made = self._woven(self._made_of_old(), self._extra.read(self._new))
        self._start()
        self._old.show(made)
        return made

    def _start(self) -> None:
        self._parts: list[Part] = []
        self._same = 0
        """Bytes of all parts."""
        self._between: list[tuple[int, int]] = []
        """Behind how many bytes of parts so many extra bytes are."""
        self._new = 0
        """Extra bytes."""
        self._room = PIECE_BYTES

    def _made_of_old(self) -> bytes:
        if not self._parts:
            return b""
        return differences.add(self._old.together(self._parts), self._runs.read(self._same))

    def _woven(self, same: bytes, extra: bytes) -> bytes:
        if not extra:
            return same
        pieces: list[bytes] = []
        at = taken = 0
        for behind, length in self._between:
            pieces += same[at:behind], extra[taken : taken + length]
            at, taken = behind, taken + length
        return b"".join([*pieces, same[at:]])
