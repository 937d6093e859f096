"""Where the segments of a 64-bit little-endian ELF file lie.

Source: System V ABI, chapter 5 (program header).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from imagedelta.delta.predict.image import Image, Segment

_START = b"\x7fELF\x02\x01"
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_HEADER_BYTES = 64
_LOAD, _EH_FRAME = 1, 0x6474E550
_EXECUTABLE, _WRITABLE = 1, 2
_FIXED = b"\2\0"
_SEGMENTS_AT_MOST = 64


def read_elf(start: bytes) -> Image | None:
    """Return the segments of an ELF file by its first bytes; None for any other, and where they do not tell."""
    headers = list(_program_headers(start))
    loaded = (
        Segment(offset, address, in_file, max(in_file, in_memory), bool(flags & _EXECUTABLE), bool(flags & _WRITABLE))
        for kind, flags, offset, address, _, in_file, in_memory, _ in headers
        if kind == _LOAD
    )
    return Image(loaded, is_fixed=start[16:18] == _FIXED) if headers else None


def eh_frame_header(start: bytes) -> Segment | None:
    """Return where the table of the unwinding information is; None where there is none."""
    for kind, _, offset, address, _, size, memory, _ in _program_headers(start):
        if kind == _EH_FRAME:
            return Segment(offset, address, size, memory, executable=False)
    return None


def _program_headers(start: bytes) -> Iterator[tuple[int, ...]]:
    if not start.startswith(_START) or len(start) < _HEADER_BYTES:
        return
    table = struct.unpack_from("<Q", start, 32)[0]
    size, count = struct.unpack_from("<HH", start, 54)
    if size != _PROGRAM_HEADER.size or count > _SEGMENTS_AT_MOST or table + size * count > len(start):
        return
    for place in range(table, table + size * count, size):
        yield _PROGRAM_HEADER.unpack_from(start, place)
