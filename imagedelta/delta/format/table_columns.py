"""Metadata tables of .NET files column by column before LZMA2, and row by row again behind it.

A column of indexes rises or repeats, so what is written of it are differences. A stream has many files; tables are
found by the signature of the metadata they belong to, and those that are too large or cut off stay as they are.

Source: docs/formats/patch.md, section 5.
"""

from __future__ import annotations

import operator
import struct
import sys
from array import array
from collections.abc import Iterable, Iterator
from itertools import accumulate, chain

from imagedelta.delta.predict.clr_metadata import Column, Heap, Table, read_streams, read_tables
from imagedelta.limits import KIB, MIB

_SIGNATURE = b"BSJB"
_TABLES, _PDB = b"#~", b"#Pdb"
_HEAD_BYTES = KIB
"""Of the metadata, and of the stream of tables: what is told of tables lies in them."""
_FARTHEST = 4 * MIB
"""From the signature to the stream of tables."""
MAX_TABLES_BYTES = MIB
"""Of one file: so much waits until all of it is there."""
_ARRAYS = {2: "H", 4: "I"}
_VALUES = frozenset({"u2", "u4", "guid"})
"""Columns that are no indexes: written as they are."""


def with_tables(pieces: Iterator[bytes], *, undo: bool) -> Iterator[bytes]:
    """Yield a stream with its tables changed.

    Args:
        undo: Whether columns become rows, and not the other way round.
    """
    source = _Source(pieces)
    while True:
        yield from source.up_to(_SIGNATURE)
        if not source.next(1):
            return
        place = _place(source.next(_HEAD_BYTES))
        if place is None:
            yield source.take(_HEAD_BYTES)
            continue
        yield from source.some(place.start)
        tables = _tables(source.next(_HEAD_BYTES), place.size)
        end = tables[-1].end if tables else 0
        if len(source.next(end)) < end:
            tables = []
        done = 0
        for table in tables:
            yield source.take(table.start - done)
            done = table.end
            rows = source.take(done - table.start)
            yield _rows(rows, table) if undo else _columns(rows, table)
        yield source.take(max(0, _HEAD_BYTES - done))


class _Source:
    """Bytes that come in pieces, some of them looked at before they are taken."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._data = b""

    def next(self, size: int) -> bytes:
        """Return so many bytes, or all that are left, without taking them."""
        while len(self._data) < size and self._read():
            pass
        return self._data[:size]

    def take(self, size: int) -> bytes:
        """Take so many bytes, or all that are left."""
        taken = self.next(size)
        self._data = self._data[len(taken) :]
        return taken

    def some(self, size: int) -> Iterator[bytes]:
        """Take so many bytes, or all that are left, in pieces."""
        while size and self.next(1):
            piece = self._data[:size]
            self._data = self._data[len(piece) :]
            size -= len(piece)
            yield piece

    def up_to(self, mark: bytes) -> Iterator[bytes]:
        """Take all that is before the next mark, or left."""
        while (at := self._data.find(mark)) < 0:
            begun = max(0, len(self._data) - len(mark) + 1)
            yield self._data[:begun]
            self._data = self._data[begun:]
            if not self._read():
                at = len(self._data)
                break
        yield self.take(at)

    def _read(self) -> bool:
        """Whether there was another piece, which may be empty."""
        piece = next(self._pieces, None)
        self._data += piece or b""
        return piece is not None


def _place(root: bytes) -> Heap | None:
    """Return where the stream of tables is; None where it is not told, too far, or one of a PDB."""
    try:
        streams = read_streams(root)
    except (struct.error, ValueError):
        return None
    place = streams.get(_TABLES)
    return place if place and place.start <= _FARTHEST and _PDB not in streams else None


def _tables(described: bytes, size: int) -> list[Table]:
    """Return the tables that have rows; none where they are too large or not told."""
    try:
        tables = [table for table in read_tables(described, size) if table.rows]
    except (struct.error, ValueError, IndexError):
        return []
    return tables if tables and tables[-1].end <= MAX_TABLES_BYTES else []


def _columns(data: bytes, table: Table) -> bytes:
    """Return the rows of a table as columns."""
    return b"".join(_differences(_column(data, table, column), column) for column in table.columns)


def _rows(data: bytes, table: Table) -> bytes:
    """Undo ``_columns``."""
    out, at = bytearray(len(data)), 0
    for column in table.columns:
        size = table.rows * column.width
        values = _sums(data[at : at + size], column)
        for byte in range(column.width):
            out[column.offset + byte :: table.row_bytes] = values[byte :: column.width]
        at += size
    return bytes(out)


def _column(data: bytes, table: Table, column: Column) -> bytes:
    values = bytearray(table.rows * column.width)
    for byte in range(column.width):
        values[byte :: column.width] = data[column.offset + byte :: table.row_bytes]
    return bytes(values)


def _differences(values: bytes, column: Column) -> bytes:
    if column.kind in _VALUES:
        return values
    numbers = _array(column.width, values)
    return _reduced(map(operator.sub, numbers, chain((0,), numbers)), column.width)


def _sums(values: bytes, column: Column) -> bytes:
    return values if column.kind in _VALUES else _reduced(accumulate(_array(column.width, values)), column.width)


def _reduced(numbers: Iterable[int], width: int) -> bytes:
    mask = (1 << 8 * width) - 1
    return _little_endian(array(_ARRAYS[width], (number & mask for number in numbers))).tobytes()


def _array(width: int, values: bytes) -> array[int]:
    return _little_endian(array(_ARRAYS[width], values))


def _little_endian(numbers: array[int]) -> array[int]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
