"""Storing a layer while it is indexed: its bytes are read once and held one MiB at a time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, Full, Queue
from typing import BinaryIO

from imagedelta.signatures import LayerIndex, index_layer
from services.ports import BlobInfo, Blobs

_PIECES_BETWEEN = 4
_LOOK_AGAIN_SECONDS = 0.2


class _Abandoned(Exception):
    """The layer could not be read to its end: nothing of it may become visible."""


def store_layer(blobs: Blobs, layer: BinaryIO, diff_id: str) -> LayerIndex:
    """Put ``layer`` under its diff_id and return its file index.

    Raises: whatever reading or storing raised; then no blob has become visible.
    """
    pieces: Queue[bytes | _Abandoned | None] = Queue(_PIECES_BETWEEN)
    name = diff_id.removeprefix("sha256:")
    with ThreadPoolExecutor(1, thread_name_prefix="layer-upload") as pool:
        upload = pool.submit(blobs.put_if_absent, "layers", name, _taken(pieces))
        try:
            index = index_layer(layer, lambda piece: _give(pieces, bytes(piece), upload))
            _give(pieces, None, upload)
        except BaseException:
            _give(pieces, _Abandoned(), upload)
            raise
        upload.result()
    return index


def _give(pieces: Queue[bytes | _Abandoned | None], piece: bytes | _Abandoned | None, upload: Future[BlobInfo]) -> None:
    """Hand over a piece; when the upload has ended there is nobody to take it."""
    while not upload.done():
        with suppress(Full):
            pieces.put(piece, timeout=_LOOK_AGAIN_SECONDS)
            return
    if not isinstance(piece, _Abandoned) and (error := upload.exception()) is not None:
        raise error


def _taken(pieces: Queue[bytes | _Abandoned | None]) -> Iterator[bytes]:
    while True:
        try:
            piece = pieces.get(timeout=_LOOK_AGAIN_SECONDS)
        except Empty:
            continue
        if isinstance(piece, _Abandoned):
            raise piece
        if piece is None:
            return
        yield piece
