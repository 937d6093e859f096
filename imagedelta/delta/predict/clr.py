"""References inside .NET assemblies and portable PDBs: indexes into heaps and tables, addresses, tokens in code.

A row, a name or a body that is put in moves all behind it, and with them every number that says where they are. What
such a number becomes follows from how far the row, the name or the body moved.

Source: docs/formats/patch.md, section on predictions; ECMA-335 (6th edition), partition II.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from imagedelta.delta.predict.clr_blobs import Packed, packed_references, repack
from imagedelta.delta.predict.clr_code import tokens
from imagedelta.delta.predict.clr_metadata import Heap, Metadata, Table, read_metadata
from imagedelta.delta.predict.clr_tables import CODED, METHOD_DEBUG_INFORMATION, METHOD_DEF
from imagedelta.delta.predict.pe_image import PeImage, metadata_root, read_pe
from imagedelta.delta.predict.shifts import Shifts

_U32 = struct.Struct("<I")
_USER_STRING = 0x70
_ROW_BITS = 24
_ROW = (1 << _ROW_BITS) - 1


class Fields(NamedTuple):
    """Numbers of one width at places of the old file, and what they are predicted to become."""

    offsets: Sequence[int]
    width: int
    values: Sequence[int]


@dataclass(frozen=True)
class ClrFile:
    """An assembly or a portable PDB."""

    metadata: Metadata
    image: PeImage

    @cached_property
    def bodies(self) -> list[int]:
        """Where the bodies of methods begin."""
        table = self.metadata.tables.get(METHOD_DEF)
        if table is None:
            return []
        addresses = self.metadata.values(table, table.columns[0])
        places = map(self.image.offset_of, {address for address in addresses if address})
        return [place for place in places if place is not None]

    @cached_property
    def tokens(self) -> dict[int, list[tuple[int, int]]]:
        """Tokens in code as (place, row or index), by their table; none lies in tables or blobs."""
        found: dict[int, list[tuple[int, int]]] = defaultdict(list)
        data = self.metadata.data
        blobs = self.metadata.blobs
        for place in tokens(data, self.bodies):
            if self._in_tables(place, _U32.size) or blobs.start - _U32.size < place < blobs.start + blobs.size:
                continue
            (token,) = _U32.unpack_from(data, place)
            if token & _ROW:
                found[token >> _ROW_BITS].append((place, token & _ROW))
        return found

    @cached_property
    def packed(self) -> list[Packed]:
        """References inside blobs; none lies in tables."""
        return [found for found in packed_references(self.metadata) if not self._in_tables(found.place, found.width)]

    def _in_tables(self, place: int, width: int) -> bool:
        tables = self.metadata.tables.values()
        first = min((table.start for table in tables), default=0)
        end = max((table.start + table.rows * table.row_bytes for table in tables), default=0)
        return first - width < place < end


def read_clr(data: bytes) -> ClrFile | None:
    """Return the assembly or portable PDB that ``data`` is; None where it is neither."""
    if data[:4] == b"BSJB":
        image, root = PeImage(()), 0
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


def predicted(file: ClrFile, shifts: Shifts, new_image: PeImage, corrected: Sequence[int]) -> Iterator[Fields]:
    """Yield every reference of the old file with what it should be in the new one; no two overlap.

    Args:
        corrected: What ``corrections`` gave; as many numbers as ``starts``.
    """
    names = starts(file.metadata)
    moves = _Moves(file, shifts, new_image, dict(zip(names, corrected, strict=True)))
    for _, table, column in file.metadata.columns():
        values = file.metadata.values(table, column)
        first = table.start + column.offset
        becomes = moves.column(column.kind, values)
        if becomes is not None:
            places = range(first, first + table.rows * table.row_bytes, table.row_bytes)
            most = (1 << 8 * column.width) - 1
            yield Fields(places, column.width, [value & most for value in becomes])
    for number, found in file.tokens.items():
        rows = moves.token_rows(number)
        if rows is not None:
            high = number << _ROW_BITS
            yield Fields([place for place, _ in found], 4, [high | rows(row) & _ROW for _, row in found])
    yield _packed(file, moves)


def _packed(file: ClrFile, moves: _Moves) -> Fields:
    """Return the bytes of the references inside blobs whose predicted number is packed in as many bytes."""
    places: list[int] = []
    values: list[int] = []
    for place, width, refers_to, value in file.packed:
        becomes = moves.column(refers_to, [value])
        packed = repack(becomes[0], width) if becomes else None
        if packed is not None:
            places += range(place, place + width)
            values += packed
    return Fields(places, 1, values)


class _Rows:
    """What the rows of a table are called in the new file."""

    def __init__(self, table: Table, shifts: Shifts, correction: int) -> None:
        first = shifts.moved(table.start) + correction
        half = table.row_bytes // 2
        end = table.start + table.rows * table.row_bytes
        self._new = [0]
        for start, stop, shift in shifts.constant_between(table.start, end):
            row = -((table.start - start) // table.row_bytes)
            last = -((table.start - stop) // table.row_bytes)
            moved = (table.start + shift - first + half) // table.row_bytes
            self._new.extend(range(row + moved + 1, last + moved + 1))
        self._new.append(self._new[-1] + 1)

    def __call__(self, row: int) -> int:
        """Return the new number of a row; the one behind the last is the end of a list."""
        if row >= len(self._new):
            return row
        new = self._new[row]
        return new if new > 0 else row


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
    def __init__(self, file: ClrFile, shifts: Shifts, new_image: PeImage, corrected: dict[str, int]) -> None:
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
