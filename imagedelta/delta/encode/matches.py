"""Where the bytes of a new file lie in the old one: hdiffpatch's search, of whose result only the matches are used.

Its suffix array takes 6 bytes per old byte and sorts four times as fast as bsdiff4's. What it would make of the
matches is thrown away: a patch codes all differences of all files together.

Source: HDiffPatch, HDIFF13 format (libHDiffPatch/HDiff/diff.cpp, serialize_compressed_diff), uncompressed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import hdiffpatch

from imagedelta.errors import ImageDeltaError

BYTES_PER_OLD_BYTE = 7
"""Memory of the search."""
_MAGIC = b"HDIFF13&\x00"
_NUMBERS = 11
"""Of the head: new size, old size, covers, bytes of the covers; then sizes of what is not read here."""
_COVERS, _COVER_BYTES = 2, 3


@dataclass(frozen=True, slots=True)
class Match:
    """A stretch of the new file that is much like one of the old."""

    old: int
    new: int
    length: int


def matches(old: bytes, new: bytes) -> list[Match]:
    """Return matches in the order of the new file; they do not overlap there, and most of their bytes are equal.

    Memory: ``BYTES_PER_OLD_BYTE`` times ``old``.
    """
    found = hdiffpatch.diff(old, new, validate=False)
    if not found.startswith(_MAGIC):
        raise ImageDeltaError(f"hdiffpatch gives another format than HDIFF13: {found[:16]!r}")
    data = _Numbers(found, len(_MAGIC))
    head = [data.number() for _ in range(_NUMBERS)]
    return list(_covers(data, head[_COVERS]))


def _covers(data: _Numbers, count: int) -> Iterator[Match]:
    old_end = new_end = 0
    for _ in range(count):
        backwards, distance = data.tagged()
        old = old_end - distance if backwards else old_end + distance
        new = new_end + data.number()
        length = data.number()
        yield Match(old, new, length)
        old_end, new_end = old + length, new + length


class _Numbers:
    """Numbers in groups of seven bits, highest first, bit 7 set on all but the last byte."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    def number(self) -> int:
        value = 0
        while True:
            byte = self._next()
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value

    def tagged(self) -> tuple[bool, int]:
        """Return a number whose first byte gives its highest bit to a flag."""
        first = self._next()
        value = first & 0x3F
        more = bool(first & 0x40)
        while more:
            byte = self._next()
            value, more = value << 7 | byte & 0x7F, byte >= 0x80
        return bool(first & 0x80), value

    def _next(self) -> int:
        byte = self._data[self._at]
        self._at += 1
        return byte
