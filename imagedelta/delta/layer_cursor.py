"""A place in a target layer while its steps are written: structure read so far, and reading ahead."""

from __future__ import annotations

from collections.abc import Iterator

from imagedelta.delta.content import LayerReader
from imagedelta.delta.tar_structure import BLOCK
from imagedelta.limits import KIB, MIB

LONG_STRUCTURE = 64 * KIB
"""A longer run between two files is no tar structure any more: pax headers stay far below."""
_AHEAD = 256 * KIB


class ReadAhead:
    """Answers small neighbouring reads out of one larger one: few requests where each costs a round trip."""

    def __init__(self, reader: LayerReader) -> None:
        self._reader = reader
        self.size = reader.size
        self._start = 0
        self._block = b""

    def read_at(self, offset: int, length: int) -> bytes:
        """See ``LayerReader``."""
        if length >= _AHEAD:
            return self._reader.read_at(offset, length)
        at = offset - self._start
        if at < 0 or at + length > len(self._block):
            ahead = max(length, min(_AHEAD, self.size - offset))
            self._start, at = offset, 0
            self._block = self._reader.read_at(offset, ahead)
        return self._block[at : at + length]


class LayerCursor:
    """Walks over one layer, front to back."""

    def __init__(self, reader: LayerReader, size: int) -> None:
        self.reader = ReadAhead(reader)
        self._size = size
        self.position = 0
        self._length = 0
        self._end = b""

    def structure_up_to(self, offset: int) -> Iterator[tuple[bytes, bool]]:
        """Yield the bytes from here to ``offset`` in pieces, each with whether the run is a long one."""
        is_long = offset - self.position > LONG_STRUCTURE
        while self.position < offset:
            data = self.reader.read_at(self.position, min(MIB, offset - self.position))
            self.position += len(data)
            yield data, is_long

    def structure_written(self, data: bytes) -> None:
        """Count ``data`` to the structure before the next step."""
        self._length += len(data)
        self._end = (self._end + data)[-BLOCK:]

    def skip(self, size: int) -> None:
        """Move past the data of a file."""
        self.position += size

    def take_structure(self) -> tuple[int, bytes]:
        """Return length and last 512 bytes of the structure since the last step, and start anew."""
        taken = self._length, self._end
        self._length, self._end = 0, b""
        return taken
