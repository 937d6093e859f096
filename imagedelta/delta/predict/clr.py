"""References inside .NET assemblies and portable PDBs: indexes into heaps and tables, addresses, tokens in code.

A row, a name or a body that is put in moves all behind it, and with them every number that says where they are. What
such a number becomes follows from how far the row, the name or the body moved.

Source: docs/formats/patch.md, section on predictions; ECMA-335 (6th edition), partition II.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from imagedelta.delta.predict.clr_blobs import Packed, packed_references, repack
from imagedelta.delta.predict.clr_code import tokens
from imagedelta.delta.predict.clr_metadata import Column, Heap, Metadata, Table, read_metadata
from imagedelta.delta.predict.clr_tables import CODED, METHOD_DEBUG_INFORMATION, METHOD_DEF
from imagedelta.delta.predict.image import Image
from imagedelta.delta.predict.pe_image import metadata_root, read_pe
from imagedelta.delta.predict.shifts import Shifts

_USER_STRING = 0x70
_ROW_BITS = 24
_ROW_BYTES = 3
_NO_ROW = bytes(_ROW_BYTES)
_TOKEN_BYTES = 4
_ROW_END = 1 << _ROW_BITS
_ROWS_AT_ONCE = 4096
CORRECTIONS_AT_MOST = 67
"""A file has 64 kinds of tables, and three heaps whose start may be corrected."""


@dataclass(frozen=True)
class ClrFile:
    """An assembly or a portable PDB."""

    metadata: Metadata
    image: Image

    @cached_property
    def bodies(self) -> array[int]:
        """Where the bodies of methods begin, in rising order."""
        table = self.metadata.tables.get(METHOD_DEF)
        if table is None:
            return array("Q")
        places = map(self.image.offset_of, filter(None, self.metadata.values(table, table.columns[0])))
        return array("Q", sorted(place for place in places if place is not None))

    @property
    def bodies_at(self) -> tuple[int, int]:
        """Where the first body begins and where the last one does."""
        return min(self.bodies, default=0), max(self.bodies, default=0)

    @cached_property
    def tokens(self) -> dict[int, array[int]]:
        """Places of the tokens in code, by their table; none lies in tables or blobs."""
        found: dict[int, array[int]] = defaultdict(lambda: array("I"))
        data = self.metadata.data
        first, end = self.metadata.tables_at
        blobs, blobs_end = self.metadata.blobs.start, self.metadata.blobs.start + self.metadata.blobs.size
        for place in tokens(data, self.bodies):
            if first - _TOKEN_BYTES < place < end or blobs - _TOKEN_BYTES < place < blobs_end:
                continue
            if data[place : place + _ROW_BYTES] != _NO_ROW:
                found[data[place + _ROW_BYTES]].append(place)
        return found

    def rows_at(self, places: Iterable[int]) -> Iterator[int]:
        """Yield the rows, or the indexes, that tokens name."""
        data = self.metadata.data
        return (int.from_bytes(data[place : place + _ROW_BYTES], "little") for place in places)

    def packed(self) -> Iterator[Packed]:
        """Yield the references inside blobs; none lies in tables."""
        first, end = self.metadata.tables_at
        return (one for one in packed_references(self.metadata) if not first - one.width < one.place < end)


def read_clr(data: bytes) -> ClrFile | None:
    """Return the assembly or portable PDB that ``data`` is; None where it is neither."""
    if data[:4] == b"BSJB":
        image, root = Image(()), 0
    else:
        found = read_pe(data)
        place = metadata_root(data, found) if found else None
        if found is None or place is None:
            return None
        image, root = found, place
    metadata = read_metadata(data, root)
    return ClrFile(metadata, image) if metadata else None


def starts(metadata: Metadata) -> dict[str, int]:
    """Return where heaps and tables begin, those of which a start may be corrected, in the order of corrections."""
    heaps = {"string": metadata.strings, "blob": metadata.blobs, "user string": metadata.user_strings}
    tables = {f"t{number}": table.start for number, table in metadata.tables.items()}
    return {name: heap.start for name, heap in heaps.items()} | tables


def corrections(old: Metadata, new: Metadata, shifts: Shifts) -> list[int]:
    """Return by how much heaps and tables of the new file begin elsewhere than the shifts say.

    What comes before a heap or table may have moved otherwise than what is in it: then every index into it would be
    predicted wrong by the same amount.
    """
    new_starts = starts(new)
    return [new_starts[name] - shifts.moved(start) if name in new_starts else 0 for name, start in starts(old).items()]


def predicted(file: ClrFile, shifts: Shifts, new_image: Image, corrected: Sequence[int]) -> bytearray:
    """Return the old file with each reference as it should be in the new one.

    Args:
        new_image: Without segments for a portable PDB.
        corrected: What ``corrections`` gave, or its first numbers where the rest are 0.
    """
    out = bytearray(file.metadata.data)
    names = dict.fromkeys(starts(file.metadata), 0) | dict(zip(starts(file.metadata), corrected, strict=False))
    moves = _Moves(file, shifts, new_image, names)
    for _, table, column in file.metadata.columns():
        for first in range(0, table.rows, _ROWS_AT_ONCE):
            becomes = moves.column(column.kind, file.metadata.values(table, column, first, _ROWS_AT_ONCE))
            if becomes is None:
                break
            put_column(out, table, column, first, becomes)
    for number, places in file.tokens.items():
        rows = moves.token_rows(number)
        if rows is not None:
            for place, row in zip(places, file.rows_at(places), strict=True):
                out[place : place + _ROW_BYTES] = (rows(row) % _ROW_END).to_bytes(_ROW_BYTES, "little")
    for place, width, refers_to, value in file.packed():
        values = moves.column(refers_to, [value])
        packed = repack(values[0], width) if values else None
        if packed is not None:
            out[place : place + width] = packed
    return out


def put_column(out: bytearray, table: Table, column: Column, first: int, values: Sequence[int]) -> None:
    """Write what a column has, from row ``first`` on, reduced to its width."""
    most = (1 << 8 * column.width) - 1
    letter = "H" if column.width == 2 else "I"
    packed = struct.pack(f"<{len(values)}{letter}", *[value & most for value in values])
    start = table.start + column.offset + first * table.row_bytes
    for byte in range(column.width):
        out[start + byte : start + byte + table.row_bytes * len(values) : table.row_bytes] = packed[
            byte :: column.width
        ]


class _Rows:
    """What the rows of a table are called in the new file."""

    def __init__(self, table: Table, shifts: Shifts, correction: int) -> None:
        first = shifts.moved(table.start) + correction
        half = table.row_bytes // 2
        end = table.start + table.rows * table.row_bytes
        self._new = array("i", [0])
        for start, stop, shift in shifts.constant_between(table.start, end):
            row = -((table.start - start) // table.row_bytes)
            last = -((table.start - stop) // table.row_bytes)
            moved = (table.start + shift - first + half) // table.row_bytes
            if -row <= moved < _ROW_END - 1 - last:
                self._new.extend(range(row + moved + 1, last + moved + 1))
            else:
                self._new.extend(
                    new if 0 < (new := one + moved) < _ROW_END else one for one in range(row + 1, last + 1)
                )
        self._new.append(self._new[-1] + 1)

    def __call__(self, row: int) -> int:
        """Return the new number of a row; the one behind the last is the end of a list."""
        return self._new[row] if row < len(self._new) else row


class _Indexes:
    """What the indexes into a heap are in the new file."""

    def __init__(self, heap: Heap, shifts: Shifts, correction: int) -> None:
        first = shifts.of(heap.start) + correction
        stretches = list(shifts.constant_between(heap.start, heap.start + max(heap.size, 1)))
        self._starts = [start - heap.start for start, _, _ in stretches]
        self._shifts = [shift - first for _, _, shift in stretches]

    def __call__(self, index: int) -> int:
        return index + self._shifts[bisect_right(self._starts, index) - 1] if index else 0


class _Moves:
    def __init__(self, file: ClrFile, shifts: Shifts, new_image: Image, corrected: dict[str, int]) -> None:
        metadata = file.metadata
        self._heaps = {
            "string": _Indexes(metadata.strings, shifts, corrected["string"]),
            "blob": _Indexes(metadata.blobs, shifts, corrected["blob"]),
        }
        self._user_strings = _Indexes(metadata.user_strings, shifts, corrected["user string"])
        self._rows = {
            number: _Rows(table, shifts, corrected[f"t{number}"]) for number, table in metadata.tables.items()
        }
        if METHOD_DEF not in self._rows and METHOD_DEBUG_INFORMATION in self._rows:
            self._rows[METHOD_DEF] = self._rows[METHOD_DEBUG_INFORMATION]
        self._old_image, self._new_image, self._shifts = file.image, new_image, shifts

    def column(self, kind: str, values: Sequence[int]) -> list[int] | None:
        """Return what the values of a column become; None where they do not refer to what moves."""
        if kind in self._heaps:
            return list(map(self._heaps[kind], values))
        if kind == "rva":
            return list(map(self._address, values))
        if kind in CODED:
            return self._coded(kind, values)
        rows = self._rows.get(int(kind[1:])) if kind.startswith("t") else None
        return None if rows is None else list(map(rows, values))

    def token_rows(self, number: int) -> _Rows | _Indexes | None:
        """Return what makes new rows of the rows in tokens of a table."""
        return self._user_strings if number == _USER_STRING else self._rows.get(number)

    def _coded(self, kind: str, values: Sequence[int]) -> list[int]:
        bits, targets = CODED[kind]
        low = (1 << bits) - 1
        by_tag = [self._rows.get(target) if target is not None else None for target in targets]
        by_tag += [None] * (low + 1 - len(by_tag))
        return [
            rows(value >> bits) << bits | value & low if (rows := by_tag[value & low]) else value for value in values
        ]

    def _address(self, address: int) -> int:
        place = self._old_image.offset_of(address) if address else None
        new = None if place is None else self._new_image.address_of(self._shifts.moved(place))
        return address if new is None else new
