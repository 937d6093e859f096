"""Blocks that are staged for a blob: kept hidden beside it, until a block list makes them the blob.

A block is a file ``<container>/.<digest of the blob's name>.blocks/<hex of its id>``, whole or absent. No list shows
it. Blocks of which no blob is made are dropped after a week, as Azure does.
Source: Azure Blob service REST reference, Put Block, Put Block List, Get Block List.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from xml.parsers import expat

from imagedelta.whole_files import sync_folder
from imagedelta_local.blobs.answers import BlobError

MAX_BLOCK_BYTES = 4000 << 20
MAX_LISTED_BLOCKS = 50_000
MAX_STAGED_BLOCKS = 100_000
MAX_LIST_BYTES = 8 << 20
_MAX_ID_BYTES = 64
_COPY = 64 << 20
_SUFFIX = ".blocks"
_WEEK = 7 * 86_400


@dataclass(frozen=True)
class Block:
    """A staged block; ``name`` is its id as the client gave it."""

    name: str
    size: int


class StagedBlocks:
    """The blocks staged for one blob."""

    def __init__(self, container: Path, name: str, most_bytes: int) -> None:
        """Args:
        container: The folder of the container.
        name: Of the blob.
        most_bytes: That a blob may have: no more is staged.
        """
        digest = hashlib.sha256(name.encode()).hexdigest()[:32]
        self._folder = container / f".{digest}{_SUFFIX}"
        self._most_bytes = most_bytes

    def place_for(self, block_id: str, size: int) -> Path:
        """Where a block is to be written.

        Raises: BlobError: An id that is none, or of another length than those that are staged; too many, too much.
        """
        raw = _decoded(block_id)
        staged = self.staged()
        if staged and len(_decoded(staged[0].name)) != len(raw):
            raise BlobError("InvalidBlobOrBlock", "the ids of a blob's blocks are of one length", 400)
        if len(staged) >= MAX_STAGED_BLOCKS:
            raise BlobError("BlockCountExceedsLimit", f"at most {MAX_STAGED_BLOCKS} blocks are staged for a blob", 409)
        if size + sum(block.size for block in staged if block.name != block_id) > self._most_bytes:
            raise BlobError("RequestBodyTooLarge", f"a blob has at most {self._most_bytes} bytes", 413)
        return self._folder / raw.hex()

    def staged(self) -> list[Block]:
        """By id."""
        try:
            with os.scandir(self._folder) as entries:
                found = [(entry.name, entry.stat().st_size) for entry in entries if not entry.name.startswith(".")]
        except FileNotFoundError:
            return []
        return [Block(base64.b64encode(bytes.fromhex(name)).decode(), size) for name, size in sorted(found)]

    def join(self, block_ids: Sequence[str], out: BinaryIO) -> None:
        """Write the blocks, one after the other; the system copies, nothing passes through this process.

        Raises: BlobError: One is not staged.
        """
        for block_id in block_ids:
            try:
                with (self._folder / _decoded(block_id).hex()).open("rb") as block:
                    start = 0
                    while copied := os.sendfile(out.fileno(), block.fileno(), start, _COPY):
                        start += copied
            except FileNotFoundError as error:
                raise BlobError("InvalidBlockList", f"the block {block_id} is not staged", 400) from error

    def drop(self) -> None:
        """They have become a blob, or never will."""
        gone = self._folder.with_name(f".{secrets.token_hex(8)}{_SUFFIX}")
        try:
            self._folder.rename(gone)
        except FileNotFoundError:
            return
        sync_folder(gone.parent)
        shutil.rmtree(gone, ignore_errors=True)


def sweep_blocks(root: Path) -> None:
    """Drop the blocks that nobody has added to for a week."""
    for folder in root.glob(f"*/.*{_SUFFIX}"):
        if time.time() - folder.stat().st_mtime > _WEEK:
            shutil.rmtree(folder, ignore_errors=True)


def block_ids(document: bytes) -> list[str]:
    """The ids of a block list, in order; each is a staged block (``Latest`` or ``Uncommitted``).

    Raises: BlobError: It is no block list, or has more than 50,000.
    """
    reader = _IdReader()
    try:
        reader.parser.Parse(document, True)
    except (expat.ExpatError, ValueError) as error:
        raise BlobError("InvalidXmlDocument", f"the body is no block list: {error}", 400) from error
    if len(reader.ids) > MAX_LISTED_BLOCKS:
        raise BlobError("BlockListTooLong", f"a blob has at most {MAX_LISTED_BLOCKS} blocks", 400)
    return reader.ids


class _IdReader:
    """Collects /BlockList/{Latest,Uncommitted} from expat's events."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._path: list[str] = []
        self._text: list[str] = []
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text.append
        self.parser.StartDoctypeDeclHandler = _refuse_doctype

    def _start(self, name: str, _: dict[str, str]) -> None:
        self._path.append(name)
        self._text.clear()
        if self._path not in (["BlockList"], ["BlockList", "Latest"], ["BlockList", "Uncommitted"]):
            raise ValueError(f"{'/'.join(self._path[:3])[:80]} has no place in it here")

    def _end(self, _: str) -> None:
        if len(self._path) == 2:
            self.ids.append("".join(self._text).strip())
        self._path.pop()


def _refuse_doctype(*_: object) -> None:
    raise ValueError("holds a document type")


def _decoded(block_id: str) -> bytes:
    try:
        raw = base64.b64decode(block_id, validate=True)
    except ValueError:
        raw = b""
    if not 0 < len(raw) <= _MAX_ID_BYTES:
        raise BlobError("InvalidQueryParameterValue", f"a block id is base64 of 1 to {_MAX_ID_BYTES} bytes", 400)
    return raw
