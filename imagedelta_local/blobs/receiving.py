"""A body that becomes a file: streamed to a temporary name, and published only when it has all its bytes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

from imagedelta.whole_files import publish
from imagedelta_local.blobs.answers import BlobError

PIECE = 1 << 18
_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")


def promised_size(request: web.Request, limit: int) -> int:
    """Raises: BlobError: No Content-Length, or one over the limit."""
    size = request.content_length
    if size is None or size > limit:
        raise BlobError("RequestBodyTooLarge", f"Content-Length is needed, at most {limit}", 413)
    return size


async def receive(request: web.Request, path: Path, size: int, *, only_new: bool) -> os.stat_result:
    """Make the body of a request the file ``path``; with ``only_new`` never in place of another.

    Raises: BlobError: It has not the bytes it promised; ``path`` is taken.
    """
    async with new_file(path, only_new=only_new) as file:
        received = 0
        async for piece in request.content.iter_chunked(PIECE):
            received += len(piece)
            if received > size:
                break
            await asyncio.to_thread(file.stream.write, piece)
        if received != size:
            raise BlobError("InvalidInput", f"the body has not the {size} bytes it promised", 400)
        return await asyncio.to_thread(file.publish)


class NewFile:
    """A file under a temporary name; ``publish`` makes it what it is to be, for good."""

    def __init__(self, stream: BinaryIO, publish: Callable[[], os.stat_result]) -> None:
        self.stream = stream
        self.publish = publish


@asynccontextmanager
async def new_file(path: Path, *, only_new: bool) -> AsyncIterator[NewFile]:
    """A file that gets the name ``path`` if it is published, and leaves nothing if it is not."""
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")

    def finish() -> os.stat_result:
        publish(stream, temporary, path, replace=not only_new)
        return os.fstat(stream.fileno())

    try:
        await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
        stream = await asyncio.to_thread(_create_file, temporary)
        try:
            yield NewFile(stream, finish)
        finally:
            await asyncio.to_thread(stream.close)
    except FileExistsError as error:
        raise BlobError("BlobAlreadyExists", "the blob exists already", 409) from error
    except (NotADirectoryError, IsADirectoryError) as error:
        raise BlobError(
            "BlobNameConflict", "another blob's name is a folder of this one, or the reverse", 409
        ) from error
    finally:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            temporary.unlink()


def sweep_temporary(root: Path) -> None:
    """Remove what a killed host left half-way; call it before anything is served."""
    for path in root.rglob(".*.tmp"):
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _create_file(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
