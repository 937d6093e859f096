"""How a blob comes about in Azure Storage: by one request, or of blocks that are staged and then made the blob at once.

Whoever dies in the middle leaves staged blocks that no list shows; the storage drops them after a week. A block is
named by its place and its bytes. So two who write the same name never mix (a block of one name is the same block),
and who begins anew finds what has arrived already and sends only the rest.

Source: learn.microsoft.com/rest/api/storageservices: Put Block, Put Block From URL, Put Block List, Get Block List.
Reports of blobs mixed of two uploads, which a mere number as the name brings about: azure-sdk-for-python#26790,
azure-sdk-for-net#45510.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from typing import TypeVar

from imagedelta.errors import DependencyError, Truncated
from services.blobs.azure_account import Account
from services.blobs.azure_errors import BlobThere, BlocksGone, ContainerMissing
from services.ports import BlobInfo, BlobRange

BLOCK_BYTES = 4 << 20
"""50,000 blocks make a blob: 195 GiB, three times the largest upload."""
RANGE_BYTES = 32 << 20
"""Of one block that the storage reads from another blob: so each request ends soon, far below its 4,000 MiB."""
_ID_DIGITS = 58
"""Hex digits after the six of the place: all ids of a blob are of one length, 64 bytes at most."""
_SIDE_BY_SIDE = 8
_Answer = TypeVar("_Answer")


class Uploads:
    """Makes blobs of an account, and their containers where they are not there."""

    def __init__(self, account: Account, source_of: Callable[[BlobRange], str]) -> None:
        """Args:
        source_of: The URL by which the storage itself may read a blob.
        """
        self._account = account
        self._source_of = source_of

    def put(self, container: str, name: str, chunks: Iterable[bytes], *, only_new: bool) -> BlobInfo:
        """With ``only_new`` a blob that is there stays and is returned. Holds three blocks in memory at most."""
        blocks = _blocks(chunks)
        first, second = next(blocks, b""), next(blocks, None)
        with _still_there(container):
            if second is None:
                return self._put_small(container, name, first, only_new)
            if only_new and (there := self._account.info(container, name)):
                return there
            return self._put_blocks(container, name, chain((first, second), blocks), only_new)

    def compose(self, container: str, name: str, parts: Sequence[bytes | BlobRange]) -> BlobInfo:
        """A blob that is there stays and is returned.

        Raises: BlobMissing, Truncated for a range of bytes that are not there; then nothing has become visible.
        """
        if there := self._account.info(container, name):
            return there
        own = secrets.token_hex(_ID_DIGITS // 2)
        pieces = {_id(number, own): piece for number, piece in enumerate(_pieces(parts))}
        if not pieces:
            return self.put(container, name, (), only_new=True)
        sources = {(part.container, part.name): part for part in parts if isinstance(part, BlobRange)}
        urls = {place: self._source_of(part) for place, part in sources.items()}

        def stage(item: tuple[str, bytes | BlobRange]) -> None:
            block_id, piece = item
            if isinstance(piece, bytes):
                self._account.stage(container, name, block_id, piece)
            else:
                source = urls[piece.container, piece.name]
                self._account.stage_from(container, name, block_id, source, piece.offset, piece.length)

        first, *others = pieces.items()
        with _still_there(container):
            self._in_container(container, lambda: stage(first))
            with ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="compose") as pool:
                list(pool.map(stage, others))
            return self._commit_checked(container, name, pieces)

    def _put_small(self, container: str, name: str, data: bytes, only_new: bool) -> BlobInfo:
        def put() -> BlobInfo:
            return self._account.put_blob(container, name, data, only_new=only_new)

        try:
            return self._in_container(container, put)
        except BlobThere:  # also when it is ours: made by a request whose answer was lost
            if there := self._account.info(container, name):
                return there
        return self._put_blocks(container, name, [data] if data else [], only_new)  # only staged blocks are there

    def _put_blocks(self, container: str, name: str, blocks: Iterable[bytes], only_new: bool) -> BlobInfo:
        staged = self._in_container(container, lambda: self._account.staged(container, name))
        sizes: dict[str, int] = {}
        for number, block in enumerate(blocks):
            block_id = _id(number, hashlib.sha256(block).hexdigest())
            if staged.get(block_id) != len(block):
                self._account.stage(container, name, block_id, block)
            sizes[block_id] = len(block)
        return self._commit(container, name, sizes, only_new)

    def _commit_checked(self, container: str, name: str, pieces: dict[str, bytes | BlobRange]) -> BlobInfo:
        """The storage says what it has staged: a source that ended early gave a shorter block, and no error."""
        wanted = {block_id: _size(piece) for block_id, piece in pieces.items()}
        staged = self._account.staged(container, name)
        for block_id, size in wanted.items():
            if block_id in staged and staged[block_id] != size:
                raise Truncated(
                    f"{container}/{name}: of {pieces[block_id]!r:.200} only {staged[block_id]} bytes are there"
                )
        return self._commit(container, name, wanted, only_new=True)

    def _commit(self, container: str, name: str, sizes: dict[str, int], only_new: bool) -> BlobInfo:
        """Of another one who was first; of us, by a request whose answer was lost; or now."""
        try:
            return self._account.commit(container, name, sizes, only_new=only_new)
        except (BlobThere, BlocksGone):
            there = self._account.info(container, name) if only_new else None
            if there is None:
                raise
            return there

    def _in_container(self, container: str, ask: Callable[[], _Answer]) -> _Answer:
        try:
            return ask()
        except ContainerMissing:
            self._account.make_container(container)
        return ask()


@contextmanager
def _still_there(container: str) -> Iterator[None]:
    """A container that somebody deletes meanwhile is no content that is missing: it can be made anew."""
    try:
        yield
    except ContainerMissing as error:
        raise DependencyError(f"{container} was deleted meanwhile", code="dependency.blobs") from error


def _id(number: int, own: str) -> str:
    return f"{number:06d}{own[:_ID_DIGITS]}"


def _blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in blocks of 4 MiB, the last one shorter."""
    gathered = bytearray()
    for chunk in chunks:
        gathered += chunk
        while len(gathered) >= BLOCK_BYTES:
            yield bytes(memoryview(gathered)[:BLOCK_BYTES])
            del gathered[:BLOCK_BYTES]
    if gathered:
        yield bytes(gathered)


def _pieces(parts: Sequence[bytes | BlobRange]) -> Iterator[bytes | BlobRange]:
    """What one request can stage each. Nothing is staged for what is empty."""
    for part in parts:
        if isinstance(part, bytes):
            yield from _blocks([part])
            continue
        for start in range(0, part.length, RANGE_BYTES):
            yield BlobRange(part.container, part.name, part.offset + start, min(RANGE_BYTES, part.length - start))


def _size(piece: bytes | BlobRange) -> int:
    return len(piece) if isinstance(piece, bytes) else piece.length
