"""References in x86-64 programs: calls, jumps and RIP-relative operands in code, addresses in data.

Instructions are not decoded: an opcode whose operand points into the image is taken for one, which is seldom wrong,
and where it is wrong on both sides alike.

Source: docs/formats/patch.md, section 7a; Intel 64 manual, volume 2.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from imagedelta.delta.predict.elf_image import ElfImage, Segment, moved_address
from imagedelta.delta.predict.shifts import Shifts, Stretch

_MEMORY_OPCODES = (
    b"\x01\x03\x0b\x10\x11\x12\x13\x16\x17\x23\x28\x29\x2b\x2e\x2f\x33\x38\x39\x3a\x3b\x51\x54\x57\x58\x59\x5c\x5e"
    b"\x63\x69\x6b\x6e\x6f\x7e\x7f\x80\x81\x83\x84\x85\x88\x89\x8a\x8b\x8d\xb1\xb6\xb7\xbe\xbf\xc1\xc6\xc7\xd4\xd6"
    b"\xef\xf6\xf7\xfe\xff"
)
_OPCODE = re.compile(
    rb"[\xe8\xe9]|\x0f[\x80-\x8f]|[" + re.escape(_MEMORY_OPCODES) + rb"][\x05\x0d\x15\x1d\x25\x2d\x35\x3d]"
)
_S32 = struct.Struct("<i")
_U64 = struct.Struct("<Q")
_LEAST_ADDRESS = 0x200
"""Smaller numbers in data are counts."""


class Field(NamedTuple):
    """A reference of the old file, and what it should be in the new one."""

    offset: int
    width: int
    value: int


class X8664:
    """The references of one file."""

    def __init__(self, old: ElfImage, new: ElfImage, shifts: Shifts) -> None:
        self._old, self._new, self._shifts = old, new, shifts

    def fields(self, data: bytes, part: Stretch) -> Iterator[Field]:
        """Yield the fields wholly within a part of a match, in rising order.

        Args:
            data: The old bytes of the part.
        """
        for segment, start, end in _parts(self._old, part.old, part.old + part.length):
            bytes_here = data[start - part.old : end - part.old]
            if segment.executable:
                yield from self._code(bytes_here, start, segment, part.new - part.old)
            else:
                yield from self._data(bytes_here, start)

    def _code(self, data: bytes, start: int, segment: Segment, shift: int) -> Iterator[Field]:
        for at, target in _operands(data, segment.address + start - segment.offset):
            site = self._new.address_of(start + at + shift)
            moved = moved_address(target, self._old, self._new, self._shifts)
            if site is not None and moved is not None:
                yield Field(start + at, 4, (moved - site - 4) & 0xFFFFFFFF)

    def _data(self, data: bytes, start: int) -> Iterator[Field]:
        for at, address in _addresses(data, start):
            moved = moved_address(address, self._old, self._new, self._shifts)
            if moved is not None:
                yield Field(start + at, 8, moved)


def masked(data: bytes, image: ElfImage) -> bytes:
    """Return the file with each reference set to zero, for a search of what else is alike."""
    out = bytearray(data)
    for segment, start, end in _parts(image, 0, len(data)):
        part = data[start:end]
        if segment.executable:
            for at, target in _operands(part, segment.address + start - segment.offset):
                if image.segment_of(target):
                    out[start + at : start + at + 4] = bytes(4)
        else:
            for at, address in _addresses(part, start):
                if image.segment_of(address):
                    out[start + at : start + at + 8] = bytes(8)
    return bytes(out)


def _operands(data: bytes, address: int) -> Iterator[tuple[int, int]]:
    """Yield place and target of each operand in code that begins at ``address``; no two overlap."""
    free = 0
    for found in _OPCODE.finditer(data):
        at = found.end()
        if found.start() >= free and at + 4 <= len(data):
            free = at + 4
            yield at, address + at + 4 + _S32.unpack_from(data, at)[0]


def _addresses(data: bytes, start: int) -> Iterator[tuple[int, int]]:
    """Yield place and value of each aligned number of 64 bits that may be an address."""
    for at in range(-start % 8, len(data) - 7, 8):
        value = _U64.unpack_from(data, at)[0]
        if value > _LEAST_ADDRESS:
            yield at, value


def _parts(image: ElfImage, start: int, end: int) -> Iterator[tuple[Segment, int, int]]:
    """Yield each segment with the range of file offsets that it has of ``start`` to ``end``; none twice."""
    for segment in sorted(image.segments, key=lambda one: one.offset):
        first, last = max(start, segment.offset), min(end, segment.offset + segment.size)
        if first < last:
            yield segment, first, last
            start = last
