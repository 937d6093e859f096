"""Where the sections of a PE file lie, in the file and in memory, and where the metadata of .NET begins in it.

Source: Microsoft, PE format; ECMA-335 (6th edition), II.25.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass
from typing import NamedTuple

_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_SECTION = struct.Struct("<8xIIII12xI")
_SECTIONS_AT_MOST = 96
_PE32_PLUS = 0x20B
_CLI_DIRECTORY = 14


class Section(NamedTuple):
    """A stretch of a file and its address."""

    offset: int
    address: int
    size: int


@dataclass(frozen=True, slots=True)
class PeImage:
    """Sections in the order of their addresses, which do not overlap."""

    sections: tuple[Section, ...]

    def offset_of(self, address: int) -> int | None:
        """Return where in the file the byte of an address is."""
        at = bisect_right(self.sections, address, key=lambda section: section.address) - 1
        if at < 0:
            return None
        section = self.sections[at]
        within = address - section.address
        return section.offset + within if within < section.size else None

    def address_of(self, offset: int) -> int | None:
        """Return the address of a byte of the file."""
        for section in self.sections:
            if 0 <= offset - section.offset < section.size:
                return offset - section.offset + section.address
        return None


def read_pe(data: bytes) -> PeImage | None:
    """Return the sections of a PE file; None for any other."""
    try:
        return _read(data)
    except struct.error:
        return None


def metadata_root(data: bytes, image: PeImage) -> int | None:
    """Return where the metadata of an assembly begins; None where a PE file has none."""
    try:
        header = _U32.unpack_from(data, 60)[0]
        plus = _U16.unpack_from(data, header + 24)[0] == _PE32_PLUS
        directory = header + 24 + (112 if plus else 96) + 8 * _CLI_DIRECTORY
        cli = image.offset_of(_U32.unpack_from(data, directory)[0])
        return None if cli is None else image.offset_of(_U32.unpack_from(data, cli + 8)[0])
    except struct.error:
        return None


def _read(data: bytes) -> PeImage | None:
    if data[:2] != b"MZ":
        return None
    header = _U32.unpack_from(data, 60)[0]
    if data[header : header + 4] != b"PE\0\0":
        return None
    count = _U16.unpack_from(data, header + 6)[0]
    at = header + 24 + _U16.unpack_from(data, header + 20)[0]
    sections = []
    end = 0
    for place in range(min(count, _SECTIONS_AT_MOST)):
        _, address, size, offset, _ = _SECTION.unpack_from(data, at + _SECTION.size * place)
        if address < end or not size or offset + size > len(data):
            continue
        sections.append(Section(offset, address, size))
        end = address + size
    return PeImage(tuple(sections))
