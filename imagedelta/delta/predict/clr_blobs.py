"""References inside the blobs of .NET metadata: types in signatures, parts of the names of documents.

Their numbers are packed: big-endian, one, two or four bytes by their first bits. Blobs are walked in the order of their
places, and one that begins before the end of the one before is left out: time is in proportion to the file.

Source: ECMA-335 (6th edition), II.23.2 (signatures), II.24.2.4 (blobs); Portable PDB 1.0, "Document Name Blob".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from imagedelta.delta.predict.clr_metadata import Metadata

TYPE, BLOB = "TypeDefOrRef", "blob"
"""What a packed number refers to, in the words of ``clr_tables``."""

_SIGNATURES = (4, 6, 10, 17, 23, 43)
"""Tables of which the blob begins with a calling convention."""
_TYPE_SPEC, _DOCUMENT = 27, 48
_LIMITS = {1: 1 << 7, 2: 1 << 14, 4: 1 << 29}
_MARKS = {1: 0, 2: 0x8000, 4: 0xC0000000}
_WIDTHS = bytes(1 if first < 0x80 else 2 if first < 0xC0 else 4 for first in range(256))
"""Of a packed number, by its first byte."""

_NUMBER = rb"(?:[\x00-\x7f]|[\x80-\xbf].|[\xc0-\xff].{3})"
_FIELD = 6
_CONVENTION_BITS, _GENERIC = 0x0F, 0x10
_FIELDS = bytes(first for first in range(256) if first & _CONVENTION_BITS == _FIELD)
_GENERICS = bytes(first for first in range(256) if first & _GENERIC and first not in _FIELDS)
_OTHERS = bytes(set(range(256)) - set(_FIELDS + _GENERICS))
_HEAD_FORM = rb"(?:[%b]|[%b]%b{2}|[%b]%b)" % (
    re.escape(_FIELDS), re.escape(_GENERICS), _NUMBER, re.escape(_OTHERS), _NUMBER,
)  # fmt: skip
_HEAD = re.compile(rb"(?s:%b)" % _HEAD_FORM)
"""A calling convention, and the counts behind it."""
_REFERENCE = re.compile(
    rb"(?s:(?:[^\x11-\x15\x1b\x1e-\x20]++|[\x13\x1e]%b|\x1b%b)*+(?:[\x11\x12\x1f\x20](%b)|\x15.(%b)(?:%b|.*)|.*))"
    % (_NUMBER, _HEAD_FORM, _NUMBER, _NUMBER, _NUMBER)
)
"""Elements without a reference, among them parameters of generics (13, 1e) and functions (1b), then one that has one: a
class, a value type, a modifier, or a generic type (15) with the number of its types. Or all the rest: an array (14)
ends what is walked."""


Packed = tuple[int, int, str, int]
"""Place and width of a packed number, what it refers to, and the number."""


def repack(value: int, width: int) -> bytes | None:
    """Return a number packed in so many bytes; None where it does not fit."""
    return (value | _MARKS[width]).to_bytes(width, "big") if 0 <= value < _LIMITS[width] else None


def blob_at(metadata: Metadata, index: int) -> tuple[int, int]:
    """Return start and end of the data of a blob; an empty stretch where there is none."""
    heap = metadata.blobs
    if not 0 < index < heap.size:
        return 0, 0
    at, heap_end = heap.start + index, heap.start + heap.size
    width = _width_at(metadata.data, at, heap_end)
    start = at + width
    end = start + _value_at(metadata.data, at, width)
    return (start, end) if width and end <= heap_end else (0, 0)


def packed_references(metadata: Metadata) -> Iterator[Packed]:
    """Yield the references inside blobs, in rising order of their places."""
    done = 0
    for index, table in sorted(_blobs(metadata).items()):
        start, end = blob_at(metadata, index)
        if start == end or start < done:
            continue
        done = end
        if table == _DOCUMENT:
            yield from _document(metadata.data, start, end)
        else:
            yield from _signature(metadata.data, start, end, has_head=table != _TYPE_SPEC)


def _blobs(metadata: Metadata) -> dict[int, int]:
    """Return the indexes of blobs that have references, with the table that names them."""
    found: dict[int, int] = {}
    for number in (*_SIGNATURES, _TYPE_SPEC, _DOCUMENT):
        table = metadata.tables.get(number)
        if table:
            column = next(column for column in table.columns if column.kind == "blob")
            found |= dict.fromkeys(metadata.values(table, column), number)
    return found


def _document(data: bytes, at: int, end: int) -> Iterator[Packed]:
    at += 1
    while width := _width_at(data, at, end):
        yield at, width, BLOB, _value_at(data, at, width)
        at += width


def _signature(data: bytes, at: int, end: int, *, has_head: bool) -> Iterator[Packed]:
    if has_head:
        head = _HEAD.match(data, at, end)
        if head is None:
            return
        at = head.end()
    for found in _REFERENCE.finditer(data, at, end):
        if found.lastindex is None:
            return
        place, stop = found.span(found.lastindex)
        width = stop - place
        yield place, width, TYPE, data[place] if width == 1 else _value_at(data, place, width)


def _width_at(data: bytes, at: int, end: int) -> int:
    """Return the width of the packed number at a place, 0 where it does not end before ``end``."""
    width = _WIDTHS[data[at]] if at < end else 0
    return width if at + width <= end else 0


def _value_at(data: bytes, at: int, width: int) -> int:
    return int.from_bytes(data[at : at + width], "big") & _LIMITS.get(width, 1) - 1
