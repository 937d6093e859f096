"""Differences of predicted parts: byte by byte, and of whole numbers where references are.

Source: docs/formats/patch.md, section 7a.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from imagedelta.delta import byte_sums
from imagedelta.delta.predict.prediction import Predicted

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


def add(old: Predicted, difference: bytes) -> bytes:
    """Return the new bytes of a part."""
    made = byte_sums.add(old.data, difference)
    if made is old.data or not old.are_whole:
        return made
    out = bytearray(made)
    for form, at in _changed(old, difference):
        (value,), (more,) = form.unpack_from(old.data, at), form.unpack_from(difference, at)
        form.pack_into(out, at, value + more & (1 << 8 * form.size) - 1)
    return bytes(out)


def subtract(new: bytes, old: Predicted) -> bytes:
    """Return what ``add`` needs to make the new bytes of a part."""
    plain = byte_sums.subtract(new, old.data)
    if not old.are_whole or not any(plain):
        return plain
    out = bytearray(plain)
    for form, at in _changed(old, plain):
        (value,), (before,) = form.unpack_from(new, at), form.unpack_from(old.data, at)
        form.pack_into(out, at, value - before & (1 << 8 * form.size) - 1)
    return bytes(out)


def _changed(old: Predicted, difference: bytes) -> Iterator[tuple[struct.Struct, int]]:
    """Yield the numbers whose difference is not 0, and their form."""
    forms: tuple[tuple[struct.Struct, Sequence[int]], ...] = ((_U32, old.words), (_U64, old.longs))
    for form, places in forms:
        zero = bytes(form.size)
        for at in places:
            if difference[at : at + form.size] != zero:
                yield form, at
