"""Whole numbers as bytes: LEB128, and zigzag for those that may be negative. All formats of this project use these.

Source: DWARF 5, section 7.6 (unsigned LEB128); Protocol Buffers, "Signed Integers" (zigzag).
"""

from __future__ import annotations

from collections.abc import Iterable

from imagedelta.errors import ContentError, Truncated

MAX_BYTES = 10
"""Enough for 64 bits."""


def encode(value: int) -> bytes:
    """Return ``value`` (0 to 2^64 - 1): seven bits a byte, lowest first, bit 7 set on all but the last."""
    if value < 0x80:
        return _ONE_BYTE[value]
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_all(values: Iterable[int]) -> bytes:
    """Return numbers one after the other."""
    return b"".join(map(encode, values))


def decode(data: bytes, at: int, max_bytes: int = MAX_BYTES) -> tuple[int, int]:
    """Return the number at ``at``, and where the next byte is.

    Raises:
        Truncated: The data ends first.
        ContentError: The number has more than ``max_bytes`` bytes.
    """
    value = 0
    try:
        for place in range(max_bytes):
            byte = data[at + place]
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                return value, at + place + 1
    except IndexError:
        raise Truncated("the data ends inside a number") from None
    raise ContentError(f"a number of more than {max_bytes} bytes")


def decode_all(data: bytes, at: int, count: int, max_bytes: int = MAX_BYTES) -> tuple[list[int], int]:
    """Return so many numbers from ``at`` on, and where the next byte is; raises as ``decode``."""
    values = []
    for _ in range(count):
        if at < len(data) and data[at] < 0x80:  # most numbers: a column may have a million
            values.append(data[at])
            at += 1
        else:
            value, at = decode(data, at, max_bytes)
            values.append(value)
    return values, at


def zigzag(value: int) -> int:
    """Fold the sign into the lowest bit: 0, -1, 1, -2 … become 0, 1, 2, 3 …"""
    return value << 1 if value >= 0 else ((-value) << 1) - 1


def unzigzag(value: int) -> int:
    """Undo ``zigzag``."""
    return (value >> 1) if not value & 1 else -((value + 1) >> 1)


_ONE_BYTE = [bytes([value]) for value in range(0x80)]
