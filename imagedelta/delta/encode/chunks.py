"""Chunks: the files of a build that must be compared, cut into parts that are worked on apart.

A chunk's result is a run of pieces in a file of its own, so it can be made by another thread, process or
machine; which files share a chunk changes nothing in the patch. The form of that file is private to one version
of this program: both ends of a split build run the same one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from imagedelta.delta.content import LayerContent
from imagedelta.delta.encode.file_pieces import FilePieces, Piece
from imagedelta.delta.encode.plan import FilePlan
from imagedelta.delta.format import numbers
from imagedelta.delta.format.items import Item, Way
from imagedelta.delta.format.roles import Role
from imagedelta.errors import Truncated
from imagedelta.limits import MIB

CHUNK_BYTES = 2 * MIB
"""Old and new bytes of a chunk; a larger file, or part of one, is a chunk of its own."""
_PIECE, _END_OF_FILE = b"\x01", b"\x00"


@dataclass(frozen=True, slots=True)
class Work:
    """A file, or a part of a large one."""

    layer: LayerContent
    file: FilePlan
    part: int
    parts: int

    @property
    def new_bytes(self) -> int:
        """Bytes of the target, about."""
        return self.file.entry.size // self.parts

    @property
    def old_bytes(self) -> int:
        """Bytes of the source, about."""
        return self.file.base.entry.size // self.parts if self.file.base else 0


Chunk = Sequence[Work]


def cut(files: Iterable[tuple[LayerContent, FilePlan]], maker: FilePieces) -> Sequence[Chunk]:
    """Return the files in chunks, in their order."""
    chunks: list[list[Work]] = []
    room = 0
    for layer, file in files:
        parts = maker.parts(file)
        for part in range(parts):
            work = Work(layer, file, part, parts)
            size = work.new_bytes + work.old_bytes
            if not chunks or size > room:
                chunks.append([])
                room = CHUNK_BYTES
            chunks[-1].append(work)
            room -= size
    return chunks


def make_chunk(chunk: Chunk, maker: FilePieces, out: BinaryIO) -> None:
    """Write the pieces of one chunk."""
    for work in chunk:
        for piece in maker.make(work.layer, work.file, work.part):
            out.write(_PIECE)
            _write_piece(piece, out)
        if work.part + 1 == work.parts:
            out.write(_END_OF_FILE)


def chunk_memory(chunk: Chunk, maker: FilePieces) -> int:
    """Return about how many bytes making a chunk takes."""
    return max(maker.memory(work.file) for work in chunk)


class ChunkReader:
    """Reads chunks back, file after file."""

    def __init__(self, chunks: Iterable[BinaryIO]) -> None:
        """Args:
        chunks: In their order, each at its start; the next is taken when the one before is used up.
        """
        self._chunks = iter(chunks)
        self._chunk: BinaryIO | None = None

    def next_file(self) -> Iterator[Piece]:
        """Yield the pieces of the next file; they must all be taken."""
        while (mark := self._mark()) == _PIECE:
            assert self._chunk is not None  # noqa: S101 - a mark came out of it
            yield _read_piece(self._chunk)
        if mark != _END_OF_FILE:
            raise Truncated("the chunks of a build end before its files do")

    def _mark(self) -> bytes:
        while True:
            mark = self._chunk.read(1) if self._chunk else b""
            if mark:
                return mark
            following = next(self._chunks, None)
            if following is None:
                return b""
            self._chunk = following


def _write_piece(piece: Piece, out: BinaryIO) -> None:
    item = piece.item
    base = 0 if item.base is None else item.base + 1
    prime = 0 if piece.prime is None else piece.prime + 1
    fields = (item.way, item.length, base, item.offset, item.inner_length, prime, piece.part_bytes, len(piece.streams))
    out.write(b"".join(map(numbers.encode, fields)))
    for role, data in piece.streams.items():
        out.write(numbers.encode(role) + numbers.encode(len(data)))
        out.write(data)


def _read_piece(chunk: BinaryIO) -> Piece:
    way, length, base, offset, inner_length, prime, part_bytes, count = (_number(chunk) for _ in range(8))
    streams = {}
    for _ in range(count):
        role = Role(_number(chunk))
        streams[role] = chunk.read(_number(chunk))
    item = Item(Way(way), length, base - 1 if base else None, offset, inner_length=inner_length)
    return Piece(item, streams, prime - 1 if prime else None, part_bytes)


def _number(chunk: BinaryIO) -> int:
    return numbers.decode(lambda: _byte(chunk))


def _byte(chunk: BinaryIO) -> int:
    byte = chunk.read(1)
    if not byte:
        raise Truncated("a chunk of a build is cut short")
    return byte[0]
