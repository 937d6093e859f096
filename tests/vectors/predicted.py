"""Sections 7a and 7b of docs/formats/patch.md for the second reader: slow, written from the document alone."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from itertools import pairwise

from tests.vectors.predicted_net import Net, clr_file
from tests.vectors.predicted_parts import Image, Segment, Shifts, i32, pe, u16, u32, u64

NOT_PREDICTED = 4096
PART = 65536
PROGRAM = 0b10101111
"""Kinds that need segments."""
Match = tuple[int, int, int]
Reference = tuple[int, int, int]
"""Place, width, what it becomes."""


def elf(start: bytes) -> Image | None:
    headers = program_headers(start)
    loaded = [
        (offset, address, size, max(size, memory), bool(flags & 1), bool(flags & 2))
        for kind, flags, offset, address, size, memory in headers
        if kind == 1
    ]
    return Image(loaded, u16(start, 16) == 2) if headers else None


def program_headers(start: bytes) -> list[tuple[int, ...]]:
    if start[:6] != b"\x7fELF\2\1" or len(start) < 64:
        return []
    table, size, count = u64(start, 32), u16(start, 54), u16(start, 56)
    if size != 56 or not 1 <= count <= 64 or table + 56 * count > len(start):
        return []
    places = range(table, table + 56 * count, 56)
    return [(u32(start, at), u32(start, at + 4), *(u64(start, at + more) for more in (8, 16, 32, 40))) for at in places]


class Delta:
    """The predictions of one delta."""

    def __init__(self, kinds: int, corrections: list[int], old: bytes, matches: list[Match]) -> None:
        assert all(0 <= start <= start + size <= len(old) for start, _, size in matches)
        self.kinds, self.corrections, self.old = kinds, corrections, old
        self.matches = [match for match in matches if match[2]]

    def begin(self, new_start: bytes) -> None:
        """Take the first 4,096 new bytes."""
        old, start = self.old, self.old[:NOT_PREDICTED]
        self.shifts = Shifts(self.matches, len(old))
        net = clr_file(old) if self.kinds & 16 else None
        self.is_elf = start[:4] == b"\x7fELF"
        read = elf if self.is_elf else pe
        images = read(start), read(new_start)
        self.images = images if all(images) else None
        if net:
            self.old = net.predicted(self.shifts, pe(new_start) or Image([]), self.corrections)
        self.tables: list[Table] = []
        if self.images and self.kinds & PROGRAM:
            if self.is_elf and self.kinds & 4:
                self.tables = in_order(self._elf_tables(start, new_start))
            elif net:
                self.tables = in_order(self._net_tables(net, old))

    def address(self, address: int) -> int | None:
        """What an address becomes."""
        old, new = self.images or (None, None)
        assert old
        assert new
        segment = old.at_address(address)
        if not segment or not segment[2]:
            return None
        within = address - segment[1]
        last = min(within, segment[2] - 1)
        moved = new.address_of(self.shifts.moved(segment[0] + last))
        return None if moved is None else moved + within - last

    def predicted(self, match: Match) -> tuple[bytes, list[tuple[int, int]]]:
        """Return the predicted bytes of a match behind the new start, and places and widths of numbers in them."""
        start, _, size = match
        if not self.images or not self.kinds & PROGRAM:
            return self.old[start : start + size], []
        out = bytearray(self.old[start : start + size])
        numbers = []
        for at, end, run, table in self._parts(match):
            for place, width, value in self._references(at, end, run, table):
                out[place - start : place - start + width] = (value % 256**width).to_bytes(width, "little")
                numbers.append((place - start, width))
        return bytes(out), numbers

    def _parts(self, match: Match) -> Iterator[tuple[int, int, Run, Table | None]]:
        for run in self._runs(match):
            borders = {run.start, run.end}
            for table in self.tables:
                borders |= {place for place in (table.start, table.end) if run.start < place < run.end}
            places = sorted(borders)
            for start, end in pairwise(places):
                own = next((table for table in self.tables if table.start <= start < table.end), None)
                for at in range(start, end, PART):
                    yield at, min(end, at + PART), run, own

    def _runs(self, match: Match) -> Iterator[Run]:
        start, shift, end = match[0], match[1] - match[0], match[0] + match[2]
        assert self.images
        old, new = self.images
        assert old
        assert new
        borders = {start, end}
        for first, last, _ in old.stretches:
            borders |= {place for place in (first, last) if start < place < end}
        for first, last, _ in new.stretches:
            borders |= {place - shift for place in (first, last) if start < place - shift < end}
        places = sorted(borders)
        for at, stop in pairwise(places):
            segment, there = old.at_offset(at), new.at_offset(at + shift)
            if segment and there:
                difference = (there[1] + at + shift - there[0]) - (segment[1] + at - segment[0])
                yield Run(at, stop, segment, difference)
            else:
                yield Run(at, stop, None, 0)

    def _references(self, start: int, end: int, run: Run, table: Table | None) -> Iterator[Reference]:
        if table:
            yield from (one for one in table.references(run.difference) if start <= one[0] and one[0] + one[1] <= end)
        elif run.segment and run.segment[4]:
            if self.kinds & 128:
                yield from self._words(start, end, run)
            elif self.kinds & 1:
                yield from self._code(start, end, run)
        elif run.segment:
            yield from self._data(start, end, run)

    def _code(self, start: int, end: int, run: Run) -> Iterator[Reference]:
        assert run.segment
        assert self.images
        data, at, free = self.old[start:end], 0, 0
        ahead = run.segment[1] - run.segment[0]
        while at < len(data):
            found = opcode(data[at : at + 8], bool(self.kinds & 32), self._is_fixed())
            if not found:
                at += 1
                continue
            begins, at = at, at + found[0]
            if begins < free or at + 4 > len(data):
                continue
            operand, site = i32(data, at), start + at + ahead
            if isinstance(found[1], str):
                becomes = self._number(operand, found[1])
                if becomes is not None:
                    free = at + 4
                    yield start + at, 4, becomes
                continue
            target = site + found[1] + operand
            inside = run.start + ahead <= target < run.end + ahead
            becomes = target + run.difference if inside else self.address(target)
            if becomes is None:
                continue
            free = at + 4
            yield start + at, 4, operand + becomes - target - run.difference
            if found[1] == 8 and self.kinds & 32 and free + 4 <= len(data):
                becomes = self._number(i32(data, free), "number")
                if becomes is not None:
                    yield start + free, 4, becomes
                    free += 4

    def _is_fixed(self) -> bool:
        return bool(self.images and self.images[0] and self.images[0].fixed)

    def _number(self, operand: int, sort: str) -> int | None:
        may_be_address = self._is_fixed() and sort != "bits" and operand >= 65536
        becomes = self.address(operand) if may_be_address else None
        if becomes is None and sort != "address" and operand >> 24 in (0, -1):
            return operand
        return becomes

    def _words(self, start: int, end: int, run: Run) -> Iterator[Reference]:
        """Kind 128."""
        assert run.segment
        ahead = run.segment[1] - run.segment[0]
        places = range(-(-start // 4) * 4, end - 3, 4)
        for at in places:
            word, site = u32(self.old, at), at + ahead
            if word >> 24 in (0x90, 0xB0, 0xD0, 0xF0):
                yield from self._page(word, at, site, run.difference, places.stop)
                continue
            if word >> 24 in (0x10, 0x30, 0x50, 0x70):
                bits = [29, 30, *range(5, 24)]
                unit = 1
            elif word >> 24 in BRANCHES:
                first, last = BRANCHES[word >> 24]
                bits, unit = list(range(first, last + 1)), 4
            else:
                continue
            target = site + unit * signed(word, bits)
            if run.start + ahead <= target < run.end + ahead:
                yield at, 4, word
            elif (becomes := self.address(target)) is not None:
                yield at, 4, with_bits(word, bits, (becomes - site - run.difference) // unit)

    def _page(self, word: int, at: int, site: int, difference: int, stop: int) -> Iterator[Reference]:
        bits, register = [29, 30, *range(5, 24)], word & 31
        page = site // 4096 + signed(word, bits)
        first = True
        for place in range(at + 4, min(stop, at + 4 + 4 * 32), 4):
            other = u32(self.old, place)
            is_sum, is_access = other & 0xFFC00000 == 0x91000000, other & 0x3B000000 == 0x39000000
            if other >> 5 & 31 == register and (is_sum or is_access):
                scale = 0 if is_sum else 4 if other & 0x04800000 == 0x04800000 else other >> 30
                added = list(range(10, 22))
                becomes = self.address(4096 * page + (unsigned(other, added) << scale))
                if becomes is not None:
                    if first:
                        pages = becomes // 4096 - (site + difference) // 4096
                        yield at, 4, with_bits(word, bits, pages)
                        first = False
                    yield place, 4, with_bits(other, added, becomes % 4096 >> scale)
            if other & 31 == register:
                return

    def _data(self, start: int, end: int, run: Run) -> Iterator[Reference]:
        assert run.segment
        assert self.images
        old, taken = self.images[0], set()
        assert old
        for at in range(-(-start // 8) * 8, end - 7, 8) if self.kinds & 2 and (run.segment[5] or old.fixed) else ():
            value = u64(self.old, at)
            becomes = self.address(value) if value > 512 else None
            if becomes is not None:
                taken |= {at, at + 4}
                yield at, 8, becomes
        for at in range(-(-start // 4) * 4, end - 3, 4) if self.kinds & 8 else ():
            if at in taken:
                continue
            if self.is_elf:
                site, value = at + run.segment[1] - run.segment[0], i32(self.old, at)
                code = old.at_address(site + value) if value else None
                becomes = self.address(site + value) if code and code[4] else None
                becomes = None if becomes is None else becomes - site - run.difference
            else:
                becomes = self.address(u32(self.old, at)) if u32(self.old, at) > 512 else None
            if becomes is not None:
                yield at, 4, becomes

    def _elf_tables(self, start: bytes, new_start: bytes) -> Iterator[Table]:
        old = self.old
        table, entry, count, names = u64(start, 40), u16(start, 58), u16(start, 60), u16(start, 62)
        headers = []
        if entry == 64 and names < count <= 128 and table + 64 * count <= len(old):
            headers = [struct.unpack_from("<IIQQQQIIQQ", old, table + 64 * number) for number in range(count)]
        inside = [header for header in headers if header[4] + header[5] <= len(old)]
        for header in inside:
            if header[1] in (2, 11) and header[6] < len(headers):
                yield Table(header[4], header[5], self._symbols(header[4], header[5], headers[header[6]][4]), None, 24)
        for header in inside:
            if header[1] == 4:
                yield Table(header[4], header[5], self._relocations(header[4], header[5]), None, 24)
        for header in inside:
            if old[headers[names][4] + header[0] :][:10] == b".eh_frame\0":
                yield Table(header[4], header[5], self._frames(header[4], header[5], header[3]))
                break
        both = [[one for one in program_headers(data) if one[0] == 0x6474E550] for data in (start, new_start)]
        if all(both) and both[0][0][2] + both[0][0][4] <= len(old):
            _, _, at, address, size, _ = both[0][0]
            yield Table(at, size, self._index(at, size, address, both[1][0][3]), at + 12)

    def _symbols(self, start: int, size: int, names: int) -> Callable[[int], Iterator[Reference]]:
        def references(difference: int) -> Iterator[Reference]:
            moved = self.shifts.moved
            for at in range(start, start + size // 24 * 24, 24):
                name, value, length = u32(self.old, at), u64(self.old, at + 8), u64(self.old, at + 16)
                if name:
                    yield at, 4, moved(names + name) - moved(names)
                becomes = self.address(value) if value else None
                if becomes is None:
                    continue
                yield at + 8, 8, becomes
                offset = self._offset(value)
                if offset is not None and 1 <= length < 2**24:
                    yield at + 16, 8, moved(offset + length - 1) + 1 - moved(offset)

        return references

    def _relocations(self, start: int, size: int) -> Callable[[int], Iterator[Reference]]:
        def references(difference: int) -> Iterator[Reference]:
            for at in range(start, start + size // 24 * 24, 24):
                for place, becomes in (
                    (at, self.address(u64(self.old, at))),
                    (at + 16, self.address(u64(self.old, at + 16))),
                ):
                    if becomes is not None and (place == at or u32(self.old, at + 8) in (8, 37, 1027, 1032)):
                        yield place, 8, becomes

        return references

    def _frames(self, start: int, size: int, address: int) -> Callable[[int], Iterator[Reference]]:
        def references(difference: int) -> Iterator[Reference]:
            data, moved, at = self.old[start : start + size], self.shifts.moved, 0
            entries = []
            while at + 20 <= size and u32(data, at) and at + 4 + u32(data, at) <= size:
                entries.append(at)
                at += 4 + u32(data, at)
            for at in entries:
                back = u32(data, at + 4)
                if not back:
                    continue
                place, site, first, length = start + at, address + at + 8, i32(data, at + 8), u32(data, at + 12)
                yield place + 4, 4, moved(place + 4) - moved(place + 4 - back)
                becomes = self.address(site + first)
                if becomes is not None:
                    yield place + 8, 4, becomes - site - difference
                offset = self._offset(site + first)
                if offset is not None and length:
                    yield place + 12, 4, moved(offset + length - 1) + 1 - moved(offset)
                if u32(data, at) >= 17 and data[at + 16] == 4 and i32(data, at + 17) and handled(data, at + 4 - back):
                    becomes = self.address(site + 9 + i32(data, at + 17))
                    if becomes is not None:
                        yield place + 17, 4, becomes - site - 9 - difference

        return references

    def _index(self, start: int, size: int, address: int, new: int) -> Callable[[int], Iterator[Reference]]:
        def references(difference: int) -> Iterator[Reference]:
            for at in range(start + 12, start + size - 3, 4):
                becomes = self.address(address + i32(self.old, at))
                if becomes is not None:
                    yield at, 4, becomes - new

        return references

    def _net_tables(self, net: Net, old: bytes) -> Iterator[Table]:
        nothing: Callable[[int], Iterator[Reference]] = lambda difference: iter(())  # noqa: E731
        yield Table(net.start, net.end - net.start, nothing)
        bodies = net.bodies() or [0]
        yield Table(min(bodies), max(bodies) - min(bodies), nothing)
        place = net.runtime_functions()
        if place:

            def references(difference: int) -> Iterator[Reference]:
                for at in range(place[0], place[0] + place[1] // 4 * 4, 4):
                    becomes = self.address(u32(self.old, at))
                    if becomes is not None:
                        yield at, 4, becomes

            yield Table(place[0], place[1], references, None, 4)

    def _offset(self, address: int) -> int | None:
        assert self.images
        assert self.images[0]
        return self.images[0].offset_of(address)


class Run:
    def __init__(self, start: int, end: int, segment: Segment | None, difference: int) -> None:
        self.start, self.end, self.segment, self.difference = start, end, segment, difference


class Table:
    def __init__(
        self,
        start: int,
        size: int,
        references: Callable[[int], Iterator[Reference]],
        own_start: int | None = None,
        record: int = 1,
    ) -> None:
        self.listed, self.size = start, size
        self.start, self.end = start if own_start is None else own_start, start + size // record * record
        self.references = references


def in_order(tables: Iterator[Table]) -> list[Table]:
    kept: list[Table] = []
    for table in sorted(tables, key=lambda one: (one.listed, one.size)):
        if table.listed >= (kept[-1].end if kept else 0):
            kept.append(table)
    return kept


MODRM = set(bytes.fromhex("050d151d252d353d"))
BARE = bytes.fromhex(
    "01030b1011121316172328292b2e2f3338393a3b51545758595c5e636e6f7e7f84858788898a8b8db1b6b7bebfd4d6eff6f7feff"
)


def handled(data: bytes, at: int) -> bool:
    """Whether a common entry of unwinding says that functions name their handlers."""
    if at < 0 or at + 17 > len(data) or u32(data, at + 4):
        return False
    letters = data[at + 9 : at + 17].split(b"\0")[0]
    return letters[:1] == b"z" and b"L" in letters


BRANCHES = {
    **dict.fromkeys(bytes.fromhex("1415161794959697"), (0, 25)),
    **dict.fromkeys(bytes.fromhex("543435b4b5181c585c989cd8dc"), (5, 23)),
    **dict.fromkeys(bytes.fromhex("3637b6b7"), (5, 18)),
}


def unsigned(word: int, bits: list[int]) -> int:
    """The number in bits of a word that are named from its lowest on."""
    return sum((word >> bit & 1) << place for place, bit in enumerate(bits))


def signed(word: int, bits: list[int]) -> int:
    value = unsigned(word, bits)
    return value - (value >> len(bits) - 1 << len(bits))


def with_bits(word: int, bits: list[int], value: int) -> int:
    for place, bit in enumerate(bits):
        word = word & ~(1 << bit) | (value >> place & 1) << bit
    return word


def opcode(data: bytes, with_numbers: bool, with_addresses: bool) -> tuple[int, int | str] | None:
    """Length of the opcode, and how far behind its operand the instruction ends, or the sort of operand."""
    first, second = (*data, 256, 256)[:2]
    if first in (0xE8, 0xE9):
        return 1, 4
    if first == 0x0F and 0x80 <= second <= 0x8F:
        return 2, 4
    if second in MODRM:
        for opcodes, behind in ((BARE, 4), (b"\x6b\x80\x83\xc1\xc6", 5), (b"\x69\x81\xc7", 8)):
            if first in opcodes:
                return 2, behind
    length, sort = number_opcode(data, first, second) if with_numbers else (0, "")
    if not length and with_numbers and with_addresses:
        length, sort = address_opcode(first, second, data[2:3]), "address"
    return (length, sort) if 0 < length <= len(data) else None


def number_opcode(data: bytes, first: int, second: int) -> tuple[int, str]:
    if 0xB8 <= first <= 0xBF or first in (0x68, 0x3D):
        return 1, "number"
    if (first, second) in ((0x48, 0x05), (0x48, 0x2D)):
        return 2, "number"
    if first == 0x25:
        return 1, "bits"
    if first == 0x81 and 0xC0 <= second <= 0xFF:
        return 2, "bits" if 0xE0 <= second <= 0xE7 else "number"
    if first != 0xC7 or second > 255:
        return 0, ""
    if second in (0, 1, 2, 3, 6, 7) or 0xC0 <= second <= 0xC7:
        return 2, "number"
    if second == 4 or (0x40 <= second <= 0x47 and second != 0x44):
        return 3, "number"
    if second == 0x44:
        return 4, "number"
    if 0x80 <= second <= 0x87:
        length = 7 if second == 0x84 else 6
        return (length, "number") if data[length - 2 : length] in (b"\0\0", b"\xff\xff") else (0, "")
    return 0, ""


def address_opcode(first: int, second: int, third: bytes) -> int:
    if first < 0x40 and first % 8 == 4 and second < 256 and second % 8 == 5:
        return 2
    by_prefix = 0x40 <= first <= 0x4F and second in (0x03, 0x3B, 0x88, 0x89, 0x8A, 0x8B, 0x8D)
    if not by_prefix and not (first == 0x0F and second in (0x10, 0x11, 0x28, 0x29, 0xB6, 0xB7, 0xBE, 0xBF)):
        return 0
    if not third or not 0x80 <= third[0] <= 0xBF:
        return 0
    return 4 if third[0] % 8 == 4 else 3
