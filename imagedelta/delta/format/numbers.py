"""Integers of the patch format: LEB128, and zigzag for those that may be negative.

Source: docs/formats/patch.md, section 2.
"""

from __future__ import annotations

from collections.abc import Callable

MAX_BYTES = 10
"""Enough for 64 bits; a longer one is refused."""


def encode(value: int) -> bytes:
    """Return ``value`` (0 to 2^64 - 1) in seven-bit groups, lowest first."""
    if value < 0x80:
        return _ONE_BYTE[value]
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode(next_byte: Callable[[], int]) -> int:
    """Return the number that ``encode`` wrote, for bytes of our own: its length is not bounded."""
    value = shift = 0
    while True:
        byte = next_byte()
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
        shift += 7


def zigzag(value: int) -> int:
    """Fold the sign into the lowest bit: 0, -1, 1, -2 … become 0, 1, 2, 3 …"""
    return value << 1 if value >= 0 else ((-value) << 1) - 1


def unzigzag(value: int) -> int:
    """Undo ``zigzag``."""
    return (value >> 1) if not value & 1 else -((value + 1) >> 1)


_ONE_BYTE = [bytes([value]) for value in range(0x80)]
