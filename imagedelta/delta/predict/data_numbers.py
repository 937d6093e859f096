"""Numbers in data that refer to something: which count, and what each should be in the new file.

The package imagedelta-native does the same in C, faster.

Source: docs/formats/patch.md, section 7a.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from typing import NamedTuple

from imagedelta.delta.predict.in_c import in_c
from imagedelta.delta.predict.steps import NOWHERE

WORD_BYTES, LONG_BYTES = 4, 8


class Numbers(NamedTuple):
    """Numbers of one width that follow each other, and which of them may be references."""

    width: int
    """4 or 8, in bytes."""
    low: int
    """From this number on up to ``high``; below 0, numbers are signed."""
    high: int
    base: int = 0
    """The address from which they count; ``new_base`` in the new file."""
    new_base: int = 0


def predict_addresses(
    data: bytes, out: bytearray, skip: int, numbers: Numbers, starts: array[int], differences: array[int]
) -> list[int]:
    """Predict the numbers that are addresses.

    Args:
        data: Old bytes.
        out: The same bytes; addresses are overwritten.
        skip: How many bytes are before the first number.
        starts: With ``differences``, by how much addresses moved: see ``Steps``.

    Returns:
        Where addresses are in the bytes.
    """
    width, low, high, base, new_base = numbers
    form = struct.Struct({WORD_BYTES: "<I", LONG_BYTES: "<Q"}[width])
    letter, mask, places = "iq" if low < 0 else "IQ", (1 << 8 * width) - 1, []
    found = _unpacked(letter[width == LONG_BYTES], width, data, skip)
    for at, value in [(at, value) for at, value in enumerate(found) if low <= value < high]:
        difference = differences[bisect_right(starts, base + value) - 1]
        if difference != NOWHERE:
            places.append(skip + width * at)
            form.pack_into(out, places[-1], base + value + difference - new_base & mask)
    return places


def predict_distances(
    data: bytes,
    out: bytearray,
    skip: int,
    site: tuple[int, int],
    code: tuple[array[int], array[int]],
    moves: tuple[array[int], array[int]],
) -> list[int]:
    """Predict the numbers of 32 bits that are distances to code from where they are.

    Args:
        data: As of ``predict_addresses``; so are ``out``, ``skip`` and the result.
        site: Address of the first byte, and by how much it moved.
        code: ``Steps`` of addresses that are of code.
        moves: ``Steps`` by which addresses moved.
    """
    (base, same), (code_starts, is_code), (starts, differences), places = site, code, moves, []
    low, high = code_starts[0], code_starts[-1]
    first, pack = base + skip, struct.Struct("<I").pack_into
    found = enumerate(_unpacked("i", WORD_BYTES, data, skip))
    near = [(at, target) for at, value in found if value and low <= (target := first + WORD_BYTES * at + value) < high]
    for at, target in near:
        if is_code[bisect_right(code_starts, target) - 1] == NOWHERE:
            continue
        difference = differences[bisect_right(starts, target) - 1]
        if difference != NOWHERE:
            places.append(skip + WORD_BYTES * at)
            pack(out, places[-1], target + difference - first - WORD_BYTES * at - same & 0xFFFFFFFF)
    return places


def _unpacked(letter: str, width: int, data: bytes, skip: int) -> tuple[int, ...]:
    """Return the numbers behind the first bytes, as many as are whole."""
    count = max(0, len(data) - skip) // width
    return struct.unpack_from(f"<{count}{letter}", data, skip) if count else ()


quick_addresses = in_c(predict_addresses)
quick_distances = in_c(predict_distances)
