"""Folding: the unfolded form of a target comes front to back, its plain parts are deflated, the file goes out.

Source: docs/formats/patch.md, the section on folds.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from imagedelta.delta.deflate.folds import PIECE_BYTES, RAW_DEFLATE, Fold, Write
from imagedelta.errors import ContentError, Truncated


class Deflater:
    """Deflates one stream as a fold says. Pieces of any size give the same bytes."""

    def __init__(self, level: int, mem_level: int, blocks: Iterable[int] = ()) -> None:
        """Args:
        blocks: Plain bytes of each block that is ended by hand; asked for one at a time.
        """
        self._zlib = zlib.compressobj(level, zlib.DEFLATED, RAW_DEFLATE, mem_level, zlib.Z_DEFAULT_STRATEGY)
        self._blocks = iter(blocks)
        self._left = next(self._blocks, None)

    def compress(self, data: bytes | memoryview) -> bytes:
        """Return packed bytes, as far as zlib gives them already."""
        packed = b""
        while self._left is not None and self._left <= len(data):
            packed += self._zlib.compress(data[: self._left]) + self._zlib.flush(zlib.Z_BLOCK)
            data = data[self._left :]
            self._left = next(self._blocks, None)
        if self._left is not None:
            self._left -= len(data)
        return packed + self._zlib.compress(data)

    def finish(self) -> bytes:
        """Return the rest."""
        return self._zlib.flush()


class Folder:
    """Turns an unfolded form back into the file. Memory: zlib's 256 KiB, or 512 with ``mem_level`` 9, and a piece."""

    def __init__(self, folds: Iterator[Fold], write: Write, size: int | None = None) -> None:
        """Args:
        folds: Taken one by one when their bytes come; what follows the last is raw.
        write: Takes the file, front to back.
        size: Bytes of the unfolded form, where known: others are refused.
        """
        self._folds = folds
        self._write = write
        self._left = size
        self._raw = 0
        self._plain = 0
        self._deflater: Deflater | None = None
        self._in_tail = False

    def write(self, data: bytes) -> None:
        """Take the next bytes of the unfolded form, any number of them."""
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise ContentError("the unfolded form is longer than its size says")
        rest = memoryview(data)
        while rest:
            taken = self._take(rest)
            rest = rest[taken:]

    def finish(self) -> None:
        """End the file.

        Raises:
            Truncated: Bytes are missing, in a fold or after the last one.
        """
        if not self._in_tail:
            self._next_fold()
        if not self._in_tail or self._left:
            raise Truncated("the unfolded form is shorter than its folds and its size say")

    def _take(self, data: memoryview) -> int:
        """Take bytes of one kind, at most a piece; return how many."""
        if self._in_tail:
            self._write(bytes(data))
            return len(data)
        if self._raw:
            taken = min(self._raw, len(data))
            self._write(bytes(data[:taken]))
            self._raw -= taken
            return taken
        if self._deflater is None:
            self._next_fold()
            return 0
        taken = min(self._plain, len(data), PIECE_BYTES)
        self._deflate(self._deflater, data[:taken])
        return taken

    def _deflate(self, deflater: Deflater, data: memoryview) -> None:
        packed = deflater.compress(data)
        self._plain -= len(data)
        if not self._plain:
            packed += deflater.finish()
            self._deflater = None
        if packed:
            self._write(packed)

    def _next_fold(self) -> None:
        """Go on to the next fold, or to the tail; nothing if the current fold is not done yet."""
        if self._raw or self._plain:
            return
        fold = next(self._folds, None)
        if fold is None:
            self._in_tail = True
        else:
            self._raw, self._plain = fold.raw, fold.plain
            self._deflater = Deflater(fold.level, fold.mem_level, fold.blocks)
