"""The file index of a layer: where each file's bytes are in the uncompressed tar, and what they resemble.

A planner finds out from indexes alone which files two images share and which byte ranges it must read.
Every byte of the tar outside file data is *structure*: headers, padding, end marks, and whatever fits no
model of a tar. So an index describes any bytes at all; at worst they are all structure. The index holds the
structure itself too, so that headers are coded without a read of the layer.

Not here: the bytes of a stored index (imagedelta.signatures.index_codec).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import BinaryIO

from imagedelta.archives.digest_aside import DigestAside
from imagedelta.archives.tar_members import TarMember, walk_tar
from imagedelta.errors import ContentError, LimitExceeded
from imagedelta.limits import DEFAULT_LIMITS, MIB, Limits
from imagedelta.signatures import index_codec
from imagedelta.signatures.sketch import SMALLEST, Sketcher
from imagedelta.signatures.structure import NO_STRUCTURE, Spans, Structure, StructureWriter
from imagedelta.signatures.timeless import TimelessHash, may_be_timeless

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
    timeless: bytes = b""
    """Of a .pyc with a timestamp, SHA-256 of the data with that time taken as zero; else empty."""
    stamp: int = 0
    """That time: the little-endian u32 at bytes 8 to 11."""
    sketch: tuple[int, ...] = ()
    """Up to eight u32, ascending, of a file of at least 2,048 bytes; similar files share some."""


@dataclass(frozen=True, slots=True)
class LayerIndex:
    """The file index of one layer."""

    diff_id: str
    size: int
    """Bytes of the uncompressed tar."""
    entries: tuple[FileEntry, ...]
    """In the order of the tar; data never overlaps."""
    structure: Structure = NO_STRUCTURE
    """The bytes of the tar outside file data."""

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
        stored = index_codec.decode(data, limits)
        entries = tuple(FileEntry(*row) for row in stored.rows)
        structure = NO_STRUCTURE
        if stored.structure_bytes:
            structure = Structure(stored.frames, _spans(entries, stored.layer_size))
            if structure.total != stored.structure_bytes:
                raise ContentError(f"file index: structure of {structure.total} bytes, announced otherwise")
        return LayerIndex(stored.diff_id, stored.layer_size, entries, structure)


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
    structure = StructureWriter(limits)
    with closing(DigestAside()) as digest:
        tape = _HashingTape(stream, tee, limits, structure, digest)
        entries = []
        for member in walk_tar(tape, limits, strict=False, max_members=limits.max_layer_files):
            entry = _entry(member, tape)
            if entry is not None:
                structure.end_run(entry.size)
                entries.append(entry)
        kept = structure.finish(_spans(entries, tape.position))
        return LayerIndex("sha256:" + digest.hexdigest(), tape.position, tuple(entries), kept)


def _spans(entries: Iterable[FileEntry], layer_size: int) -> Spans:
    return Spans(((entry.offset, entry.size) for entry in entries), layer_size)


def _entry(member: TarMember, tape: _HashingTape) -> FileEntry | None:
    """Describe the member's data while passing over it; ``None`` if the tar ends inside: then it is structure."""
    path = member.path.removeprefix(b"./").strip(b"/")
    size = member.size
    if not size:
        return FileEntry(path, member.kind, member.header_offset, member.offset, size, b"")
    digest = hashlib.sha256()
    timeless = TimelessHash() if may_be_timeless(path, size) else None
    sketcher = Sketcher() if size >= SMALLEST else None
    readers = [reader.update for reader in (digest, timeless, sketcher) if reader is not None]
    missing = size
    for piece in tape.pieces(size):
        missing -= len(piece)
        for update in readers:
            update(piece)
    if missing:
        return None
    return FileEntry(
        path,
        member.kind,
        member.header_offset,
        member.offset,
        size,
        digest.digest(),
        timeless=timeless.digest() if timeless else b"",
        stamp=timeless.stamp if timeless else 0,
        sketch=sketcher.values() if sketcher else (),
    )


class _HashingTape:
    """Reads forward, hashing everything and offering it to the structure."""

    def __init__(
        self,
        stream: BinaryIO,
        tee: Callable[[bytes], object] | None,
        limits: Limits,
        structure: StructureWriter,
        digest: DigestAside,
    ) -> None:
        self._stream = stream
        self._tee = tee
        self._structure = structure
        self._limit = limits.max_image_bytes
        self._digest = digest
        self._rest = memoryview(b"")
        self._read = 0
        self.position = 0

    def read(self, size: int) -> bytes:
        if len(self._rest) >= size:
            return bytes(self._take(size))
        return b"".join(self.pieces(size))

    def skip(self, size: int) -> int:
        return sum(map(len, self.pieces(size)))

    def pieces(self, size: int) -> Iterator[memoryview]:
        """Pass over ``size`` bytes, fewer only at the end."""
        while size and (self._rest or self._refill()):
            piece = self._take(min(size, len(self._rest)))
            size -= len(piece)
            yield piece

    def _take(self, size: int) -> memoryview:
        piece, self._rest = self._rest[:size], self._rest[size:]
        self.position += size
        self._structure.add(piece)
        return piece

    def _refill(self) -> bool:
        data = self._stream.read(_PIECE)
        self._read += len(data)
        if self._read > self._limit:
            raise LimitExceeded(f"layer of more than {self._limit} bytes")
        self._digest.update(data)
        if data and self._tee:
            self._tee(data)
        self._rest = memoryview(data)
        return bool(data)
