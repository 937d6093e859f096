"""Unfolding a base file: its deflate streams replaced by their plain bytes, on cloud and device alike.

Source: docs/formats/patch.md, the section on folds.
"""

from __future__ import annotations

from imagedelta.delta.deflate.fold_search import FileBytes, SearchAbandoned, StreamSearch, plain_pieces
from imagedelta.delta.deflate.folds import MAX_FOLDS, BaseFold, ReadAt, Write


def unfold(read_at: ReadAt, size: int, out: Write, limit: int | None = None) -> list[BaseFold] | None:
    """Write the unfolded form of a file.

    Args:
        read_at: Gives the bytes of the file.
        size: Bytes of the file.
        out: Takes the unfolded form, front to back.
        limit: Most bytes to write; without one, ``out`` says when it is enough. It changes nothing of what is found.

    Returns:
        The folds, what follows the last is raw; ``None`` where no stream is found, or more than ``MAX_FOLDS``, or
        the limit is too small: then what was written is of no use, and the file is used as it is.
    """
    file = FileBytes(read_at, size)
    room = _Room(out, limit)
    folds: list[BaseFold] = []
    end = 0
    try:
        for stream in StreamSearch(file):
            if len(folds) == MAX_FOLDS:
                return None
            for piece in file.pieces(end, stream.start):
                room.write(piece)
            for piece in plain_pieces(file, stream):
                room.write(piece)
            folds.append(BaseFold(stream.start - end, stream.packed, stream.plain, stream.name))
            end = stream.start + stream.packed
        if not folds:
            return None
        for piece in file.pieces(end, size):
            room.write(piece)
    except SearchAbandoned:
        return None
    return folds


class _Room:
    """Passes bytes on until the limit."""

    def __init__(self, out: Write, limit: int | None) -> None:
        self._out = out
        self._left = limit

    def write(self, data: bytes) -> None:
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise SearchAbandoned
        self._out(data)
