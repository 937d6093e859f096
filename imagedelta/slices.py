"""A part of a seekable stream as a stream of its own."""

from __future__ import annotations

import io
from typing import BinaryIO


class SliceReader(io.RawIOBase):
    """Bytes ``[offset, offset + size)`` of ``stream``, which stays open and belongs to the caller.

    Several slices may share one stream in one thread: each read seeks first.
    """

    def __init__(self, stream: BinaryIO, offset: int, size: int) -> None:
        super().__init__()
        self._stream = stream
        self._offset = offset
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        wanted = min(len(view), max(0, self._size - self._position))
        self._stream.seek(self._offset + self._position)
        data = self._stream.read(wanted)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)
