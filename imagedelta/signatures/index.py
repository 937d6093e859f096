"""The file index of a layer: where each file's bytes are in the uncompressed tar, and their digest.

A planner finds out from indexes alone which files two images share and which byte ranges it must read.
Every byte of the tar outside file data is *structure*: headers, padding, end marks, and whatever fits no
model of a tar. So an index describes any bytes at all; at worst they are all structure.

Not here: the bytes of a stored index (imagedelta.signatures.index_codec).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from imagedelta.archives.tar_members import TarMember, walk_tar
from imagedelta.errors import LimitExceeded
from imagedelta.limits import DEFAULT_LIMITS, MIB, Limits
from imagedelta.signatures import index_codec

_PIECE = MIB


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One member of a layer; offsets are bytes from the start of the uncompressed tar."""

    path: bytes
    """Without ``./`` or ``/`` in front or a ``/`` behind, so that layers of different builders compare."""
    kind: str
    """``file``, ``hardlink``, ``symlink``, ``character``, ``block``, ``directory``, ``fifo`` or ``other``."""
    header_offset: int
    """Of the first header block, extension headers included."""
    offset: int
    """Of the data; the stored bytes for a sparse file."""
    size: int
    """Bytes of data, without padding; 0 for members without any."""
    digest: bytes
    """SHA-256 of the data (32 bytes), empty when ``size`` is 0."""


@dataclass(frozen=True, slots=True)
class LayerIndex:
    """The file index of one layer."""

    diff_id: str
    size: int
    """Bytes of the uncompressed tar."""
    entries: tuple[FileEntry, ...]
    """In the order of the tar; data never overlaps."""

    def to_bytes(self) -> bytes:
        """Encode for storage; the same index gives the same bytes (docs/formats/index.md)."""
        return index_codec.encode(self)

    @staticmethod
    def from_bytes(data: bytes, limits: Limits = DEFAULT_LIMITS) -> LayerIndex:
        """Decode what ``to_bytes`` made.

        Raises:
            UnsupportedFormat: Another version.
            LimitExceeded: A stated size or count is over its limit.
            ContentError: Damaged: cut short, offsets out of order or past the layer's end.
        """
        diff_id, size, rows = index_codec.decode(data, limits)
        return LayerIndex(diff_id, size, tuple(FileEntry(*row) for row in rows))


def index_layer(
    stream: BinaryIO, tee: Callable[[bytes], object] | None = None, limits: Limits = DEFAULT_LIMITS
) -> LayerIndex:
    """Read an uncompressed layer once, to its end, and describe it.

    Args:
        stream: At the first byte of the tar; only ``read`` is called, 1 MiB at a time.
        tee: Called with every piece read, in order: the place to store or forward the layer on the way.
        limits: ``max_image_bytes`` and ``max_layer_files`` bound what is read and kept.

    Returns:
        The index; its ``diff_id`` is computed from the bytes, not taken from anyone.

    Raises:
        LimitExceeded: More bytes or members than the limits allow. Nothing else: odd bytes are structure.
    """
    tape = _HashingTape(stream, tee, limits)
    entries = []
    for member in walk_tar(tape, limits, strict=False, max_members=limits.max_layer_files):
        entry = _entry(member, tape)
        if entry is not None:
            entries.append(entry)
    return LayerIndex(tape.diff_id, tape.position, tuple(entries))


def _entry(member: TarMember, tape: _HashingTape) -> FileEntry | None:
    """Hash the member's data; ``None`` if the tar ends inside it: then it is structure."""
    digest = tape.digest_of(member.size) if member.size else b""
    if digest is None:
        return None
    path = member.path.removeprefix(b"./").strip(b"/")
    return FileEntry(path, member.kind, member.header_offset, member.offset, member.size, digest)


class _HashingTape:
    """Reads forward, hashing everything, and each file's data once more on its own."""

    def __init__(self, stream: BinaryIO, tee: Callable[[bytes], object] | None, limits: Limits) -> None:
        self._stream = stream
        self._tee = tee
        self._limit = limits.max_image_bytes
        self._hash = hashlib.sha256()
        self._rest = memoryview(b"")
        self._read = 0
        self.position = 0

    @property
    def diff_id(self) -> str:
        return "sha256:" + self._hash.hexdigest()

    def read(self, size: int) -> bytes:
        if len(self._rest) >= size:
            return bytes(self._take(size))
        return b"".join(self._pieces(size))

    def skip(self, size: int) -> int:
        return sum(map(len, self._pieces(size)))

    def digest_of(self, size: int) -> bytes | None:
        """Pass over ``size`` bytes and return their SHA-256; ``None`` if there are fewer."""
        digest = hashlib.sha256()
        for piece in self._pieces(size):
            digest.update(piece)
            size -= len(piece)
        return None if size else digest.digest()

    def _pieces(self, size: int) -> Iterator[memoryview]:
        while size and (self._rest or self._refill()):
            piece = self._take(min(size, len(self._rest)))
            size -= len(piece)
            yield piece

    def _take(self, size: int) -> memoryview:
        piece, self._rest = self._rest[:size], self._rest[size:]
        self.position += size
        return piece

    def _refill(self) -> bool:
        data = self._stream.read(_PIECE)
        self._read += len(data)
        if self._read > self._limit:
            raise LimitExceeded(f"layer of more than {self._limit} bytes")
        self._hash.update(data)
        if data and self._tee:
            self._tee(data)
        self._rest = memoryview(data)
        return bool(data)
