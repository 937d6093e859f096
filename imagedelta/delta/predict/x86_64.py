"""References in x86-64 programs: calls, jumps and RIP-relative operands in code, addresses and distances in data.

Instructions are not decoded: an opcode whose operand points into the image is taken for one, which is seldom wrong,
and where it is wrong, it is so on both sides alike.

Source: docs/formats/patch.md, section 7a; Intel 64 manual, volume 2.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from imagedelta.delta.predict.image import NOWHERE, AddressMap, Image, Segment
from imagedelta.delta.predict.kinds import Kind

_WITH_BYTE, _WITH_NUMBER = rb"\x6b\x80\x83\xc1\xc6", rb"\x69\x81\xc7"
"""Opcodes with a memory operand and one or four bytes more behind it."""
_BARE = (
    rb"\x01\x03\x0b\x10-\x13\x16\x17\x23\x28\x29\x2b\x2e\x2f\x33\x38\x39\x3a\x3b\x51\x54\x57-\x59\x5c\x5e"
    rb"\x63\x6e\x6f\x7e\x7f\x84\x85\x88-\x8b\x8d\xb1\xb6\xb7\xbe\xbf\xd4\xd6\xef\xf6\xf7\xfe\xff"
)
_MODRM = rb"[\x05\x0d\x15\x1d\x25\x2d\x35\x3d]"
_RELATIVE = (
    rb"[\xe8\xe9]|\x0f[\x80-\x8f]|[" + _BARE + rb"]" + _MODRM
    + rb"|([" + _WITH_BYTE + rb"]" + _MODRM + rb")|([" + _WITH_NUMBER + rb"]" + _MODRM + rb")"
)  # fmt: skip
_IMMEDIATE = rb"|([\xb8-\xbf\x68\x3d\x25]|\xc7[\xc0-\xc7]|\x81[\xc0-\xff]|\xc7\x44\x24.|\xc7[\x40-\x43\x45-\x47].)"
_OPCODE = re.compile(_RELATIVE, re.DOTALL)
_OPCODE_OR_IMMEDIATE = re.compile(_RELATIVE + _IMMEDIATE, re.DOTALL)
_BEHIND = {None: 4, 1: 5, 2: 8}
"""How far behind its operand an instruction ends, by the group of the expression."""
_S32 = struct.Struct("<i")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_WORD = 0xFFFFFFFF
_LONG = (1 << 64) - 1
_LEAST_ADDRESS = 0x200
"""Smaller numbers in data are counts."""
_LEAST_IMMEDIATE = 0x10000


class Run(NamedTuple):
    """A stretch of a match that is of one segment in the old file, and of one in the new."""

    start: int
    """In the old file; so is ``end``."""
    end: int
    segment: Segment | None
    """Of the old file."""
    difference: int
    """New address less old; of no meaning where one of the files has no segment there."""


class X8664:
    """The references of one file."""

    def __init__(self, old: Image, moves: AddressMap, kinds: Kind, *, is_elf: bool) -> None:
        self._old, self._moves, self._kinds, self._is_elf = old, moves, kinds, is_elf
        self._pattern = _OPCODE_OR_IMMEDIATE if kinds & Kind.IMMEDIATES else _OPCODE

    def code(self, data: bytes, out: bytearray, start: int, run: Run) -> list[int]:
        """Predict the operands in a part of a run of code.

        Args:
            data: The old bytes of the part.
            out: The same bytes; operands are overwritten.
            start: Where the part begins in the old file.

        Returns:
            Where the operands are in the part.
        """
        segment = run.segment
        assert segment is not None  # noqa: S101 - code is in a segment
        ahead = segment.address - segment.offset
        base, low, high, same = start + ahead, run.start + ahead, run.end + ahead, run.difference
        starts, differences = self._moves.starts, self._moves.differences
        unpack, pack, behind = _S32.unpack_from, _U32.pack_into, _BEHIND
        fixed, free, last = self._old.is_fixed, 0, len(data) - 4
        places: list[int] = []
        for found in self._pattern.finditer(data):
            at = found.end()
            if found.start() < free or at > last:
                continue
            (value,) = unpack(data, at)
            group = found.lastindex
            if group == 3:
                free = at + 4
                places.append(at)
                if fixed and value >= _LEAST_IMMEDIATE and (moved := self._moves.moved(value)) is not None:
                    pack(out, at, moved & _WORD)
                continue
            target = base + at + behind[group] + value
            if low <= target < high:
                free = at + 4
                places.append(at)
                continue
            difference = differences[bisect_right(starts, target) - 1]
            if difference != NOWHERE:
                free = at + 4
                places.append(at)
                if difference != same:
                    pack(out, at, value + difference - same & _WORD)
        return places

    def addresses(self, data: bytes, out: bytearray, start: int) -> list[int]:
        """Predict the aligned numbers of 64 bits that are addresses; arguments and result as of ``code``."""
        skip = -start % 8
        low, high = max(_LEAST_ADDRESS + 1, self._old.lowest), self._old.end
        starts, differences = self._moves.starts, self._moves.differences
        places = []
        for number, value in enumerate(struct.unpack_from(f"<{max(0, len(data) - skip) // 8}Q", data, skip)):
            if low <= value < high:
                difference = differences[bisect_right(starts, value) - 1]
                if difference != NOWHERE:
                    places.append(skip + 8 * number)
                    if difference:
                        _U64.pack_into(out, places[-1], value + difference & _LONG)
        return places

    def jumps(self, data: bytes, out: bytearray, start: int, run: Run, taken: frozenset[int]) -> list[int]:
        """Predict the aligned numbers of 32 bits in data that are distances to code (ELF), or addresses (PE).

        Args:
            taken: Places in the part, multiples of 4 in the file, of which something else has a byte.
        """
        skip = -start % 4
        numbers = struct.unpack_from(f"<{max(0, len(data) - skip) // 4}i", data, skip)
        found = self._distances(numbers, start + skip, run) if self._is_elf else self._addresses(numbers)
        places = []
        for at, moved in found:
            place = skip + 4 * at
            if place not in taken:
                places.append(place)
                _U32.pack_into(out, place, moved & _WORD)
        return places

    def _distances(self, numbers: tuple[int, ...], start: int, run: Run) -> Iterator[tuple[int, int]]:
        segment = run.segment
        assert segment is not None  # noqa: S101 - data is in a segment
        site = start + segment.address - segment.offset
        for at, value in enumerate(numbers):
            target = site + 4 * at + value
            code = self._old.segment_of(target) if value else None
            moved = self._moves.moved(target) if code and code.executable else None
            if moved is not None:
                yield at, moved - site - 4 * at - run.difference

    def _addresses(self, numbers: tuple[int, ...]) -> Iterator[tuple[int, int]]:
        low, high = max(_LEAST_ADDRESS + 1, self._old.lowest), self._old.end
        starts, differences = self._moves.starts, self._moves.differences
        for at, value in enumerate(numbers):
            if low <= value < high:
                difference = differences[bisect_right(starts, value) - 1]
                if difference != NOWHERE:
                    yield at, value + difference


def aligned(start: int, places: Iterable[int], width: int) -> frozenset[int]:
    """Return the places, multiples of 4 in the file, of which numbers at ``places`` have a byte."""
    words: set[int] = set()
    for place in places:
        first = place - (start + place) % 4
        words.update(range(first, place + width, 4))
    return frozenset(words)
