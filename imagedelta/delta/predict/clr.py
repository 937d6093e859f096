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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby, islice
from operator import add, itemgetter

from imagedelta.delta.predict.clr_blobs import BLOB, Packed, packed_references, repack
from imagedelta.delta.predict.clr_code import tokens
from imagedelta.delta.predict.clr_metadata import Column, Heap, Metadata, Table, read_metadata
from imagedelta.delta.predict.clr_tables import CODED, METHOD_DEBUG_INFORMATION, METHOD_DEF
from imagedelta.delta.predict.image import Image
from imagedelta.delta.predict.pe_image import metadata_root, read_pe
from imagedelta.delta.predict.shifts import Shifts

_USER_STRING = 0x70
_ROW_BITS = 24
_ROW_END = 1 << _ROW_BITS
_ROW = _ROW_END - 1
_TOKEN = struct.Struct("<I")
"""The row, or the index; above it the table."""
_AT_ONCE = 4096
"""So many numbers are in memory at once."""
CORRECTIONS_AT_MOST = 67
"""A file has 64 kinds of tables, and three heaps whose start may be corrected."""


OfNumbers = Callable[[Sequence[int]], list[int]]
"""What numbers become, one after the other."""


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
        first, end = self.metadata.tables_at
        blobs = self.metadata.blobs
        blobs_end = blobs.start + blobs.size
        outside = (
            place
            for place in tokens(self.metadata.data, self.bodies)
            if not (first - _TOKEN.size < place < end or blobs.start - _TOKEN.size < place < blobs_end)
        )
        places = array("I", outside)
        found: dict[int, array[int]] = defaultdict(lambda: array("I"))
        for place, token in zip(places, self._tokens_at(places), strict=True):
            if token & _ROW:
                found[token >> _ROW_BITS].append(place)
        return found

    def rows_at(self, places: Iterable[int]) -> list[int]:
        """Return the rows, or the indexes, that tokens name."""
        return [token & _ROW for token in self._tokens_at(places)]

    def packed(self) -> Iterator[Packed]:
        """Yield the references inside blobs; none lies in tables."""
        first, end = self.metadata.tables_at
        return (one for one in packed_references(self.metadata) if not first - one[1] < one[0] < end)

    def _tokens_at(self, places: Iterable[int]) -> Iterator[int]:
        return (token for (token,) in map(partial(_TOKEN.unpack_from, self.metadata.data), places))


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
        if of_values := moves.of_kind(column.kind):
            for first in range(0, table.rows, _AT_ONCE):
                put_column(out, table, column, first, of_values(file.metadata.values(table, column, first, _AT_ONCE)))
    for number, places in file.tokens.items():
        if of_rows := moves.of_tokens(number):
            for first in range(0, len(places), _AT_ONCE):
                some = places[first : first + _AT_ONCE]
                put_tokens(out, number, some, of_rows(file.rows_at(some)))
    for kind, references in groupby(file.packed(), itemgetter(2)):
        of_values = moves.of_kind(kind)
        while of_values and (packed := list(islice(references, _AT_ONCE))):
            _put_packed(out, packed, of_values([value for _, _, _, value in packed]))
    return out


def of_coded(kind: str, of_table: Callable[[int], OfNumbers | None], values: Sequence[int]) -> list[int]:
    """Return what coded indexes become.

    Args:
        of_table: What makes other rows of those of a table; None where its rows stay.
    """
    bits, targets = CODED[kind]
    low = (1 << bits) - 1
    becomes = list(values)
    for tag, target in enumerate(targets):
        of_rows = of_table(target) if target is not None else None
        if of_rows:
            at = [place for place, value in enumerate(values) if value & low == tag]
            for place, row in zip(at, of_rows([values[place] >> bits for place in at]), strict=True):
                becomes[place] = row << bits | tag
    return becomes


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


def put_tokens(out: bytearray, number: int, places: Iterable[int], rows: Iterable[int]) -> None:
    """Write tokens of a table, their rows reduced to what a token has room for."""
    put, table = _TOKEN.pack_into, number << _ROW_BITS
    for place, row in zip(places, rows, strict=True):
        put(out, place, table | row & _ROW)


def _put_packed(out: bytearray, references: Iterable[Packed], values: Iterable[int]) -> None:
    """Write packed numbers, those that fit."""
    for (place, width, _, _), value in zip(references, values, strict=True):
        packed = repack(value, width)
        if packed is not None:
            out[place : place + width] = packed


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

    def __call__(self, rows: Sequence[int]) -> list[int]:
        """Return the new numbers of rows; the one behind the last is the end of a list."""
        new, count = self._new, len(self._new)
        if max(rows, default=0) < count:
            return list(map(new.__getitem__, rows))
        return [new[row] if row < count else row for row in rows]


class _Indexes:
    """What the indexes into a heap are in the new file; 0 stays 0."""

    def __init__(self, heap: Heap, shifts: Shifts, correction: int) -> None:
        first = shifts.of(heap.start) + correction
        self._starts, self._shifts = [0], [0, 0]
        for start, _, shift in shifts.constant_between(heap.start, heap.start + max(heap.size, 1)):
            self._starts.append(max(1, start - heap.start))
            self._shifts.append(shift - first)

    def __call__(self, indexes: Sequence[int]) -> list[int]:
        """Return what indexes become."""
        stretches = map(partial(bisect_right, self._starts), indexes)
        return list(map(add, indexes, map(self._shifts.__getitem__, stretches)))


class _Moves:
    def __init__(self, file: ClrFile, shifts: Shifts, new_image: Image, corrected: dict[str, int]) -> None:
        metadata = file.metadata
        self._heaps: dict[str, OfNumbers] = {
            "string": _Indexes(metadata.strings, shifts, corrected["string"]),
            BLOB: _Indexes(metadata.blobs, shifts, corrected["blob"]),
        }
        self._user_strings = _Indexes(metadata.user_strings, shifts, corrected["user string"])
        self._rows = {
            number: _Rows(table, shifts, corrected[f"t{number}"]) for number, table in metadata.tables.items()
        }
        if METHOD_DEF not in self._rows and METHOD_DEBUG_INFORMATION in self._rows:
            self._rows[METHOD_DEF] = self._rows[METHOD_DEBUG_INFORMATION]
        self._old_image, self._new_image, self._shifts = file.image, new_image, shifts

    def of_kind(self, kind: str) -> OfNumbers | None:
        """Return what makes new values of a column; None where they do not refer to what moves."""
        if kind == "rva":
            return self._addresses
        if kind in CODED:
            return partial(of_coded, kind, self._rows.get)
        return self._rows.get(int(kind[1:])) if kind.startswith("t") else self._heaps.get(kind)

    def of_tokens(self, number: int) -> OfNumbers | None:
        """Return what makes new rows of those in tokens of a table."""
        return self._user_strings if number == _USER_STRING else self._rows.get(number)

    def _addresses(self, addresses: Sequence[int]) -> list[int]:
        return list(map(self._address, addresses))

    def _address(self, address: int) -> int:
        place = self._old_image.offset_of(address) if address else None
        new = None if place is None else self._new_image.address_of(self._shifts.moved(place))
        return address if new is None else new
