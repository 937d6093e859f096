"""References in x86-64 programs: calls, jumps and RIP-relative operands in code, addresses and distances in data.

Source: docs/formats/patch.md, section 7a.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator

from imagedelta.delta.predict.image import NOWHERE, AddressMap, Image
from imagedelta.delta.predict.kinds import Kind
from imagedelta.delta.predict.site import Run, site_of
from imagedelta.delta.predict.x86_opcodes import Sought
from imagedelta.delta.predict.x86_operands import quick_operands

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_WORD = 0xFFFFFFFF
_LONG = (1 << 64) - 1
_LEAST_ADDRESS = 0x200
"""Smaller numbers in data are counts."""


class X8664:
    """The references of one file."""

    def __init__(self, old: Image, moves: AddressMap, kinds: Kind, *, is_elf: bool) -> None:
        self._old, self._moves, self._is_elf = old, moves, is_elf
        self._sought = Sought.RELATIVE
        if kinds & Kind.IMMEDIATES:
            self._sought = Sought.ADDRESSES if old.is_fixed else Sought.NUMBERS

    def code(self, data: bytes, out: bytearray, start: int, run: Run) -> list[int]:
        """Predict the operands in a part of a run of code.

        Args:
            data: The old bytes of the part.
            out: The same bytes; operands are overwritten.
            start: Where the part begins in the old file.

        Returns:
            Where the operands are in the part.
        """
        return quick_operands(data, out, self._sought, site_of(start, run), self._moves.starts, self._moves.differences)

    def addresses(self, data: bytes, out: bytearray, start: int) -> list[int]:
        """Predict the aligned numbers of 64 bits that are addresses; arguments and result as of ``code``."""
        skip = -start % 8
        low, high = max(_LEAST_ADDRESS + 1, self._old.lowest), self._old.end
        starts, differences = self._moves.starts, self._moves.differences
        places = []
        for number, value in enumerate(_numbers("Q", 8, data, skip)):
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
        numbers = _numbers("i", 4, data, skip)
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
        code_segments = [one for one in self._old.segments if one.executable]
        low = min((one.address for one in code_segments), default=0)
        high = max((one.address + one.memory for one in code_segments), default=0)
        for at, value in enumerate(numbers):
            target = site + 4 * at + value
            code = self._old.segment_of(target) if value and low <= target < high else None
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


def _numbers(letter: str, width: int, data: bytes, skip: int) -> tuple[int, ...]:
    """Return the numbers behind the first bytes, as many as are whole."""
    count = max(0, len(data) - skip) // width
    return struct.unpack(f"<{count}{letter}", data[skip : skip + count * width])


def aligned(start: int, places: Iterable[int], width: int) -> frozenset[int]:
    """Return the places, multiples of 4 in the file, of which numbers at ``places`` have a byte."""
    words: set[int] = set()
    for place in places:
        first = place - (start + place) % 4
        words.update(range(first, place + width, 4))
    return frozenset(words)
