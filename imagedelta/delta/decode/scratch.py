"""The device's scratch while a patch is applied: bytes kept because they occur again, and unfolded bases.

Both are files, opened when first needed; together they take at most what the head of the patch states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import BinaryIO, Self

from imagedelta.delta.content import check_range, read_pieces
from imagedelta.errors import LimitExceeded


class ScratchFile:
    """Bytes that are appended and read at random; a LayerReader."""

    def __init__(self, file: BinaryIO, take_room: Callable[[int], None]) -> None:
        self._file = file
        self._take_room = take_room
        self.size = 0

    def append(self, data: bytes) -> None:
        """Put ``data`` behind what is there.

        Raises:
            LimitExceeded: The head of the patch states less scratch.
        """
        self._take_room(len(data))
        self._file.seek(self.size)
        self._file.write(data)
        self.size += len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        """See ``LayerReader``."""
        check_range(offset, length, self.size)
        self._file.seek(offset)
        return self._file.read(length)

    def pieces(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield a range, each piece read when it is asked for."""
        check_range(offset, length, self.size)
        yield from read_pieces(self, offset, length)


class Scratch:
    """All scratch of one patch."""

    def __init__(self, open_file: Callable[[], BinaryIO], limit: int) -> None:
        """Args:
        open_file: Gives an empty file that goes away when it is closed.
        limit: Bytes in all.
        """
        self._open_file = open_file
        self._limit = self.room = limit
        self._files = ExitStack()
        self._kept: ScratchFile | None = None

    @property
    def kept(self) -> ScratchFile:
        """The bytes that occur again, in the order in which they were made."""
        if self._kept is None:
            self._kept = ScratchFile(self._files.enter_context(self._open_file()), self._take_room)
        return self._kept

    @contextmanager
    def unfolded_base(self) -> Iterator[ScratchFile]:
        """Give a file for one unfolded base, and its room back afterwards."""
        with self._open_file() as file:
            base = ScratchFile(file, self._take_room)
            try:
                yield base
            finally:
                self.room += base.size

    def _take_room(self, size: int) -> None:
        if size > self.room:
            raise LimitExceeded(f"the patch takes more than the {self._limit} bytes of scratch its head states")
        self.room -= size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.close()
