"""Tables of ELF files that say where things lie: symbols, and the functions that exceptions unwind.

Source: docs/formats/patch.md, section 7a; System V ABI, chapter 4; Linux Standard Base, Exception Frames.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from functools import partial

from imagedelta.delta.predict.data_numbers import WORD_BYTES, Numbers, quick_addresses
from imagedelta.delta.predict.elf_image import eh_frame_header
from imagedelta.delta.predict.elf_records import (
    BEYOND,
    FRAME,
    LEAST_FRAME,
    RELOCATION,
    SYMBOL,
    FrameSite,
    Moves,
    quick_frames,
    quick_relocations,
    quick_symbols,
)
from imagedelta.delta.predict.elf_sections import ReadAt, Sections
from imagedelta.delta.predict.image import Segment
from imagedelta.delta.predict.tables import Places, Table
from imagedelta.limits import KIB

_ENTRIES_AT = 12
_COMMON_BYTES = 17
_COMMON_ENTRIES = 256
"""Of so many it is remembered what they say; most files have fewer than ten."""
_ANCHOR_BYTES = 256
_READ_BYTES = 64 * KIB


class Symbols:
    """A symbol table: names, addresses and sizes."""

    def __init__(self, read_at: ReadAt, start: int, size: int, names_at: int, moves: Moves) -> None:
        self.start, self.end = start, start + size // SYMBOL.size * SYMBOL.size
        self.names_at = names_at
        self._read_at, self._moves = read_at, moves

    def predict(
        self, data: bytes, out: bytearray, start: int, site_difference: int, *, with_sizes: bool = True
    ) -> Places:
        """See ``Table``."""
        records, before = _records(self, self._read_at, SYMBOL.size, start, len(out))
        names_at = min(self.names_at, BEYOND)
        return Places(*quick_symbols(records, out, before, names_at, self._moves, with_sizes=with_sizes))


class Relocations:
    """What is added to the image where it is loaded: places, and addresses that are put there."""

    def __init__(self, read_at: ReadAt, start: int, size: int, moves: Moves) -> None:
        self.start, self.end = start, start + size // RELOCATION.size * RELOCATION.size
        self._read_at, self._moves = read_at, moves

    def predict(
        self, data: bytes, out: bytearray, start: int, site_difference: int, *, with_sizes: bool = True
    ) -> Places:
        """See ``Table``."""
        records, before = _records(self, self._read_at, RELOCATION.size, start, len(out))
        return Places((), quick_relocations(records, out, before, self._moves.addresses))


class Frames:
    """The table of unwinding: of each function its start, its length and where its handlers are."""

    def __init__(self, read_at: ReadAt, start: int, size: int, address: int, moves: Moves) -> None:
        self.start, self.end = start, start + size
        self._read_at, self._ahead, self._moves = read_at, min(address, BEYOND) - start, moves
        self._handlers: dict[int, bool] = {}
        """What is known of common entries."""
        self._anchors = array("Q")
        """The first entry that begins in each stretch of so many bytes, or behind it."""
        for at in self._entries():
            while len(self._anchors) * _ANCHOR_BYTES <= at - start:
                self._anchors.append(at)

    def predict(
        self, data: bytes, out: bytearray, start: int, site_difference: int, *, with_sizes: bool = True
    ) -> Places:
        """See ``Table``."""
        number, end = max(0, start - FRAME.size - self.start) // _ANCHOR_BYTES, start + len(out)
        if number >= len(self._anchors) or self._anchors[number] >= end:
            return Places()
        first = self._anchors[number]
        records = self._read(first, end + FRAME.size)
        site = FrameSite(first, self.end - first, self._ahead, site_difference)
        skipped = max(0, first - start)  # what is left of a longer entry, or of the table's end before it
        rest = out[skipped:]
        words = quick_frames(
            records, rest, start + skipped - first, site, self._has_handlers, self._moves, with_sizes=with_sizes
        )
        out[skipped:] = rest
        return Places([skipped + at for at in words] if skipped else words)

    def _has_handlers(self, place: int) -> bool:
        """Return whether the common entry at a place says that the functions which name it name their handlers, too."""
        if place not in self._handlers:
            if len(self._handlers) == _COMMON_ENTRIES:
                self._handlers.clear()
            self._handlers[place] = self._names_handlers(place)
        return self._handlers[place]

    def _names_handlers(self, place: int) -> bool:
        if place < self.start or place + _COMMON_BYTES > self.end:
            return False
        data = self._read(place, place + _COMMON_BYTES)
        letters = data[9:].partition(b"\0")[0]
        return not any(data[4:8]) and letters.startswith(b"z") and b"L" in letters

    def _entries(self) -> Iterator[int]:
        """Yield where entries begin."""
        at, read_from, data = self.start, self.start, b""
        while at + LEAST_FRAME <= self.end:
            if at + FRAME.size > read_from + len(data):
                read_from, data = at, self._read(at, at + _READ_BYTES)
            length = int.from_bytes(data[at - read_from : at - read_from + WORD_BYTES], "little")
            if not length or length > self.end - at - WORD_BYTES:
                return
            yield at
            at += length + WORD_BYTES

    def _read(self, start: int, end: int) -> bytes:
        """Return bytes of the table, zeros behind its end."""
        stop = min(end, self.end)
        return self._read_at(start, stop - start).ljust(end - start, b"\0")


class FrameIndex:
    """The sorted table in front of it: starts of functions and their frames, counted from its own address."""

    def __init__(self, place: Segment, new_address: int, moves: Moves) -> None:
        self.start, self.end = place.offset + _ENTRIES_AT, place.offset + place.size
        self.address = min(place.address, BEYOND)
        self._numbers = Numbers(WORD_BYTES, -1 << 31, 1 << 31, self.address, new_address & 0xFFFFFFFF)
        self._moves = moves

    def predict(
        self, data: bytes, out: bytearray, start: int, site_difference: int, *, with_sizes: bool = True
    ) -> Places:
        """See ``Table``."""
        skip = (self.start - start) % WORD_BYTES
        return Places(quick_addresses(data, out, skip, self._numbers, *self._moves.addresses))


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
        make_index = partial(FrameIndex, index, new_index.address, moves)
        places.append((index.offset, index.size, make_index))
    tables: list[Table] = []
    for at, _, make in sorted(places, key=lambda place: place[:2]):
        if at >= (tables[-1].end if tables else 0):
            tables.append(make())
    return tables


def _records(table: Table, read_at: ReadAt, size: int, start: int, length: int) -> tuple[bytes, int]:
    """Return the records of a table of which a part has bytes, and how many of theirs are before it."""
    before = (start - table.start) % size
    count = -(-(before + length) // size)
    return read_at(start - before, count * size), before
