"""Where the sections of a PE file lie, in the file and in memory, and where the metadata of .NET begins in it.

Source: Microsoft, PE format; ECMA-335 (6th edition), II.25.
"""

from __future__ import annotations

import struct

from imagedelta.delta.predict.image import Image, Segment

_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_SECTION = struct.Struct("<8xIIII12xI")
_EXECUTABLE = 0x20000000
_SECTIONS_AT_MOST = 96
_PE32_PLUS = 0x20B
_CLI_DIRECTORY = 14
_METADATA, _NATIVE = 8, 64
"""Where the CLI header has the addresses of metadata and machine code."""


def read_pe(start: bytes) -> Image | None:
    """Return the sections of a PE file by its first bytes; None for any other. Addresses count from the image's."""
    try:
        return _read(start)
    except struct.error:
        return None


def metadata_root(data: bytes, image: Image) -> int | None:
    """Return where the metadata of an assembly begins; None where a PE file has none."""
    return _named(data, image, _METADATA)


def native_header(data: bytes, image: Image) -> int | None:
    """Return where the header of an assembly's machine code is; None where it has none."""
    return _named(data, image, _NATIVE)


def _named(data: bytes, image: Image, place: int) -> int | None:
    """Return the place in the file of what the CLI header names."""
    try:
        header = _U32.unpack_from(data, 60)[0]
        plus = _U16.unpack_from(data, header + 24)[0] == _PE32_PLUS
        directory = header + 24 + (112 if plus else 96) + 8 * _CLI_DIRECTORY
        cli = image.offset_of(_U32.unpack_from(data, directory)[0])
        return None if cli is None else image.offset_of(_U32.unpack_from(data, cli + place)[0])
    except struct.error:
        return None


def _read(start: bytes) -> Image | None:
    if start[:2] != b"MZ":
        return None
    header = _U32.unpack_from(start, 60)[0]
    if start[header : header + 4] != b"PE\0\0":
        return None
    count = min(_U16.unpack_from(start, header + 6)[0], _SECTIONS_AT_MOST)
    at = header + 24 + _U16.unpack_from(start, header + 20)[0]
    sections = [_SECTION.unpack_from(start, at + _SECTION.size * place) for place in range(count)]
    return Image(
        Segment(offset, address, size, max(size, memory), bool(flags & _EXECUTABLE))
        for memory, address, size, offset, flags in sections
        if size
    )
