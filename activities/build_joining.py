"""A patch made of parts that the storage joins: proved where it lies, and published without passing through here."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, cast

from activities.build_scratch import BuildScratch, DamagedScratch, Part
from activities.build_whole import Built
from imagedelta.archives import sha256_id
from imagedelta.bundles import chunk_list
from imagedelta.limits import KIB, MIB
from services.ports import BlobRange, Blobs

_BLOCK = MIB
_BLOCKS = 32
"""A patch has as many streams at most, and each is read front to back."""


def keep_patch(
    scratch: BuildScratch, parts: Sequence[Part], memory_bytes: int, prove: Callable[[BinaryIO], object]
) -> Built:
    """Join, prove and publish a patch.

    Args:
        prove: Raises ContentError when the patch does not make its image.

    Raises: DamagedScratch for a part with other bytes than were kept.
    """
    blobs, whole = scratch.blobs, scratch.compose("patch", parts)
    with blobs.open(whole.container, whole.name) as stream:
        watched = _Watched(stream, parts, scratch)
        chunks = chunk_list(cast(BinaryIO, watched))
    watched.finish()
    prove(cast(BinaryIO, io.BufferedReader(_Blocks(blobs, whole), 64 * KIB)))
    blobs.put_if_absent("patches", f"{watched.sha256}.chunks", [chunks])
    blobs.compose_if_absent("patches", watched.sha256, [whole])
    return Built(whole.length, watched.sha256, watched.crc32, sha256_id(chunks), memory_bytes)


class _Watched:
    """A joined patch that is read once: digests of all of it, and of each part against its name."""

    def __init__(self, stream: BinaryIO, parts: Sequence[Part], scratch: BuildScratch) -> None:
        self._stream = stream
        self._parts = iter(parts)
        self._scratch = scratch
        self._sha256 = hashlib.sha256()
        self.crc32 = 0
        self._begin()

    @property
    def sha256(self) -> str:
        """64 hex digits."""
        return self._sha256.hexdigest()

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._sha256.update(data)
        self.crc32 = zlib.crc32(data, self.crc32)
        rest = memoryview(data)
        while rest and self._part is not None:
            taken = rest[: self._left]
            self._digest.update(taken)
            self._left -= len(taken)
            rest = rest[len(taken) :]
            if not self._left:
                self._end()
        return data

    def finish(self) -> None:
        """Raises: DamagedScratch when the parts are longer than what was joined of them."""
        if self._part is not None:
            self._fail(self._part)

    def _begin(self) -> None:
        self._part = next(self._parts, None)
        self._left = self._part.size if self._part else 0
        self._digest = hashlib.sha256()

    def _end(self) -> None:
        part = self._part
        if part and part.what and self._digest.hexdigest() != self._scratch.digest(part.what):
            self._fail(part)
        self._begin()

    def _fail(self, part: Part) -> None:
        self._scratch.drop("patch")
        self._scratch.drop(part.what)
        raise DamagedScratch(part.what)


class _Blocks(io.RawIOBase):
    """A blob that is read in several places by turns: in blocks, of which the last few stay in memory."""

    def __init__(self, blobs: Blobs, blob: BlobRange) -> None:
        super().__init__()
        self._blobs = blobs
        self._blob = blob
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._blob.length}[whence]
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        number, at = divmod(self._position, _BLOCK)
        data = self._block(number)[at : at + len(buffer)] if self._position < self._blob.length else b""
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            size = min(_BLOCK, self._blob.length - number * _BLOCK)
            self._blocks[number] = self._blobs.read_at(self._blob.container, self._blob.name, number * _BLOCK, size)
            if len(self._blocks) > _BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return self._blocks[number]
