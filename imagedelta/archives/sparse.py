"""Sparse members of an archive: files whose holes ``tar -S`` did not store, read as if it had.

A layer that ``tar -S`` packed into an archive has holes wherever its own files have long zeros. Four forms are in
use: GNU's own, with the map in the header and blocks behind it, and pax versions 0.0, 0.1 (map in the extended
header) and 1.0 (map in front of the data).
Not here: sparse files inside a layer, which is read as the bytes it is.

Source: GNU tar manual, "Storing Sparse Files" and appendix "Sparse Formats".
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import BinaryIO

from imagedelta.archives.tar_headers import BLOCK, parse_header, parse_number
from imagedelta.archives.tar_members import TarMember, read_exactly
from imagedelta.archives.unpacking import Section
from imagedelta.errors import ContentError, LimitExceeded, Truncated
from imagedelta.limits import MIB, Limits

_MAX_MAP_BYTES = 4 * MIB
"""Headers and map of one member: about 170,000 stretches of data."""
_FIRST_ENTRIES, _MORE_ENTRIES, _ENTRY = 4, 21, 24
_PREFIX = b"GNU.sparse."

Map = Sequence[tuple[int, int]]
"""(offset in the file, bytes stored) of each stretch of data, in order."""


@dataclass(frozen=True, slots=True)
class _Layout:
    size: int
    """Of the whole file, holes included."""
    map: Map
    map_bytes: int = 0
    """Stored in front of the data."""


def sparse_section(stream: BinaryIO, member: TarMember, limits: Limits) -> Section:
    """Return the whole file of a sparse member.

    Raises:
        LimitExceeded: Its map, or the file, is over the limit; nothing was read beyond the map.
        ContentError: The map is malformed, or does not fit what is stored.
    """
    layout = _layout(stream, member)
    if not layout.size >= 0:
        raise _malformed(member)
    if layout.size > limits.max_image_bytes:
        raise LimitExceeded(f"a sparse file of {layout.size} bytes, at most {limits.max_image_bytes}")
    ends = list(accumulate((length for _, length in layout.map), initial=0))
    in_order = all(start + length <= after for (start, length), (after, _) in _pairs(layout))
    if not in_order or ends[-1] != member.size - layout.map_bytes:
        raise _malformed(member)
    return _SparseSection(stream, member.offset + layout.map_bytes, layout, ends)


class _SparseSection(Section):
    def __init__(self, stream: BinaryIO, offset: int, layout: _Layout, ends: Sequence[int]) -> None:
        super().__init__(stream, offset, layout.size)
        self._map = layout.map
        self._starts = [start for start, _ in layout.map]
        self._ends = ends

    def read(self, size: int, /) -> bytes:
        """See Section; at most up to the next border between data and hole."""
        size = min(size, self.length - self.position)
        if size <= 0:
            return b""
        at = bisect_right(self._starts, self.position) - 1
        start, length = self._map[at] if at >= 0 else (0, 0)
        if self.position < start + length:
            data = self._stored(self._ends[at] + self.position - start, min(size, start + length - self.position))
        else:
            after = self._starts[at + 1] if at + 1 < len(self._starts) else self.length
            data = bytes(min(size, after - self.position, MIB))
        self.position += len(data)
        return data

    def _stored(self, at: int, size: int) -> bytes:
        self._stream.seek(self._offset + at)
        data = self._stream.read(size)
        if not data:
            raise Truncated(f"the archive ends {size} bytes early")
        return data


def _layout(stream: BinaryIO, member: TarMember) -> _Layout:
    head_bytes = member.offset - member.header_offset
    if head_bytes > _MAX_MAP_BYTES:
        raise LimitExceeded(f"{_shown(member)} has a map of {head_bytes} bytes, at most {_MAX_MAP_BYTES}")
    stream.seek(member.header_offset)
    head = read_exactly(stream, head_bytes)
    try:
        records = list(_pax_records(head))
        if not records:
            return _gnu(head)
        pax = dict(records)
        size = int(pax.get(_PREFIX + b"realsize") or pax[_PREFIX + b"size"])
        if pax.get(_PREFIX + b"major") == b"1":
            found, map_bytes = _map_before_data(stream, member)
            return _Layout(size, found, map_bytes)
        return _Layout(size, _map_of(_numbers(records)))
    except (ValueError, KeyError):
        raise _malformed(member) from None


def _gnu(head: bytes) -> _Layout:
    """The old form: four entries in the header, 21 in each block behind it."""
    for at in range(0, len(head), BLOCK):
        if head[at + 156 : at + 157] == b"S" and parse_header(head[at : at + BLOCK]):
            break
    else:
        raise ValueError
    entries = head[at + 386 : at + 386 + _FIRST_ENTRIES * _ENTRY]
    for block in range(at + BLOCK, len(head), BLOCK):
        entries += head[block : block + _MORE_ENTRIES * _ENTRY]
    numbers = []
    for entry in range(0, len(entries), _ENTRY):
        if entries[entry + 12] == 0:
            break
        numbers += [_octal(entries[entry : entry + 12]), _octal(entries[entry + 12 : entry + 24])]
    return _Layout(_octal(head[at + 483 : at + 495]), _map_of(numbers))


def _pax_records(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The sparse records of the extended headers, repeated ones too: version 0.0 has one pair for each stretch."""
    at = 0
    while header := parse_header(head[at : at + BLOCK]) if at + BLOCK <= len(head) else None:
        data = head[at + BLOCK : at + BLOCK + header.size]
        at += BLOCK - (-header.size // BLOCK) * BLOCK
        if header.type not in (b"x", b"X"):
            if header.type not in (b"g", b"L", b"K"):
                return
            continue
        yield from ((key, value) for key, value in _records(data) if key.startswith(_PREFIX))


def _records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """``<length> <key>=<value>\\n``, as parse_pax has checked them."""
    at = 0
    while at < len(data) and data[at]:
        digits, _, _ = data[at : at + 20].partition(b" ")
        end = at + int(digits)
        if end <= at:
            raise ValueError
        key, _, value = data[at + len(digits) + 1 : end - 1].partition(b"=")
        yield key, value
        at = end


def _numbers(records: Sequence[tuple[bytes, bytes]]) -> list[int]:
    listed = dict(records).get(_PREFIX + b"map")
    if listed is not None:
        return [int(number) for number in listed.split(b",")] if listed else []
    pair = (_PREFIX + b"offset", _PREFIX + b"numbytes")
    return [int(value) for key, value in records if key in pair]


def _map_before_data(stream: BinaryIO, member: TarMember) -> tuple[Map, int]:
    """Decimal lines, first how many pairs follow, padded to a block."""
    stream.seek(member.offset)
    blocks = [read_exactly(stream, BLOCK)]
    count = 1 + 2 * int(blocks[0].partition(b"\n")[0])
    lines = blocks[0].count(b"\n")
    while lines < count:
        blocks.append(read_exactly(stream, BLOCK))
        lines += blocks[-1].count(b"\n")
        if len(blocks[-1]) < BLOCK or len(blocks) * BLOCK > min(_MAX_MAP_BYTES, member.size):
            raise ValueError
    numbers = b"".join(blocks).split(b"\n")[1:count]
    return _map_of([int(number) for number in numbers]), len(blocks) * BLOCK


def _map_of(numbers: Sequence[int]) -> Map:
    if len(numbers) % 2 or any(number < 0 for number in numbers):
        raise ValueError
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _pairs(layout: _Layout) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    return zip(layout.map, [*layout.map[1:], (layout.size, 0)], strict=True)


def _octal(field: bytes) -> int:
    value = parse_number(field)
    if value is None:
        raise ValueError
    return value


def _malformed(member: TarMember) -> ContentError:
    return ContentError(f"the sparse map of {_shown(member)} is malformed")


def _shown(member: TarMember) -> str:
    return repr(member.path[:100].decode("utf-8", "replace"))
