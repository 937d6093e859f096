"""What is before an operand of 32 bits in x86-64 code, as expressions, and what kind of operand it is.

Source: docs/formats/patch.md, section 7a; Intel 64 manual, volume 2.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import NamedTuple


class Operand(IntEnum):
    """What is behind an opcode."""

    RELATIVE = 0
    """Relative to the end of the instruction, which ends with it."""
    RELATIVE_AND_BYTE = 1
    """Which has one byte more; a number more."""
    RELATIVE_AND_NUMBER = 2
    NUMBER = 3
    """A number, or an address in a program at a fixed address."""
    BITS = 4
    """A number that is never an address."""
    ADDRESS = 5
    """An address, or something else that does not count."""


class Sought(IntEnum):
    """Which operands are sought in code; each has those before it."""

    RELATIVE = 0
    NUMBERS = 1
    ADDRESSES = 2
    """In a program at a fixed address."""


_WITH_BYTE, _WITH_NUMBER = rb"\x6b\x80\x83\xc1\xc6", rb"\x69\x81\xc7"
_BARE = (
    rb"\x01\x03\x0b\x10-\x13\x16\x17\x23\x28\x29\x2b\x2e\x2f\x33\x38\x39\x3a\x3b\x51\x54\x57-\x59\x5c\x5e"
    rb"\x63\x6e\x6f\x7e\x7f\x84\x85\x87-\x8b\x8d\xb1\xb6\xb7\xbe\xbf\xd4\xd6\xef\xf6\xf7\xfe\xff"
)
_RIP = rb"[\x05\x0d\x15\x1d\x25\x2d\x35\x3d]"
_NO_BASE = rb"[\x04\x0c\x14\x1c\x24\x2c\x34\x3c][" + re.escape(bytes(range(5, 256, 8))) + rb"]"
_LONG_DISTANCE = (
    rb"(?:[\x80-\x83\x85-\x8b\x8d-\x93\x95-\x9b\x9d-\xa3\xa5-\xab\xad-\xb3\xb5-\xbb\xbd-\xbf]"
    rb"|[\x84\x8c\x94\x9c\xa4\xac\xb4\xbc].)"
)
_SMALL = rb"..(?:\0\0|\xff\xff)"
"""A distance that is passed over: another one is hardly one."""
_STORED = (
    rb"\xc7(?:[\x00-\x03\x06\x07\xc0-\xc7]|\x04.|\x44..|[\x40-\x43\x45-\x47].|[\x80-\x83\x85-\x87]" + _SMALL
    + rb"|\x84." + _SMALL + rb")"
)  # fmt: skip
_LOADED = rb"\x03\x3b\x88-\x8b\x8d"


class Opcodes(NamedTuple):
    """An expression, and what operand is behind an opcode by the group that is last in it."""

    expression: re.Pattern[bytes]
    operands: tuple[int, ...]


_OPCODES = {
    Sought.RELATIVE: [
        (rb"[\xe8\xe9]", Operand.RELATIVE),
        (rb"\x0f[\x80-\x8f]", Operand.RELATIVE),
        (rb"[" + _BARE + rb"]" + _RIP, Operand.RELATIVE),
        (rb"[" + _WITH_BYTE + rb"]" + _RIP, Operand.RELATIVE_AND_BYTE),
        (rb"[" + _WITH_NUMBER + rb"]" + _RIP, Operand.RELATIVE_AND_NUMBER),
    ],
    Sought.NUMBERS: [
        (rb"[\xb8-\xbf\x68\x3d]", Operand.NUMBER),
        (rb"\x48[\x05\x2d]", Operand.NUMBER),
        (rb"\x81[\xc0-\xdf\xe8-\xff]", Operand.NUMBER),
        (_STORED, Operand.NUMBER),
        (rb"\x25", Operand.BITS),
        (rb"\x81[\xe0-\xe7]", Operand.BITS),
    ],
    Sought.ADDRESSES: [
        (_NO_BASE, Operand.ADDRESS),
        (rb"\x0f[\x10\x11\x28\x29\xb6\xb7\xbe\xbf]" + _LONG_DISTANCE, Operand.ADDRESS),
        (rb"[\x40-\x4f][" + _LOADED + rb"]" + _LONG_DISTANCE, Operand.ADDRESS),
    ],
}
"""The first that fits is it."""
_FIRST_TWO = {
    Sought.RELATIVE: [rb"[\xe8\xe9\x0f]", rb"[" + _BARE + _WITH_BYTE + _WITH_NUMBER + rb"]" + _RIP],
    Sought.NUMBERS: [rb"[\x25\x3d\x68\x81\xb8-\xbf\xc7]", rb"\x48[\x05\x2d]"],
    Sought.ADDRESSES: [rb"[\x40-\x4f][" + _LOADED + rb"]", _NO_BASE],
}
"""What opcodes begin with. Sought first, it takes a third off the time."""


def _compiled(sought: Sought) -> Opcodes:
    """Empty groups are at the ends of alternatives: those that begin with one are not passed over quickly."""
    first = b"|".join(one for kind in Sought if kind <= sought for one in _FIRST_TWO[kind])
    opcodes = [one for kind in Sought if kind <= sought for one in _OPCODES[kind]]
    expression = b"|".join(opcode + rb"()" for opcode, _ in opcodes)
    compiled = re.compile(rb"(?=" + first + rb")(?:" + expression + rb")", re.DOTALL)
    return Opcodes(compiled, (0, *(int(operand) for _, operand in opcodes)))


OPCODES = {sought: _compiled(sought) for sought in Sought}
