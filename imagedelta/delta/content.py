"""What the encoder and the device read from: uncompressed layer tars with random access.

A reader may be a file, a range of a blob behind HTTP, or bytes in a test; nobody here has a whole layer in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from imagedelta.delta.byte_sums import PIECE_BYTES
from imagedelta.errors import ContentError, Truncated

if TYPE_CHECKING:  # a device has readers, but no index
    from imagedelta.signatures.index import LayerIndex


class LayerReader(Protocol):
    """Random access to the uncompressed tar of one layer."""

    @property
    def size(self) -> int:
        """Bytes in all."""
        ...

    def read_at(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``offset``; raise rather than return fewer."""
        ...


@dataclass(frozen=True, slots=True)
class LayerContent:
    """One layer: what is in it and where its bytes are."""

    index: LayerIndex
    reader: LayerReader

    @property
    def headers(self) -> StructureReader:
        """The bytes outside file data, out of the index as far as it has them."""
        return StructureReader(self)


class StructureReader:
    """Reads tar headers and padding without touching the layer, mostly."""

    def __init__(self, layer: LayerContent) -> None:
        self._structure = layer.index.structure
        self._reader = layer.reader
        self.size = layer.index.size

    def read_at(self, offset: int, length: int) -> bytes:
        """See ``LayerReader``."""
        try:
            return self._structure.read_at(offset, length)
        except LookupError:
            return self._reader.read_at(offset, length)


@dataclass(frozen=True, slots=True)
class ImageContent:
    """An image as target or source of a patch."""

    image_id: str
    config: bytes
    layers: tuple[LayerContent, ...]

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """Digests of the layers, lowest first."""
        return tuple(layer.index.diff_id for layer in self.layers)

    @property
    def full_bytes(self) -> int:
        """What the image weighs without any source: its uncompressed layers and its config."""
        return len(self.config) + sum(layer.index.size for layer in self.layers)


class BytesReader:
    """A layer in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        check_range(offset, length, self.size)
        return self._data[offset : offset + length]


class FileReader:
    """A layer that is a file, or a range of one (an uncompressed layer inside an archive).

    Reads with ``pread``, so that several threads may share it.
    """

    def __init__(self, path: Path, offset: int = 0, size: int | None = None) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._path = path
        self._offset = offset
        self.size = os.fstat(self._descriptor).st_size - offset if size is None else size

    def read_at(self, offset: int, length: int) -> bytes:
        """See ``LayerReader``.

        Raises:
            Truncated: The file became shorter than it was.
        """
        check_range(offset, length, self.size)
        blocks = []
        while length:
            block = os.pread(self._descriptor, length, self._offset + offset)
            if not block:
                raise Truncated(f"{self._path} ends {length} bytes before the layer does")
            blocks.append(block)
            offset, length = offset + len(block), length - len(block)
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    def close(self) -> None:
        """Release the file; reading afterwards fails."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Extent:
    """A range of a reader as a reader of its own: the data of one member, or an unfolded form."""

    reader: LayerReader
    offset: int
    size: int

    def read_at(self, offset: int, length: int) -> bytes:
        """See ``LayerReader``."""
        check_range(offset, length, self.size)
        return self.reader.read_at(self.offset + offset, length)

    def whole(self) -> bytes:
        """Return all bytes."""
        return self.read_at(0, self.size)

    def pieces(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield a part in pieces, each read when it is asked for."""
        check_range(offset, length, self.size)
        yield from read_pieces(self.reader, self.offset + offset, length)


def in_blocks(file: Extent, block_bytes: int, kept: int) -> Extent:
    """Return a file that is read in few large requests; of the blocks that were read last some are kept."""
    return Extent(_Blocks(file, block_bytes, kept), 0, file.size)


class _Blocks:
    def __init__(self, file: Extent, block_bytes: int, kept: int) -> None:
        self._file, self._block_bytes, self.size = file, block_bytes, file.size
        self._block = lru_cache(kept)(partial(_read_block, file, block_bytes))

    def read_at(self, offset: int, length: int) -> bytes:
        number, within = divmod(offset, self._block_bytes)
        end = within + length
        if end <= self._block_bytes:
            return self._block(number)[within:end]
        if length > self._block_bytes:
            return self._file.read_at(offset, length)
        return self._block(number)[within:] + self._block(number + 1)[: end - self._block_bytes]


def _read_block(file: Extent, block_bytes: int, number: int) -> bytes:
    at = number * block_bytes
    return file.read_at(at, min(block_bytes, file.size - at))


def read_pieces(reader: LayerReader, offset: int, length: int) -> Iterator[bytes]:
    """Yield a range in pieces of at most ``PIECE_BYTES``, each read when it is asked for."""
    for at in range(offset, offset + length, PIECE_BYTES):
        yield reader.read_at(at, min(PIECE_BYTES, offset + length - at))


def check_range(offset: int, length: int, size: int) -> None:
    """Refuse a range that is not inside ``[0, size)``.

    Raises:
        ContentError: A patch (or an index) names bytes that the layer does not have.
    """
    if offset < 0 or length < 0 or offset + length > size:
        raise ContentError(f"bytes {offset} to {offset + length} of a layer of {size} bytes")
