"""Tokens in method bodies of .NET: where the operands are that name a row of the metadata or a string.

Bodies are walked in the order of their places, and one that begins before the end of the one before is left out:
time is in proportion to the file, whatever a method table says.

Source: ECMA-335 (6th edition), II.25.4 (method bodies) and partition III (instructions).
"""

from __future__ import annotations

import re
import struct
from array import array
from collections.abc import Iterable

_U32 = struct.Struct("<I")
_TINY, _FAT, _FORMAT_BITS = 2, 3, 3
_FAT_BYTES = 12
_MORE_SECTIONS = 8
_EXCEPTIONS, _WIDE = 1, 0x40
_SWITCH = 0x45
_LOCALS_AT = 8


def _bytes_of(*ranges: tuple[int, int]) -> bytes:
    return bytes(value for first, last in ranges for value in range(first, last + 1))


_ONE = _bytes_of((0x0E, 0x13), (0x1F, 0x1F), (0x2B, 0x37), (0xDE, 0xDE))
_FOUR = _bytes_of((0x20, 0x20), (0x22, 0x22), (0x38, 0x44), (0xDD, 0xDD))
_EIGHT = _bytes_of((0x21, 0x21), (0x23, 0x23))
_TOKEN = _bytes_of(
    (0x27, 0x29), (0x6F, 0x75), (0x79, 0x79), (0x7B, 0x81), (0x8C, 0x8D), (0x8F, 0x8F),
    (0xA3, 0xA5), (0xC2, 0xC2), (0xC6, 0xC6), (0xD0, 0xD0),
)  # fmt: skip
_PREFIX = b"\xfe"
_BARE = bytes(set(range(256)) - set(_ONE + _FOUR + _EIGHT + _TOKEN + _PREFIX) - {_SWITCH})
_SECOND_TWO, _SECOND_ONE = _bytes_of((0x09, 0x0E)), b"\x12\x19"
_SECOND_TOKEN = b"\x06\x07\x15\x16\x1c"
_SECOND_BARE = bytes(set(range(256)) - set(_SECOND_TWO + _SECOND_ONE + _SECOND_TOKEN))


def _one_of(values: bytes) -> bytes:
    return b"[" + re.escape(values) + b"]"


_STRETCH = re.compile(
    b"(?s:(?:%b++|%b.|%b.{4}|%b.{8}|\xfe(?:%b..|%b.|%b))*+(?:%b|\xfe%b|(\x45)))"
    % tuple(map(_one_of, (_BARE, _ONE, _FOUR, _EIGHT, _SECOND_TWO, _SECOND_ONE, _SECOND_BARE, _TOKEN, _SECOND_TOKEN)))
)
"""Instructions without a token, then the opcode of one that has one, or of a switch."""


def tokens(data: bytes, bodies: Iterable[int]) -> array[int]:
    """Return the offsets of the tokens in the bodies at ``bodies``, both in rising order."""
    found = array("I")
    done = 0
    for start in bodies:
        if start < done or start >= len(data):
            continue
        try:
            done = _body(data, start, found)
        except (struct.error, IndexError):
            done = start + 1
    return found


def _body(data: bytes, start: int, found: array[int]) -> int:
    """Add the tokens of a body, and return its end."""
    first = data[start]
    if first & _FORMAT_BITS == _TINY:
        end = min(start + 1 + (first >> 2), len(data))
        _code(data, start + 1, end, found)
        return end
    if first & _FORMAT_BITS != _FAT:
        return start + 1
    code = start + _FAT_BYTES
    size: int = _U32.unpack_from(data, start + 4)[0]
    end = code + size
    if end > len(data):
        return start + 1
    if _U32.unpack_from(data, start + _LOCALS_AT)[0]:
        found.append(start + _LOCALS_AT)
    _code(data, code, end, found)
    if first & _MORE_SECTIONS:
        return _exceptions(data, end + 3 & ~3, found)
    return end


def _code(data: bytes, at: int, end: int, found: array[int]) -> None:
    while match := _STRETCH.match(data, at, end):
        at = match.end() + 4
        if at > end:
            return
        if match.start(1) < 0:
            found.append(at - 4)
        else:
            at += 4 * _U32.unpack_from(data, at - 4)[0]


def _exceptions(data: bytes, at: int, found: array[int]) -> int:
    """Add the types that the clauses of a body catch, and return the end of the clauses."""
    kind = data[at]
    if not kind & _EXCEPTIONS:
        return at
    wide = kind & _WIDE
    size = _U32.unpack_from(data, at)[0] >> 8 if wide else data[at + 1]
    clause, flags = (24, _U32) if wide else (12, struct.Struct("<H"))
    end = at + 4 + max(0, size - 4) // clause * clause
    if end > len(data):
        return at
    for place in range(at + 4, end, clause):
        if flags.unpack_from(data, place)[0] == 0:
            found.append(place + clause - 4)
    return end
