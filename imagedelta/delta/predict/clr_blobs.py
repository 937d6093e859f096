"""References inside the blobs of .NET metadata: types in signatures, parts of the names of documents.

Their numbers are packed: big-endian, one, two or four bytes by their first bits. Blobs are walked in the order of their
places, and one that begins before the end of the one before is left out: time is in proportion to the file.

Source: ECMA-335 (6th edition), II.23.2 (signatures), II.24.2.4 (blobs); Portable PDB 1.0, "Document Name Blob".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from imagedelta.delta.predict.clr_metadata import Metadata

TYPE, BLOB = "TypeDefOrRef", "blob"
"""What a packed number refers to, in the words of ``clr_tables``."""

_SIGNATURES = (4, 6, 10, 17, 23, 43)
"""Tables of which the blob begins with a calling convention."""
_TYPE_SPEC, _DOCUMENT = 27, 48
_FIELD = 6
_CONVENTION_BITS, _GENERIC = 0x0F, 0x10
_CLASS, _VALUE_TYPE, _REQUIRED, _OPTIONAL = 0x12, 0x11, 0x1F, 0x20
_WITH_TYPE = (_CLASS, _VALUE_TYPE, _REQUIRED, _OPTIONAL)
_WITH_NUMBER = (0x13, 0x1E)
"""Parameters of a generic type or method."""
_INSTANCE, _FUNCTION, _ARRAY = 0x15, 0x1B, 0x14
_LIMITS = {1: 1 << 7, 2: 1 << 14, 4: 1 << 29}
_MARKS = {1: 0, 2: 0x8000, 4: 0xC0000000}


class Packed(NamedTuple):
    """A packed number that refers to something."""

    place: int
    width: int
    refers_to: str
    value: int


def repack(value: int, width: int) -> bytes | None:
    """Return a number packed in so many bytes; None where it does not fit."""
    return (value | _MARKS[width]).to_bytes(width, "big") if 0 <= value < _LIMITS[width] else None


def blob_at(metadata: Metadata, index: int) -> tuple[int, int]:
    """Return start and end of the data of a blob; an empty stretch where there is none."""
    heap = metadata.blobs
    if not 0 < index < heap.size:
        return 0, 0
    data = metadata.data
    read = _Reader(data, heap.start + index, heap.start + heap.size)
    try:
        size, _ = read.number()
    except IndexError:
        return 0, 0
    end = read.at + size
    return (read.at, end) if end <= heap.start + heap.size else (0, 0)


def packed_references(metadata: Metadata) -> Iterator[Packed]:
    """Yield the references inside blobs, in rising order of their places."""
    done = 0
    for index, table in sorted(_blobs(metadata).items()):
        start, end = blob_at(metadata, index)
        if start == end or start < done:
            continue
        done = end
        read = _Reader(metadata.data, start, end)
        try:
            yield from _document(read) if table == _DOCUMENT else _signature(read, table)
        except IndexError:
            continue


def _blobs(metadata: Metadata) -> dict[int, int]:
    """Return the indexes of blobs that have references, with the table that names them."""
    found: dict[int, int] = {}
    for number in (*_SIGNATURES, _TYPE_SPEC, _DOCUMENT):
        table = metadata.tables.get(number)
        if table:
            column = next(column for column in table.columns if column.kind == "blob")
            found |= dict.fromkeys(metadata.values(table, column), number)
    return found


def _document(read: _Reader) -> Iterator[Packed]:
    read.byte()
    while read.at < read.end:
        yield read.reference(BLOB)


def _signature(read: _Reader, table: int) -> Iterator[Packed]:
    if table != _TYPE_SPEC:
        _skip_head(read)
    while read.at < read.end:
        element = read.byte()
        if element in _WITH_TYPE:
            yield read.reference(TYPE)
        elif element in _WITH_NUMBER:
            read.number()
        elif element == _INSTANCE:
            read.byte()
            yield read.reference(TYPE)
            read.number()
        elif element == _FUNCTION:
            _skip_head(read)
        elif element == _ARRAY:
            return


def _skip_head(read: _Reader) -> None:
    """Read past the calling convention and the counts behind it."""
    convention = read.byte()
    if convention & _CONVENTION_BITS == _FIELD:
        return
    if convention & _GENERIC:
        read.number()
    read.number()


class _Reader:
    """Packed numbers one after the other.

    Raises:
        IndexError: What is read does not end before ``end``.
    """

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self._data = data
        self.at = at
        self.end = end

    def byte(self) -> int:
        if self.at >= self.end:
            raise IndexError
        self.at += 1
        return self._data[self.at - 1]

    def number(self) -> tuple[int, int]:
        """Return a number and its width."""
        first = self.byte()
        width = 1 if first < 0x80 else 2 if first < 0xC0 else 4
        start = self.at - 1
        self.at = start + width
        if self.at > self.end:
            raise IndexError
        value = int.from_bytes(self._data[start : self.at], "big")
        return value & _LIMITS[width] - 1, width

    def reference(self, refers_to: str) -> Packed:
        value, width = self.number()
        return Packed(self.at - width, width, refers_to, value)
