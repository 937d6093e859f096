"""Operands of x86-64 code that are relative to their own place, made absolute before LZMA2, and undone behind it.

All references to one thing have the same number then, which LZMA2 finds again. The x86 filter of LZMA2 does so for
calls and jumps; this one does it for data, and for calls through a table.

Source: docs/formats/patch.md, section 5.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

_PLACES = re.compile(
    rb"(?s)(?:[\x40-\x4f][\x03\x39\x3b\x63\x83\x89\x8b\x8d]|\xff)[\x05\x0d\x15\x1d\x25\x2d\x35\x3d]...."
)
"""An operand of four bytes behind a few opcodes whose ModRM byte says that it is relative."""
_UNKNOWN_BYTES = 6
"""At the end of a piece, where an operand may begin that ends in the next."""
_OPERAND = struct.Struct("<i")
_BYTES = 4
_REACH = 1 << 24
"""Operands from -REACH to REACH - 1 are changed, into one of the same range: so both sides find the same."""
_RANGE_MASK = 2 * _REACH - 1


def with_operands(pieces: Iterator[bytes], *, undo: bool) -> Iterator[bytes]:
    """Yield a stream with the operands of its code changed.

    Args:
        undo: Whether absolute operands become relative, and not the other way round.
    """
    waiting, at, sign = b"", 0, -1 if undo else 1
    for piece in pieces:
        data = waiting + piece
        out, done = _changed(data, at, sign)
        end = max(done, len(data) - _UNKNOWN_BYTES)
        waiting = data[end:]
        at += end
        yield bytes(out[:end])
    yield waiting


def _changed(data: bytes, at: int, sign: int) -> tuple[bytearray, int]:
    """Return the data with its operands changed, and where the last of them ends.

    Args:
        at: Where in the stream the data begins.
        sign: 1 to make them absolute, -1 to undo it.
    """
    out, end = bytearray(data), 0
    read, write = _OPERAND.unpack_from, _OPERAND.pack_into
    for found in _PLACES.finditer(data):
        end = found.end()
        (operand,) = read(data, end - _BYTES)
        if -_REACH <= operand < _REACH:
            moved = operand + sign * (at + end)
            write(out, end - _BYTES, ((moved + _REACH) & _RANGE_MASK) - _REACH)
    return out, end
