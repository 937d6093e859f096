"""Unsigned LEB128 numbers of at most 63 bits, a whole column at a time.

Source: docs/formats/index.md, section 2.
"""

from __future__ import annotations

from collections.abc import Iterable

from imagedelta.errors import ContentError, Truncated

MAX_BYTES = 9


def write_varints(numbers: Iterable[int]) -> bytes:
    """Encode each number, 0 to 2**63 - 1: seven bits a byte, lowest first, bit 7 set on all but the last."""
    out = bytearray()
    for number in numbers:
        while number > 0x7F:
            out.append(number & 0x7F | 0x80)
            number >>= 7
        out.append(number)
    return bytes(out)


def read_varints(data: bytes, at: int, count: int) -> tuple[list[int], int]:
    """Decode ``count`` numbers from ``at``; return them and where the next byte is.

    Raises:
        Truncated: The data ends first.
        ContentError: A number of more than ``MAX_BYTES`` bytes.
    """
    numbers = []
    for _ in range(count):
        if at >= len(data):
            raise Truncated("the data ends inside a column of numbers")
        number = data[at]
        at += 1
        if number & 0x80:
            number, at = _long(data, at, number & 0x7F)
        numbers.append(number)
    return numbers, at


def _long(data: bytes, at: int, number: int) -> tuple[int, int]:
    for shift in range(7, 7 * MAX_BYTES, 7):
        if at >= len(data):
            raise Truncated("the data ends inside a number")
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ContentError(f"a number of more than {MAX_BYTES} bytes")
