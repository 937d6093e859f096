"""Random access to a blob of the local registry: one range per request, in blocks that are kept for a while.

Reads of a patch are small and near each other: tar headers are walked front to back, files are copied in pieces. So a
block is fetched for each, and more of them at a time while reading goes straight on. A store of blocks is shared by all
readers of a session and bounds their memory.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from typing import TYPE_CHECKING, BinaryIO

from edge_module.engines.base import LayersGone
from edge_module.engines.registry_client import RegistryClient
from edge_module.engines.registry_contents import Blob
from imagedelta.delta.content import check_range
from imagedelta.errors import SourceMissing
from imagedelta.limits import KIB, MIB

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK_BYTES = 128 * KIB
_MOST_AHEAD = 8
"""Blocks per request, at most: 1 MiB."""
_MOST_KEPT = 24


class Blocks:
    """The blocks read last, of all blobs of a session."""

    def __init__(self, most: int = _MOST_KEPT) -> None:
        self._most = most
        self._blocks: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    def get(self, digest: str, number: int) -> bytes | None:
        block = self._blocks.get((digest, number))
        if block is not None:
            self._blocks.move_to_end((digest, number))
        return block

    def put(self, digest: str, number: int, block: bytes) -> None:
        self._blocks[digest, number] = block
        while len(self._blocks) > self._most:
            self._blocks.popitem(last=False)


class BlobReader:
    """An uncompressed layer in the registry as a LayerReader."""

    def __init__(self, client: RegistryClient, repository: str, blob: Blob, blocks: Blocks) -> None:
        self._client = client
        self._repository = repository
        self._digest = blob.digest
        self._size = blob.size
        self._blocks = blocks
        self._next = 0
        """The block behind those fetched last."""
        self._ahead = 1

    @property
    def size(self) -> int:
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        """Raises: SourceMissing ``source.different`` when the blob is shorter now, or gone; RangeIgnored."""
        check_range(offset, length, self._size)
        pieces = []
        while length:
            number, start = divmod(offset, BLOCK_BYTES)
            piece = self._block(number)[start : start + length]
            pieces.append(piece)
            offset, length = offset + len(piece), length - len(piece)
        return b"".join(pieces)

    def _block(self, number: int) -> bytes:
        block = self._blocks.get(self._digest, number)
        return self._fetch(number) if block is None else block

    def _fetch(self, number: int) -> bytes:
        self._ahead = min(2 * self._ahead, _MOST_AHEAD) if number == self._next else 1
        start = number * BLOCK_BYTES
        length = min(self._ahead * BLOCK_BYTES, self._size - start)
        data = self._client.read_range(self._repository, self._digest, start, length)
        if data is None:
            raise SourceMissing(f"blob {self._digest} is shorter than it was, or gone", code="source.different")
        self._next = number + self._ahead
        for at in reversed(range(0, length, BLOCK_BYTES)):  # the first is wanted, so it is kept longest
            self._blocks.put(self._digest, number + at // BLOCK_BYTES, data[at : at + BLOCK_BYTES])
        return data[:BLOCK_BYTES]


class BlobStream(io.RawIOBase):
    """A blob as a stream that is read once, front to back; a buffer may go back in what it has."""

    def __init__(self, client: RegistryClient, repository: str, blob: Blob) -> None:
        """Raises: DependencyError ``engine.layers_gone`` when it is not there."""
        super().__init__()
        self._answer = client.open_blob(repository, blob.digest, blob.size)
        pieces = self._answer.__enter__()
        if pieces is None:
            self._answer.__exit__(None, None, None)
            raise LayersGone(f"blob {blob.digest} is not in {repository} any more")
        self._pieces = pieces
        self._rest = memoryview(b"")
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence != io.SEEK_SET or offset != self._position:
            raise io.UnsupportedOperation("a blob is read once, front to back")
        return offset

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        target = memoryview(buffer).cast("B")
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        count = min(len(target), len(self._rest))
        target[:count], self._rest = self._rest[:count], self._rest[count:]
        self._position += count
        return count

    def close(self) -> None:
        if not self.closed:
            self._answer.__exit__(None, None, None)
        super().close()


def open_stream(client: RegistryClient, repository: str, blob: Blob) -> BinaryIO:
    return io.BufferedReader(BlobStream(client, repository, blob), buffer_size=MIB)
