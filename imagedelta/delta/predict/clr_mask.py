"""An assembly in which every reference stands for what it refers to, so that a search finds code that moved.

Two references to one name are equal in the masked old and the masked new file, whatever their numbers are. Only the
side that builds patches looks at masked files: matches found in them hold for the files as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from zlib import crc32

from imagedelta.delta.predict.clr import ClrFile, put_column, put_tokens
from imagedelta.delta.predict.clr_blobs import BLOB, blob_at
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
    for place, width, refers_to, value in file.packed():
        name = names.of_kind(refers_to) if refers_to != BLOB else None
        out[place : place + width] = (name(value) if name else 0).to_bytes(8, "little")[:width]
    for _, table, column in metadata.columns():
        name_of = names.of_kind(column.kind)
        if name_of is not None:
            put_column(out, table, column, 0, [name_of(value) for value in metadata.values(table, column)])
    for number, places in file.tokens.items():
        row_name = names.user_string if number == _USER_STRING else names.of_rows(number)
        put_tokens(out, number, places, map(row_name, file.rows_at(places)))
    return bytes(out)


class _Names:
    """Hashes of what indexes and rows stand for; 0 for what has no name."""

    def __init__(self, metadata: Metadata, masked_blobs: bytearray) -> None:
        self._metadata = metadata
        self._blobs = masked_blobs
        self._rows: dict[int, list[int]] = {}
        self.string = cache(self._string)
        self.user_string = cache(self._user_string)
        self.blob = cache(self._blob)

    def of_kind(self, kind: str) -> Callable[[int], int] | None:
        """Return what hashes the values of such a column; None where they are no references."""
        if kind == "string":
            return self.string
        if kind == "blob":
            return self.blob
        if kind == "rva":
            return lambda value: 0
        if kind in CODED:
            return self._coded(kind)
        return self.of_rows(int(kind[1:])) if kind.startswith("t") else None

    def of_rows(self, number: int) -> Callable[[int], int]:
        """Return what hashes the rows of a table."""
        if number not in self._rows:
            self._rows[number] = self._row_names(number)
        names = self._rows[number]
        return lambda row: names[row - 1] if 0 < row <= len(names) else 0

    def _coded(self, kind: str) -> Callable[[int], int]:
        bits, targets = CODED[kind]
        low = (1 << bits) - 1
        by_tag = [self.of_rows(target) if target is not None else None for target in targets]
        by_tag += [None] * (low + 1 - len(by_tag))

        def name_of(value: int) -> int:
            rows = by_tag[value & low]
            return value if rows is None else rows(value >> bits) << bits | value & low

        return name_of

    def _row_names(self, number: int) -> list[int]:
        table = self._metadata.tables.get(number)
        if table is None:
            return []
        column = next((column for column in table.columns if column.kind == "string"), None)
        if column is None:
            return [0] * table.rows
        names = [self.string(value) for value in self._metadata.values(table, column)]
        if number != MEMBER_REF:
            return names
        owner_of = self._coded("MemberRefParent")
        owners = self._metadata.values(table, table.columns[0])
        return [name ^ owner_of(owner) * 31 & _NAME_BITS for name, owner in zip(names, owners, strict=True)]

    def _string(self, index: int) -> int:
        return _hash_to_zero(self._metadata.data, self._metadata.strings, index)

    def _user_string(self, index: int) -> int:
        heap = self._metadata.user_strings
        if index >= heap.size:
            return 0
        start = heap.start + index
        head = self._metadata.data[start]
        size = head if head < 0x80 else _NAME_AT_MOST
        return crc32(self._metadata.data[start : start + 1 + min(size, heap.start + heap.size - start)])

    def _blob(self, index: int) -> int:
        """Hash the end of a blob, whose references are masked already: the lines of a method begin with where it is."""
        start, end = blob_at(self._metadata, index)
        if end - start > 2 * _PLACE_BYTES:
            start += _PLACE_BYTES
        return crc32(self._blobs[start : min(end, start + _NAME_AT_MOST)])


def _hash_to_zero(data: bytes, heap: Heap, index: int) -> int:
    if index >= heap.size:
        return 0
    start = heap.start + index
    end = data.find(b"\0", start, min(start + _NAME_AT_MOST, heap.start + heap.size))
    return crc32(data[start:end]) if end > start else 0
