"""An assembly in which every reference stands for what it refers to, so that a search finds code that moved.

Two references to one name are equal in the masked old and the masked new file, whatever their numbers are. Only the
side that builds patches looks at masked files: matches found in them hold for the files as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import groupby, repeat
from operator import itemgetter
from zlib import crc32

from imagedelta.delta.predict.clr import ClrFile, OfNumbers, of_coded, put_column, put_tokens
from imagedelta.delta.predict.clr_blobs import BLOB, Packed, blob_at
from imagedelta.delta.predict.clr_metadata import Heap, Metadata
from imagedelta.delta.predict.clr_tables import CODED, MEMBER_REF

_NAME_BITS = 0xFFFFFFFF
_NAME_AT_MOST = 512
_USER_STRING = 0x70
_PLACE_BYTES = 8
"""At the start of a list of lines, the numbers that change when the method moves in its document."""


def masked(file: ClrFile) -> bytes:
    """Return the file with a hash of what is referred to in the place of each reference."""
    metadata = file.metadata
    out = bytearray(metadata.data)
    names = _Names(metadata, out)
    for kind, references in groupby(file.packed(), itemgetter(2)):
        _put_packed(out, list(references), names.of_kind(kind) if kind != BLOB else None)
    for _, table, column in metadata.columns():
        if of_values := names.of_kind(column.kind):
            put_column(out, table, column, 0, of_values(metadata.values(table, column)))
    for number, places in file.tokens.items():
        of_rows = names.of_user_strings if number == _USER_STRING else names.of_table(number)
        put_tokens(out, number, places, of_rows(file.rows_at(places)))
    return bytes(out)


def _put_packed(out: bytearray, references: list[Packed], of_values: OfNumbers | None) -> None:
    """Write the low bytes of hashes, or zeros."""
    values = [value for _, _, _, value in references]
    for (place, width, _, _), name in zip(references, of_values(values) if of_values else repeat(0), strict=False):
        out[place : place + width] = name.to_bytes(8, "little")[:width]


class _Names:
    """Hashes of what indexes and rows stand for; 0 for what has no name."""

    def __init__(self, metadata: Metadata, masked_blobs: bytearray) -> None:
        self._metadata = metadata
        self._blobs = masked_blobs
        self._rows: dict[int, list[int]] = {}
        """Of each row of a table, the first of which is 1."""
        self._string = cache(self._name_of_string)
        self._kinds: dict[str, OfNumbers] = {
            "string": _each(self._string),
            BLOB: _each(cache(self._name_of_blob)),
            "rva": _each(_nothing),
        }
        self.of_user_strings = _each(cache(self._name_of_user_string))

    def of_kind(self, kind: str) -> OfNumbers | None:
        """Return what hashes the values of such a column; None where they are no references."""
        if kind in CODED:
            return partial(of_coded, kind, self.of_table)
        return self.of_table(int(kind[1:])) if kind.startswith("t") else self._kinds.get(kind)

    def of_table(self, number: int) -> OfNumbers:
        """Return what hashes the rows of a table."""
        if number not in self._rows:
            self._rows[number] = [0, *self._row_names(number)]
        return partial(_named, self._rows[number])

    def _row_names(self, number: int) -> list[int]:
        table = self._metadata.tables.get(number)
        if table is None:
            return []
        column = next((column for column in table.columns if column.kind == "string"), None)
        if column is None:
            return [0] * table.rows
        names = list(map(self._string, self._metadata.values(table, column)))
        if number != MEMBER_REF:
            return names
        owners = of_coded("MemberRefParent", self.of_table, self._metadata.values(table, table.columns[0]))
        return [name ^ owner * 31 & _NAME_BITS for name, owner in zip(names, owners, strict=True)]

    def _name_of_string(self, index: int) -> int:
        return _hash_to_zero(self._metadata.data, self._metadata.strings, index)

    def _name_of_user_string(self, index: int) -> int:
        heap = self._metadata.user_strings
        if index >= heap.size:
            return 0
        start = heap.start + index
        head = self._metadata.data[start]
        size = head if head < 0x80 else _NAME_AT_MOST
        return crc32(self._metadata.data[start : start + 1 + min(size, heap.start + heap.size - start)])

    def _name_of_blob(self, index: int) -> int:
        """Hash the end of a blob, whose references are masked already: the lines of a method begin with where it is."""
        start, end = blob_at(self._metadata, index)
        if end - start > 2 * _PLACE_BYTES:
            start += _PLACE_BYTES
        return crc32(self._blobs[start : min(end, start + _NAME_AT_MOST)])


def _each(name_of: Callable[[int], int]) -> OfNumbers:
    return lambda values: list(map(name_of, values))


def _nothing(value: int) -> int:
    return 0


def _named(names: Sequence[int], rows: Sequence[int]) -> list[int]:
    """Return the names of rows, 0 for those behind the last."""
    count = len(names)
    if max(rows, default=0) < count:
        return list(map(names.__getitem__, rows))
    return [names[row] if row < count else 0 for row in rows]


def _hash_to_zero(data: bytes, heap: Heap, index: int) -> int:
    if index >= heap.size:
        return 0
    start = heap.start + index
    end = data.find(b"\0", start, min(start + _NAME_AT_MOST, heap.start + heap.size))
    return crc32(data[start:end]) if end > start else 0
