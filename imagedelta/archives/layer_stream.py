"""One layer as a plain tar that proves itself: its last byte is given out only if the whole has its diff_id."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO

from imagedelta.archives.digest_aside import DigestAside
from imagedelta.errors import DigestMismatch

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def verified_stream(pieces: Iterator[bytes], diff_id: str, close: Callable[[], None]) -> BinaryIO:
    """Return ``pieces`` as a sequential stream whose end is reached only with the promised digest.

    The read that would return the end raises DigestMismatch instead if the bytes differ, so a caller must
    read up to the end (an empty read) before it trusts what it read. Closing it calls ``close``.
    """
    return io.BufferedReader(_VerifiedPieces(pieces, diff_id, close), buffer_size=64 * 1024)


class _VerifiedPieces(io.RawIOBase):
    def __init__(self, pieces: Iterator[bytes], diff_id: str, close: Callable[[], None]) -> None:
        super().__init__()
        self._pieces = pieces
        self._diff_id = diff_id
        self._close = close
        self._digest = DigestAside()
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self._digest.close()
            self._close()
        super().close()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        target = memoryview(buffer).cast("B")
        if not self._rest:
            self._rest = memoryview(self._next_piece())
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _next_piece(self) -> bytes:
        for piece in self._pieces:
            if piece:
                self._digest.update(piece)
                return piece
        found = "sha256:" + self._digest.hexdigest()
        if found != self._diff_id:
            raise DigestMismatch(f"the layer that the config names {self._diff_id} has the bytes of {found}")
        return b""
