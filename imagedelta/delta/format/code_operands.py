"""Operands of x86-64 code that are relative to their own place, made absolute before LZMA2, and undone behind it.

All references to one thing have the same number then, which LZMA2 finds again. The x86 filter of LZMA2 does so for
calls and jumps; this one does it for data, and for calls through a table.

Source: docs/formats/patch.md, section 5.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

_PREFIX, _OPCODE, _CALL, _RELATIVE = b"POCR"
_CLASSES = bytearray(b"." * 256)
for _bytes, _class in (
    (range(0x40, 0x50), _PREFIX),
    (bytes.fromhex("03393b6383898b8d"), _OPCODE),
    (b"\xff", _CALL),
    (bytes.fromhex("050d151d252d353d"), _RELATIVE),
):
    for _byte in _bytes:
        _CLASSES[_byte] = _class
_LONG, _SHORT = re.compile(b"POR"), re.compile(b"CR")
"""What is in front of an operand of four bytes, in classes of bytes: its last byte says that the operand is relative.
Literal patterns are found five times as fast as alternatives."""
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
    read, write, last = _OPERAND.unpack_from, _OPERAND.pack_into, len(data) - _BYTES
    classes = data.translate(_CLASSES)
    places = [found.end() for pattern in (_LONG, _SHORT) for found in pattern.finditer(classes)]
    places.sort()
    for place in places:
        start = place - (2 if classes[place - 2] == _CALL else 3)
        if start < end or place > last:
            continue
        end = place + _BYTES
        (operand,) = read(data, place)
        if -_REACH <= operand < _REACH:
            moved = operand + sign * (at + end)
            write(out, place, ((moved + _REACH) & _RANGE_MASK) - _REACH)
    return out, end
