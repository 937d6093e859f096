"""Tables of ELF files that say where things lie: symbols, and the functions that exceptions unwind.

Source: docs/formats/patch.md, section 7a; System V ABI, chapter 4; Linux Standard Base, Exception Frames.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple, Protocol

from imagedelta.delta.predict.elf_image import eh_frame_header
from imagedelta.delta.predict.image import AddressMap, Image, Segment
from imagedelta.delta.predict.shifts import Shifts
from imagedelta.limits import MIB

_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_U32 = struct.Struct("<I")
_S32 = struct.Struct("<i")
_FRAME = struct.Struct("<IIiI")
_SECTIONS_AT_MOST = 128
_SYMBOL_TABLES, _RELOCATION_TABLE = (2, 11), 4
_RELOCATION = struct.Struct("<QQQ")
_KIND = 0xFFFFFFFF
_OF_AN_ADDRESS = (8, 37, 1027, 1032)
"""Kinds of relocations whose last number is an address: RELATIVE and IRELATIVE of x86-64, then of aarch64."""
_TABLE_BYTES_AT_MOST = 16 * MIB
_FRAMES_NAME = b".eh_frame\0"
_ENTRIES_AT = 12
_LONG_SYMBOL = 1 << 24


class Field(NamedTuple):
    """A reference of the old file, and what it should be in the new one."""

    offset: int
    width: int
    value: int
    is_size: bool = False
    """It is no reference, but what lies between two places."""


class Moves(NamedTuple):
    """What moved where, as all tables need it."""

    shifts: Shifts
    old: Image
    addresses: AddressMap


class Table(Protocol):
    """A stretch of the old file whose references are found by its form."""

    start: int
    end: int

    def fields(self, start: int, end: int, site_difference: int) -> Iterator[Field]:
        """Yield the references of a part of it, in rising order.

        Args:
            site_difference: New address less old of the bytes of the part.
        """
        ...


class Symbols:
    """A symbol table: names, addresses and sizes."""

    def __init__(self, data: bytes, start: int, names_at: int, moves: Moves) -> None:
        self.start, self.end = start, start + len(data) // _SYMBOL.size * _SYMBOL.size
        self._data, self._names_at, self._moves = data, names_at, moves

    def fields(self, start: int, end: int, site_difference: int) -> Iterator[Field]:
        """See ``Table``."""
        moves = self._moves
        moved = moves.shifts.moved
        names_before = moved(self._names_at)
        first = max(0, (start - self.start) // _SYMBOL.size)
        for at in range(first * _SYMBOL.size, min(end, self.end) - self.start, _SYMBOL.size):
            name, _, _, _, address, size = _SYMBOL.unpack_from(self._data, at)
            place = self.start + at
            if name:
                yield Field(place, 4, moved(self._names_at + name) - names_before)
            becomes = moves.addresses.moved(address) if address else None
            if becomes is None:
                continue
            yield Field(place + 8, 8, becomes)
            offset = moves.old.offset_of(address)
            if 0 < size < _LONG_SYMBOL and offset is not None:
                yield Field(place + 16, 8, moved(offset + size - 1) + 1 - moved(offset), is_size=True)


class Relocations:
    """What is added to the image where it is loaded: places, and addresses that are put there."""

    def __init__(self, data: bytes, start: int, moves: Moves) -> None:
        self.start, self.end = start, start + len(data) // _RELOCATION.size * _RELOCATION.size
        self._data, self._moves = data, moves

    def fields(self, start: int, end: int, site_difference: int) -> Iterator[Field]:
        """See ``Table``."""
        becomes = self._moves.addresses.moved
        first = max(0, (start - self.start) // _RELOCATION.size)
        for at in range(first * _RELOCATION.size, min(end, self.end) - self.start, _RELOCATION.size):
            place, kind, added = _RELOCATION.unpack_from(self._data, at)
            moved = becomes(place)
            if moved is not None:
                yield Field(self.start + at, 8, moved)
            moved = becomes(added) if kind & _KIND in _OF_AN_ADDRESS else None
            if moved is not None:
                yield Field(self.start + at + 16, 8, moved)


class Frames:
    """The table of unwinding: of each function its start, its length and where its handlers are."""

    def __init__(self, data: bytes, start: int, address: int, moves: Moves) -> None:
        self.start, self.end = start, start + len(data)
        self._data, self._ahead, self._moves = data, address - start, moves
        self._frames = array("I", _frames(data))
        self._handled = _with_handlers(data)

    def fields(self, start: int, end: int, site_difference: int) -> Iterator[Field]:
        """See ``Table``."""
        data, moves = self._data, self._moves
        moved, becomes = moves.shifts.moved, moves.addresses.moved
        first = max(0, bisect_right(self._frames, start - self.start) - 1)
        last = bisect_left(self._frames, end - self.start)
        for at in self._frames[first:last]:
            place = self.start + at
            length, back, begins, size = _FRAME.unpack_from(data, at)
            yield Field(place + 4, 4, moved(place + 4) - moved(place + 4 - back))
            site = place + 8 + self._ahead
            target = becomes(site + begins)
            if target is not None:
                yield Field(place + 8, 4, target - site - site_difference)
            offset = moves.old.offset_of(site + begins)
            if offset is not None and size:
                yield Field(place + 12, 4, moved(offset + size - 1) + 1 - moved(offset), is_size=True)
            if at + 4 - back in self._handled and length >= 17 and data[at + 16] == 4:
                (handlers,) = _S32.unpack_from(data, at + 17)
                target = becomes(site + 9 + handlers) if handlers else None
                if target is not None:
                    yield Field(place + 17, 4, target - site - 9 - site_difference)


class FrameIndex:
    """The sorted table in front of it: starts of functions and their frames, counted from its own address."""

    def __init__(self, data: bytes, place: Segment, new_address: int, moves: Moves) -> None:
        self.start, self.end = place.offset + _ENTRIES_AT, place.offset + len(data)
        self._data, self._address, self._new_address, self._moves = data, place.address, new_address, moves

    def fields(self, start: int, end: int, site_difference: int) -> Iterator[Field]:
        """See ``Table``."""
        becomes = self._moves.addresses.moved
        first = max(0, start - self.start) // 4 * 4
        for at in range(first + _ENTRIES_AT, min(end, self.end) - self.start + _ENTRIES_AT - 3, 4):
            moved = becomes(self._address + _S32.unpack_from(self._data, at)[0])
            if moved is not None:
                yield Field(self.start + at - _ENTRIES_AT, 4, moved - self._new_address)


def find_tables(read_at: ReadAt, size: int, start: bytes, new_start: bytes, moves: Moves) -> list[Table]:
    """Return the tables of an old file, in the order of its bytes; those that overlap one before are left out.

    Args:
        start: First bytes of the old file; ``new_start`` of the new one.
    """
    sections, left = Sections(read_at, size, start), _TABLE_BYTES_AT_MOST
    places: list[tuple[int, int, Callable[[bytes], Table]]] = []
    for at, length, names_at in sections.symbols():
        places.append((at, length, partial(Symbols, start=at, names_at=names_at, moves=moves)))
    for at, length in sections.relocations():
        places.append((at, length, partial(Relocations, start=at, moves=moves)))
    if frames := sections.frames():
        at, length, address = frames
        places.append((at, length, partial(Frames, start=at, address=address, moves=moves)))
    index, new_index = eh_frame_header(start), eh_frame_header(new_start)
    if index and new_index and index.offset + index.size <= size:
        make_index = partial(FrameIndex, place=index, new_address=new_index.address, moves=moves)
        places.append((index.offset, index.size, make_index))
    tables: list[Table] = []
    for at, length, make in sorted(places, key=lambda place: place[:2]):
        if at < (tables[-1].end if tables else 0) or length > left:
            continue
        left -= length
        tables.append(make(read_at(at, length)))
    return tables


def _frames(data: bytes) -> Iterator[int]:
    """Yield where the description of each function begins."""
    for at, back in _entries(data):
        if back and at + _FRAME.size <= len(data):
            yield at


def _with_handlers(data: bytes) -> frozenset[int]:
    """Return the common entries whose functions name their handlers."""
    found = []
    for at, back in _entries(data):
        if not back:
            letters = data[at + 9 : at + 17].partition(b"\0")[0]
            if letters.startswith(b"z") and b"L" in letters:
                found.append(at)
    return frozenset(found)


def _entries(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield place and second word of each entry: 0 of a common one."""
    at = 0
    while at + 20 <= len(data):
        length, back = struct.unpack_from("<II", data, at)
        if not length or length > len(data) - at - 4:
            return
        yield at, back
        at += length + 4


class Sections:
    """The section headers of an ELF file."""

    def __init__(self, read_at: ReadAt, size: int, start: bytes) -> None:
        self.all: list[tuple[int, ...]] = []
        self._names_at = -1
        if len(start) < 64:
            return
        (table,) = struct.unpack_from("<Q", start, 40)
        entry, count, names = struct.unpack_from("<HHH", start, 58)
        if entry != _SECTION.size or names >= count or count > _SECTIONS_AT_MOST or table + entry * count > size:
            return
        self.all = list(_SECTION.iter_unpack(read_at(table, entry * count)))
        self._names_at = self.all[names][4]
        self._read_at, self._size = read_at, size

    def symbols(self) -> Iterator[tuple[int, int, int]]:
        """Yield where symbol tables are: start, size and where the table of their names begins."""
        for header in self.all:
            if header[1] in _SYMBOL_TABLES and header[6] < len(self.all) and header[4] + header[5] <= self._size:
                yield header[4], header[5], self.all[header[6]][4]

    def relocations(self) -> Iterator[tuple[int, int]]:
        """Yield where tables of relocations are, and their size."""
        for header in self.all:
            if header[1] == _RELOCATION_TABLE and header[4] + header[5] <= self._size:
                yield header[4], header[5]

    def frames(self) -> tuple[int, int, int] | None:
        """Return start, size and address of the table of unwinding."""
        for header in self.all:
            name = self._names_at + header[0]
            if max(name + len(_FRAMES_NAME), header[4] + header[5]) > self._size:
                continue
            if self._read_at(name, len(_FRAMES_NAME)) == _FRAMES_NAME:
                return header[4], header[5], header[3]
        return None


class ReadAt(Protocol):
    """Reads bytes of a file."""

    def __call__(self, offset: int, length: int, /) -> bytes: ...
