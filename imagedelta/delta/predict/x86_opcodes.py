"""What is before an operand of 32 bits in x86-64 code, as expressions, and what kind of operand it is.

Source: docs/formats/patch.md, section 7a; Intel 64 manual, volume 2.
"""

from __future__ import annotations

import re
from enum import IntEnum


class Operand(IntEnum):
    """By the group of the expression that matched; those without a group are relative."""

    RELATIVE_AND_BYTE = 1
    """Relative to the end of the instruction, which has one byte more; a number more."""
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
_RELATIVE = (
    rb"[\xe8\xe9]|\x0f[\x80-\x8f]|[" + _BARE + rb"]" + _RIP
    + rb"|([" + _WITH_BYTE + rb"]" + _RIP + rb")|([" + _WITH_NUMBER + rb"]" + _RIP + rb")"
)  # fmt: skip
_IMMEDIATE = rb"|([\xb8-\xbf\x68\x3d]|\x48[\x05\x2d]|\x81[\xc0-\xdf\xe8-\xff]|" + _STORED + rb")|(\x25|\x81[\xe0-\xe7])"
_ADDRESS = (
    rb"|(" + _NO_BASE + rb"|\x0f[\x10\x11\x28\x29\xb6\xb7\xbe\xbf]" + _LONG_DISTANCE
    + rb"|[\x40-\x4f][\x03\x3b\x88-\x8b\x8d]" + _LONG_DISTANCE + rb")"
)  # fmt: skip
_FIRST_RELATIVE = rb"\x0f\xe8\xe9" + _BARE + _WITH_BYTE + _WITH_NUMBER
_FIRST_IMMEDIATE = rb"\x25\x3d\x48\x68\x81\xb8-\xbf\xc7"
_FIRST_ADDRESS = rb"\x04\x0c\x14\x1c\x24\x2c\x34\x3c\x40-\x4f"


def _compiled(first: bytes, expression: bytes) -> re.Pattern[bytes]:
    """Return an expression that is not begun where the first byte is none of those given: it takes two thirds."""
    return re.compile(rb"(?=[" + first + rb"])(?:" + expression + rb")", re.DOTALL)


OPCODES = {
    Sought.RELATIVE: _compiled(_FIRST_RELATIVE, _RELATIVE),
    Sought.NUMBERS: _compiled(_FIRST_RELATIVE + _FIRST_IMMEDIATE, _RELATIVE + _IMMEDIATE),
    Sought.ADDRESSES: _compiled(_FIRST_RELATIVE + _FIRST_IMMEDIATE + _FIRST_ADDRESS, _RELATIVE + _IMMEDIATE + _ADDRESS),
}
