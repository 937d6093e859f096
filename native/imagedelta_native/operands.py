"""References in code, sought and predicted in C; what is right, imagedelta's own Python says.

Source: docs/formats/patch.md, section 7a.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

from imagedelta_native._native import ffi, lib


def predict_x86_64(
    code: bytes, out: bytearray, sought: int, sites: array[int], starts: array[int], differences: array[int]
) -> list[int]:
    """Overwrite operands in ``out``, which begins as a copy of ``code``; return where they are.

    Args:
        sought: 0 for relative operands, 1 for numbers, too, 2 for addresses, too.
        sites: Of each stretch of code six numbers of 64 bits: where it begins and ends in ``code``, in rising order;
            its address; lowest and end of the addresses that moved as it did; by how much that is.
        starts: 64 bits each, rising; ``differences`` are by how much addresses from there on moved, -2^63 for those
            that are not there any more. There is at least one; the last is also what is before the first.
    """
    return _predicted(code, out, (lib.operands_predict, sought), sites, starts, differences)


def predict_aarch64(
    code: bytes, out: bytearray, sites: array[int], starts: array[int], differences: array[int]
) -> list[int]:
    """Overwrite instructions of aarch64 that refer to something, as above; return where they are, in any order."""
    return _predicted(code, out, (lib.operands_predict_aarch64,), sites, starts, differences)


def _predicted(
    code: bytes,
    out: bytearray,
    predict: tuple[Any, *tuple[int, ...]],
    sites: array[int],
    starts: array[int],
    differences: array[int],
) -> list[int]:
    if len(out) != len(code) or not starts or len(starts) != len(differences):
        raise ValueError(f"code of {len(code)} bytes, {len(out)} to write, {len(starts)} stretches of addresses")
    count, rest = divmod(len(sites) * sites.itemsize, ffi.sizeof("operands_site"))
    old, places = ffi.from_buffer("uint8_t[]", code), ffi.new("uint32_t[]", len(code) // 4 + 1)
    part = ffi.new("operands_part *", (old, len(code), ffi.from_buffer("uint8_t[]", out), places, 0))
    begins, moved = ffi.from_buffer("int64_t[]", starts), ffi.from_buffer("int64_t[]", differences)
    moves = ffi.new("operands_map *", (begins, moved, len(starts)))
    function, *how = predict
    if rest or function(part, *how, ffi.from_buffer("operands_site[]", sites), count, moves):
        raise ValueError(f"{count} stretches of code that overlap, or are not in {len(code)} bytes")
    return list(ffi.unpack(places, part.found)) if part.found else []


def add_numbers(
    out: bytearray, numbers: bytes, more: bytes, changed: bytes, places: Sequence[int], width: int, *, subtract: bool
) -> None:
    """Write whole numbers: those at ``places`` with what is there in ``more`` added, where ``changed`` is not 0.

    Args:
        width: 4 or 8, in bytes.
        subtract: Whether they are subtracted instead.
    """
    size = len(out)
    if width not in (4, 8) or not size == len(numbers) == len(more) == len(changed):
        raise ValueError(f"numbers of {width} bytes in {size}, {len(numbers)}, {len(more)} and {len(changed)}")
    at = array("I", places)
    where = ffi.from_buffer("uint32_t[]", at)
    target = ffi.from_buffer("uint8_t[]", out)
    if lib.operands_add(target, numbers, more, changed, size, where, len(at), width, -1 if subtract else 1):
        raise ValueError(f"a number beyond {size} bytes")
