"""Where the segments of a 64-bit ELF file for x86-64 lie, in the file and in memory.

Source: System V ABI, chapter 5 (program header).
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass
from typing import NamedTuple

from imagedelta.delta.predict.shifts import Shifts

_START = b"\x7fELF\x02\x01"
_X86_64 = 62
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_LOAD, _EXECUTABLE = 1, 1
_SEGMENTS_AT_MOST = 64


class Segment(NamedTuple):
    """A stretch of a file and its address; behind its bytes in the file, memory may go on with zeros."""

    offset: int
    address: int
    size: int
    memory: int
    executable: bool


@dataclass(frozen=True, slots=True)
class ElfImage:
    """Segments in the order of their addresses, which do not overlap."""

    segments: tuple[Segment, ...]

    def segment_at(self, offset: int) -> Segment | None:
        """Return the segment that has a byte of the file."""
        return next((one for one in self.segments if one.offset <= offset < one.offset + one.size), None)

    def address_of(self, offset: int) -> int | None:
        """Return the address of a byte of the file."""
        segment = self.segment_at(offset)
        return segment.address + offset - segment.offset if segment else None

    def segment_of(self, address: int) -> Segment | None:
        """Return the segment that has an address."""
        at = bisect_right(self.segments, address, key=lambda segment: segment.address) - 1
        if at < 0 or address - self.segments[at].address >= self.segments[at].memory:
            return None
        return self.segments[at]


def moved_address(address: int, old: ElfImage, new: ElfImage, shifts: Shifts) -> int | None:
    """Return what an address of the old image is in the new one; None where it is none of either."""
    segment = old.segment_of(address)
    if segment is None or not segment.size:
        return None
    within = address - segment.address
    last = min(within, segment.size - 1)
    moved = new.address_of(shifts.moved(segment.offset + last))
    return None if moved is None else moved + within - last


def read_elf(start: bytes) -> ElfImage | None:
    """Return the segments of an ELF file by its first bytes; None for any other, and where they do not tell."""
    if not start.startswith(_START) or len(start) < 64 or struct.unpack_from("<H", start, 18)[0] != _X86_64:
        return None
    table = struct.unpack_from("<Q", start, 32)[0]
    size, count = struct.unpack_from("<HH", start, 54)
    if size != _PROGRAM_HEADER.size or count > _SEGMENTS_AT_MOST or table + size * count > len(start):
        return None
    segments: list[Segment] = []
    for place in range(count):
        kind, flags, offset, address, _, in_file, in_memory, _ = _PROGRAM_HEADER.unpack_from(start, table + size * place)
        end = segments[-1].address + segments[-1].memory if segments else 0
        if kind == _LOAD and address >= end:
            segments.append(Segment(offset, address, in_file, max(in_file, in_memory), bool(flags & _EXECUTABLE)))
    return ElfImage(tuple(segments))
