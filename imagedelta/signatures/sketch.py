"""Sketches: eight numbers by which a file is found similar to another, whatever both are called.

Places in a file are chosen by its content alone, so that bytes inserted in front move them along. The hashes
of what follows those places are a fair sample of the file's content, and the smallest ones of two versions of a
file are mostly the same (Broder, "On the resemblance and containment of documents").

Source: docs/formats/index.md, section 6.
"""

from __future__ import annotations

import re
from zlib import crc32

SMALLEST = 2048
"""Files of fewer bytes have no sketch."""
MOST_VALUES = 8
_WINDOW = 32
_ANCHORS = tuple(re.compile(rb"%b[^%b\0](.{%d})" % (first, first, _WINDOW), re.DOTALL) for first in (b"v",))
_MATCH = _WINDOW + 2
_STEP = 64 * 1024


class Sketcher:
    """Takes the data of one file, front to back, in pieces of any size, and keeps less than a window of it."""

    def __init__(self) -> None:
        self._rests = [b""] * len(_ANCHORS)
        self._smallest: tuple[int, ...] = ()

    def update(self, piece: bytes | memoryview) -> None:
        """Take the next bytes; few at a time, because splitting makes thousands of parts of them."""
        for at in range(0, len(piece), _STEP):
            self._take(piece[at : at + _STEP])

    def _take(self, piece: bytes | memoryview) -> None:
        values = set(self._smallest)
        for number, anchor in enumerate(_ANCHORS):
            parts = anchor.split(b"".join((self._rests[number], piece)))
            # A match has a fixed length, so only the last bytes can begin one that is not complete yet.
            self._rests[number] = parts[-1][1 - _MATCH :]
            values.update(map(crc32, set(parts[1::2])))
        self._smallest = tuple(sorted(values)[:MOST_VALUES])

    def values(self) -> tuple[int, ...]:
        """Return the up to eight smallest distinct hashes, ascending."""
        return self._smallest
