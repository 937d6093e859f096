"""Differences of predicted parts: byte by byte, and of whole numbers where references are.

Source: docs/formats/patch.md, section 7a.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from imagedelta.delta import byte_sums
from imagedelta.delta.predict.in_c import in_c
from imagedelta.delta.predict.old import Predicted

_FORMS = {4: struct.Struct("<I"), 8: struct.Struct("<Q")}


def add(old: Predicted, difference: bytes) -> bytes:
    """Return the new bytes of a part."""
    made = byte_sums.add(old.data, difference)
    if made is old.data or not old.are_whole:
        return made
    return _with_numbers(made, old, old.data, difference, difference, subtract=False)


def subtract(new: bytes, old: Predicted) -> bytes:
    """Return what ``add`` needs to make the new bytes of a part."""
    plain = byte_sums.subtract(new, old.data)
    if not old.are_whole or not any(plain):
        return plain
    return _with_numbers(plain, old, new, old.data, plain, subtract=True)


def _with_numbers(made: bytes, old: Predicted, numbers: bytes, more: bytes, changed: bytes, *, subtract: bool) -> bytes:
    out = bytearray(made)
    for places, width in ((old.words, 4), (old.longs, 8)):
        if places:
            quick_numbers(out, numbers, more, changed, places, width, subtract=subtract)
    return bytes(out)


def add_numbers(
    out: bytearray, numbers: bytes, more: bytes, changed: bytes, places: Sequence[int], width: int, *, subtract: bool
) -> None:
    """Write whole numbers: those at ``places`` with what is there in ``more`` added, where ``changed`` is not 0.

    Args:
        width: 4 or 8, in bytes.
        subtract: Whether they are subtracted instead.
    """
    form, zero, mask, sign = _FORMS[width], bytes(width), (1 << 8 * width) - 1, -1 if subtract else 1
    for at in places:
        if changed[at : at + width] != zero:
            (number,), (by,) = form.unpack_from(numbers, at), form.unpack_from(more, at)
            form.pack_into(out, at, number + sign * by & mask)


quick_numbers = in_c(add_numbers)
