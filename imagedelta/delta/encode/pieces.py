"""Pieces: the items that make the data of a file, and the bytes that they append to the streams.

A piece has at most a window of the profile, whatever the size of its file. Pieces are written to files, which any
thread, process or machine may make. The form of such a file is private to one version of this program: both ends of
a split build run the same one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from imagedelta.delta.format.items import Item, Way
from imagedelta.delta.format.roles import Role
from imagedelta.errors import Truncated

_HEAD = struct.Struct("<BBqqqqqBQ")
"""Mark, then of the item: way, length, base or -1, offset, inner length; then scratch, streams, bytes of beside."""
_STREAM = struct.Struct("<BQ")
"""Role, bytes."""
_PIECE, _END_OF_FILE = 1, 0
_END = _HEAD.pack(_END_OF_FILE, 0, 0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Piece:
    """One item, and what it appends to the streams."""

    item: Item
    streams: dict[Role, bytes] = field(default_factory=dict)
    scratch_bytes: int = 0
    """FOLDED: what the device keeps while it makes the item, its unfolded base."""
    beside: bytes = b""
    """DELTA: its differences with the old bytes, where the profile has a coder that looks at these."""


def write_file(pieces: Iterable[Piece], out: BinaryIO) -> None:
    """Append pieces of one file; ``end_file`` comes after the last."""
    for piece in pieces:
        item = piece.item
        base = -1 if item.base is None else item.base
        numbers = item.length, base, item.offset, item.inner_length, piece.scratch_bytes, len(piece.streams)
        out.write(_HEAD.pack(_PIECE, item.way, *numbers, len(piece.beside)))
        for role, data in piece.streams.items():
            out.write(_STREAM.pack(role, len(data)))
            out.write(data)
        out.write(piece.beside)


def end_file(out: BinaryIO) -> None:
    """Append the end of a file."""
    out.write(_END)


class PieceReader:
    """Reads the pieces back, file after file."""

    def __init__(self, made: Iterable[BinaryIO]) -> None:
        """Args:
        made: What was written, in the order of the target's files, each at its start. One is taken when the one
            before is used up and closed.
        """
        self._made = iter(made)
        self._current: BinaryIO | None = None

    def next_file(self) -> Iterator[Piece]:
        """Yield the pieces of the next file; they must all be taken.

        Raises:
            Truncated: The pieces end before the files do.
        """
        while True:
            source, head = self._next_head()
            mark, way, length, base, offset, inner_length, scratch_bytes, streams, beside = _HEAD.unpack(head)
            if mark == _END_OF_FILE:
                return
            item = Item(Way(way), length, None if base < 0 else base, offset, inner_length=inner_length)
            data = dict(_read_stream(source) for _ in range(streams))
            yield Piece(item, data, scratch_bytes, _exactly(source.read(beside), beside))

    def close(self) -> None:
        """Close what is open."""
        if self._current:
            self._current.close()
            self._current = None

    def _next_head(self) -> tuple[BinaryIO, bytes]:
        while True:
            if self._current is None:
                self._current = next(self._made, None)
            if self._current is None:
                raise Truncated("the pieces of a build end before its files do")
            head = self._current.read(_HEAD.size)
            if head:
                return self._current, _exactly(head, _HEAD.size)
            self.close()


def _read_stream(source: BinaryIO) -> tuple[Role, bytes]:
    role, size = _STREAM.unpack(_exactly(source.read(_STREAM.size), _STREAM.size))
    return Role(role), _exactly(source.read(size), size)


def _exactly(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise Truncated("the pieces of a build are cut short")
    return data
