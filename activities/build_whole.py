"""A patch that is built in one step on this machine's disk, as most are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imagedelta.archives import sha256_id
from imagedelta.bundles import chunk_list
from imagedelta.delta import ImageContent
from imagedelta.delta.encode import verify_patch
from imagedelta.delta.encode.build import Build, Progress
from imagedelta.limits import MIB
from services.ports import Blobs


@dataclass(frozen=True)
class Built:
    """A patch that was proved, and lies in ``patches`` under its sha256 with its chunk list beside it."""

    size: int
    sha256: str
    crc32: int
    chunks: str
    """Digest of the chunk list."""
    memory_bytes: int


def build_whole(
    build: Build, target: ImageContent, sources: Sequence[ImageContent], blobs: Blobs, folder: Path, progress: Progress
) -> Built:
    """Raises: ContentError when the patch does not make its image; what ``progress`` raises."""
    with (folder / "patch").open("w+b") as patch:
        summary = build.write(patch, progress)
        patch.seek(0)
        verify_patch(patch, target, sources)
        patch.seek(0)
        chunks = chunk_list(patch)
        blobs.put_if_absent("patches", f"{summary.sha256}.chunks", [chunks])
        blobs.put_if_absent("patches", summary.sha256, _pieces(patch))
    return Built(summary.bytes, summary.sha256, summary.crc32, sha256_id(chunks), summary.memory_bytes)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while piece := file.read(MIB):
        yield piece
