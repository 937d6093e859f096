"""Tables of ELF files that say where things lie: symbols, and the functions that exceptions unwind.

Source: docs/formats/patch.md, section 7a; System V ABI, chapter 4; Linux Standard Base, Exception Frames.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple, Protocol

from imagedelta.delta.predict.elf_image import eh_frame_header
from imagedelta.delta.predict.image import AddressMap, Image, Segment
from imagedelta.delta.predict.shifts import Shifts
from imagedelta.limits import KIB

_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_U32 = struct.Struct("<I")
_S32 = struct.Struct("<i")
_FRAME = struct.Struct("<IIiIBi")
"""Length, back, where the function begins and how long it is, length of what follows, and where its handlers are."""
_SECTIONS_AT_MOST = 128
_SYMBOL_TABLES, _RELOCATION_TABLE = (2, 11), 4
_RELOCATION = struct.Struct("<QQQ")
_KIND = 0xFFFFFFFF
_OF_AN_ADDRESS = (8, 37, 1027, 1032)
"""Kinds of relocations whose last number is an address: RELATIVE and IRELATIVE of x86-64, then of aarch64."""
_FRAMES_NAME = b".eh_frame\0"
_ENTRIES_AT = 12
_FRAME_BYTES, _LEAST_ENTRY, _COMMON_BYTES = _FRAME.size, 20, 17
_ANCHOR_BYTES = 256
_READ_BYTES = 64 * KIB
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

    def __init__(self, read_at: ReadAt, start: int, size: int, names_at: int, moves: Moves) -> None:
        self.start, self.end = start, start + size // _SYMBOL.size * _SYMBOL.size
        self.names_at = names_at
        self._read_at, self._moves = read_at, moves

    def fields(self, start: int, end: int, site_difference: int) -> Iterator[Field]:
        """See ``Table``."""
        moves = self._moves
        moved = moves.shifts.moved
        names_before = moved(self.names_at)
        for place, (name, _, _, _, address, size) in _records(self, _SYMBOL, self._read_at, start, end):
            if name:
                yield Field(place, 4, moved(self.names_at + name) - names_before)
            becomes = moves.addresses.moved(address) if address else None
            if becomes is None:
                continue
            yield Field(place + 8, 8, becomes)
            offset = moves.old.offset_of(address)
            if 0 < size < _LONG_SYMBOL and offset is not None:
                yield Field(place + 16, 8, moved(offset + size - 1) + 1 - moved(offset), is_size=True)


class Relocations:
    """What is added to the image where it is loaded: places, and addresses that are put there."""

    def __init__(self, read_at: ReadAt, start: int, size: int, moves: Moves) -> None:
        self.start, self.end = start, start + size // _RELOCATION.size * _RELOCATION.size
        self._read_at, self._moves = read_at, moves

    def fields(self, start: int, end: int, site_difference: int) -> Iterator[Field]:
        """See ``Table``."""
        becomes = self._moves.addresses.moved
        for at, (place, kind, added) in _records(self, _RELOCATION, self._read_at, start, end):
            moved = becomes(place)
            if moved is not None:
                yield Field(at, 8, moved)
            moved = becomes(added) if kind & _KIND in _OF_AN_ADDRESS else None
            if moved is not None:
                yield Field(at + 16, 8, moved)


class Frames:
    """The table of unwinding: of each function its start, its length and where its handlers are."""

    def __init__(self, read_at: ReadAt, start: int, size: int, address: int, moves: Moves) -> None:
        self.start, self.end = start, start + size
        self._read_at, self._ahead, self._moves = read_at, address - start, moves
        self._anchors = array("Q")
        """The first entry that begins in each stretch of so many bytes, or behind it."""
        for at, _ in _entries(self, start):
            while len(self._anchors) * _ANCHOR_BYTES <= at - start:
                self._anchors.append(at)

    def fields(self, start: int, end: int, site_difference: int) -> Iterator[Field]:
        """See ``Table``."""
        number = max(0, start - _FRAME_BYTES - self.start) // _ANCHOR_BYTES
        if number >= len(self._anchors):
            return
        handled = _Handlers(self)
        for place, entry in _entries(self, self._anchors[number], end):
            if place + _FRAME_BYTES > start and entry[1]:
                yield from self._of_function(place, entry, handled, site_difference)

    def read(self, start: int, end: int) -> bytes:
        """Return bytes of the table, zeros behind its end."""
        stop = min(end, self.end)
        return self._read_at(start, stop - start).ljust(end - start, b"\0")

    def _of_function(
        self, place: int, entry: tuple[int, ...], handled: _Handlers, site_difference: int
    ) -> Iterator[Field]:
        length, back, begins, size, form, handlers = entry
        moves = self._moves
        moved, becomes = moves.shifts.moved, moves.addresses.moved
        yield Field(place + 4, 4, moved(place + 4) - moved(place + 4 - back))
        site = place + 8 + self._ahead
        target = becomes(site + begins)
        if target is not None:
            yield Field(place + 8, 4, target - site - site_difference)
        offset = moves.old.offset_of(site + begins)
        if offset is not None and size:
            yield Field(place + 12, 4, moved(offset + size - 1) + 1 - moved(offset), is_size=True)
        if handlers and length >= _FRAME_BYTES - 4 and form == 4 and handled.by(place + 4 - back):
            target = becomes(site + 9 + handlers)
            if target is not None:
                yield Field(place + 17, 4, target - site - 9 - site_difference)


class _Handlers:
    """Which common entries say that the functions which name them name their handlers, too."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._place, self._has = -1, False

    def by(self, place: int) -> bool:
        """Return what the entry at a place says; functions that follow each other mostly name the same."""
        if place != self._place:
            self._place, self._has = place, self._read(place)
        return self._has

    def _read(self, place: int) -> bool:
        if place < self._frames.start or place + _COMMON_BYTES > self._frames.end:
            return False
        data = self._frames.read(place, place + _COMMON_BYTES)
        letters = data[9:].partition(b"\0")[0]
        return not any(data[4:8]) and letters.startswith(b"z") and b"L" in letters


class FrameIndex:
    """The sorted table in front of it: starts of functions and their frames, counted from its own address."""

    def __init__(self, read_at: ReadAt, place: Segment, new_address: int, moves: Moves) -> None:
        self.start, self.end = place.offset + _ENTRIES_AT, place.offset + place.size
        self.address = place.address
        self._read_at, self._new_address, self._moves = read_at, new_address, moves

    def fields(self, start: int, end: int, site_difference: int) -> Iterator[Field]:
        """See ``Table``."""
        becomes = self._moves.addresses.moved
        for at, (distance,) in _records(self, _S32, self._read_at, start, end):
            moved = becomes(self.address + distance)
            if moved is not None:
                yield Field(at, 4, moved - self._new_address)


def find_tables(read_at: ReadAt, size: int, start: bytes, new_start: bytes, moves: Moves) -> list[Table]:
    """Return the tables of an old file, in the order of its bytes; those that overlap one before are left out.

    Args:
        start: First bytes of the old file; ``new_start`` of the new one.
    """
    sections = Sections(read_at, size, start)
    places: list[tuple[int, int, Callable[[], Table]]] = []
    for at, length, names_at in sections.symbols():
        places.append((at, length, partial(Symbols, read_at, at, length, names_at, moves)))
    for at, length in sections.relocations():
        places.append((at, length, partial(Relocations, read_at, at, length, moves)))
    if frames := sections.frames():
        at, length, address = frames
        places.append((at, length, partial(Frames, read_at, at, length, address, moves)))
    index, new_index = eh_frame_header(start), eh_frame_header(new_start)
    if index and new_index and index.offset + index.size <= size:
        make_index = partial(FrameIndex, read_at, index, new_index.address, moves)
        places.append((index.offset, index.size, make_index))
    tables: list[Table] = []
    for at, _, make in sorted(places, key=lambda place: place[:2]):
        if at >= (tables[-1].end if tables else 0):
            tables.append(make())
    return tables


def _records(
    table: Table, form: struct.Struct, read_at: ReadAt, start: int, end: int
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield places and contents of the records of a table of which a part has bytes."""
    first = table.start + max(0, start - table.start) // form.size * form.size
    count = -(-max(0, min(end, table.end) - first) // form.size)
    count = min(count, (table.end - first) // form.size)
    data = read_at(first, count * form.size)
    return zip(range(first, first + len(data), form.size), form.iter_unpack(data), strict=True)


def _entries(frames: Frames, at: int, end: int | None = None) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield entries of a table of unwinding and their first numbers, from one of them on.

    Args:
        end: Where no more of them begin.
    """
    end, read_from, data = frames.end if end is None else end, at, b""
    while at < end and at + _LEAST_ENTRY <= frames.end:
        if at + _FRAME_BYTES > read_from + len(data):
            read_from, data = at, frames.read(at, min(at + _READ_BYTES, max(end, at) + _FRAME_BYTES))
        entry = _FRAME.unpack_from(data, at - read_from)
        if not entry[0] or entry[0] > frames.end - at - 4:
            return
        yield at, entry
        at += entry[0] + 4


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
        return self.named(_FRAMES_NAME)

    def named(self, name: bytes) -> tuple[int, int, int] | None:
        """Return start, size and address of the first section of a name, which ends with its zero."""
        for header in self.all:
            name_at = self._names_at + header[0]
            if max(name_at + len(name), header[4] + header[5]) > self._size:
                continue
            if self._read_at(name_at, len(name)) == name:
                return header[4], header[5], header[3]
        return None


class ReadAt(Protocol):
    """Reads bytes of a file."""

    def __call__(self, offset: int, length: int, /) -> bytes: ...
