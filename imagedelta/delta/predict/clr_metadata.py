"""Metadata of a .NET file: its heaps, and its tables column by column.

A file comes from outside: every table lies within the file, or there is no metadata. Reading it takes time and memory
in proportion to the file.

Source: ECMA-335 (6th edition), II.24 and II.25; Portable PDB 1.0.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from imagedelta.delta.predict.clr_tables import CODED, COLUMNS

_SIGNATURE = b"BSJB"
_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_U32_PAIR = struct.Struct("<II")
_U64 = struct.Struct("<Q")
_TABLES = 64
_STREAMS_AT_MOST = 16
_STREAM_NAME_AT_MOST = 32
_ROWS_BELOW = 1 << 24
"""A token has 24 bits for the row."""
_ROWS_AT_MOST = 200_000
"""Of all tables: what is remembered of rows takes memory."""
_HEAPS = ("string", "guid", "blob")
"""In the order of the bits that make their indexes 4 bytes wide."""


class Column(NamedTuple):
    """A column of a table."""

    kind: str
    """A word of ``clr_tables.COLUMNS``."""
    offset: int
    """In the row."""
    width: int


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose rows all lie within the file."""

    start: int
    rows: int
    row_bytes: int
    columns: tuple[Column, ...]

    @property
    def end(self) -> int:
        """Where the last row ends."""
        return self.start + self.rows * self.row_bytes


class Heap(NamedTuple):
    """A stretch of the file."""

    start: int
    size: int

    def __contains__(self, index: object) -> bool:
        return isinstance(index, int) and 0 <= index < self.size


_NO_HEAP = Heap(0, 0)


@dataclass(frozen=True, slots=True)
class Metadata:
    """Heaps and tables of a file."""

    data: bytes
    place: tuple[int, int]
    """Where all of it begins and ends."""
    strings: Heap
    blobs: Heap
    user_strings: Heap
    tables: dict[int, Table]

    def values(self, table: Table, column: Column, first: int = 0, count: int | None = None) -> Sequence[int]:
        """Return what a column has, row by row.

        Args:
            first: The row, from 0, to begin with.
            count: Of rows, at most.
        """
        after = table.row_bytes - column.offset - column.width
        letter = "H" if column.width == 2 else "I"
        row = struct.Struct(f"<{column.offset}x{letter}{after}x")
        last = table.rows if count is None else min(table.rows, first + count)
        rows = memoryview(self.data)[table.start + first * table.row_bytes : table.start + last * table.row_bytes]
        return [value for (value,) in row.iter_unpack(rows)]

    @property
    def tables_at(self) -> tuple[int, int]:
        """Where the first table begins and the last one ends."""
        if not self.tables:
            return 0, 0
        tables = list(self.tables.values())
        return tables[0].start, tables[-1].end

    def columns(self) -> Iterator[tuple[int, Table, Column]]:
        """Yield number of the table, table and column."""
        for number, table in self.tables.items():
            for column in table.columns:
                yield number, table, column


def read_metadata(data: bytes, root: int) -> Metadata | None:
    """Return the metadata whose root is at ``root``; None where there is none that can be followed."""
    try:
        return _read(data, root)
    except (struct.error, ValueError, IndexError):
        return None


def _read(data: bytes, root: int) -> Metadata | None:
    if data[root : root + 4] != _SIGNATURE:
        return None
    heaps = {name: heap for name, heap in _streams(data, root) if heap.start + heap.size <= len(data)}
    if b"#~" not in heaps:
        return None
    tables = _described(data, heaps)
    return Metadata(
        data,
        (root, max(heap.start + heap.size for heap in heaps.values())),
        heaps.get(b"#Strings", _NO_HEAP),
        heaps.get(b"#Blob", _NO_HEAP),
        heaps.get(b"#US", _NO_HEAP),
        tables,
    )


def read_streams(root: bytes) -> dict[bytes, Heap]:
    """Return the streams of the metadata whose root this is.

    Raises:
        ValueError, struct.error: They are not told there.
    """
    return dict(_streams(root, 0))


def read_tables(described: bytes, size: int) -> list[Table]:
    """Return the tables that the beginning of a stream ``#~`` of ``size`` bytes describes.

    Raises:
        ValueError, IndexError, struct.error: They are not told there.
    """
    return list(_described(described, {b"#~": Heap(0, size)}).values())


def _described(data: bytes, heaps: dict[bytes, Heap]) -> dict[int, Table]:
    """Place the tables that ``#~`` describes.

    Raises:
        ValueError: They go beyond it or have too many rows, or one is not known.
    """
    described = heaps[b"#~"]
    wide = data[described.start + 6]
    rows, at = _row_counts(data, _U64.unpack_from(data, described.start + 8)[0], described.start + 24)
    outside: dict[int, int] = {}
    if b"#Pdb" in heaps:
        pdb = heaps[b"#Pdb"].start
        outside, _ = _row_counts(data, _U64.unpack_from(data, pdb + 24)[0], pdb + 32)
    tables = _tables(rows, outside | rows, wide, at)
    if max((table.end for table in tables.values()), default=at) > described.start + described.size:
        raise ValueError("tables that go beyond their stream")
    if sum(table.rows for table in tables.values()) > _ROWS_AT_MOST:
        raise ValueError("too many rows")
    return tables


def _streams(data: bytes, root: int) -> Iterator[tuple[bytes, Heap]]:
    version_bytes = _U32.unpack_from(data, root + 12)[0]
    at = root + 16 + version_bytes
    count = _U16.unpack_from(data, at + 2)[0]
    at += 4
    for _ in range(min(count, _STREAMS_AT_MOST)):
        start, size = _U32_PAIR.unpack_from(data, at)
        end = data.index(b"\0", at + 8, at + 8 + _STREAM_NAME_AT_MOST)
        yield data[at + 8 : end], Heap(root + start, size)
        at += 8 + (end - at - 8 + 4) // 4 * 4


def _row_counts(data: bytes, present: int, at: int) -> tuple[dict[int, int], int]:
    counts = {}
    for number in range(_TABLES):
        if present >> number & 1:
            (counts[number],) = _U32.unpack_from(data, at)
            at += 4
    return counts, at


def _tables(rows: dict[int, int], all_rows: dict[int, int], wide: int, at: int) -> dict[int, Table]:
    """Place the tables one after the other.

    Raises:
        ValueError: There is a table of which the columns are not known, so that those behind it cannot be found.
    """
    tables = {}
    for number, count in rows.items():
        if number not in COLUMNS or count >= _ROWS_BELOW:
            raise ValueError(f"table {number} of {count} rows")
        columns, row_bytes = [], 0
        for kind in COLUMNS[number].split():
            width = _width(kind, all_rows, wide)
            columns.append(Column(kind, row_bytes, width))
            row_bytes += width
        tables[number] = Table(at, count, row_bytes, tuple(columns))
        at += count * row_bytes
    return tables


def _width(kind: str, rows: dict[int, int], wide: int) -> int:
    if kind in _HEAPS:
        return 4 if wide >> _HEAPS.index(kind) & 1 else 2
    if kind in CODED:
        bits, targets = CODED[kind]
        most = max(rows.get(target, 0) for target in targets if target is not None)
        return 4 if most >= 1 << (16 - bits) else 2
    if kind.startswith("t"):
        return 4 if rows.get(int(kind[1:]), 0) >= 1 << 16 else 2
    return {"u2": 2, "u4": 4, "rva": 4}[kind]
