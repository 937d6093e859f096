"""References in data and in tables, predicted in C; what is right, imagedelta's own Python says.

Source: docs/formats/patch.md, section 7a.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from imagedelta_native._native import ffi, lib

Steps: TypeAlias = "tuple[array[int], array[int]]"
"""Starts, 64 bits each, rising, and what holds from each on; -2^63 for nowhere. There is at least one; the last also
holds before the first."""


def predict_addresses(
    data: bytes,
    out: bytearray,
    skip: int,
    numbers: tuple[int, int, int, int, int],
    starts: array[int],
    differences: array[int],
) -> list[int]:
    """Overwrite the numbers that are addresses in ``out``, which begins as a copy of ``data``; return where they are.

    Args:
        skip: How many bytes are before the first number.
        numbers: Width, 4 or 8 bytes; the lowest that counts (below 0: they are signed) and the end of those; the
            address from which they count in the old file, and in the new.
        starts: With ``differences``, the ``Steps`` by which addresses moved.
    """
    if numbers[0] not in (4, 8):
        raise ValueError(f"numbers of {numbers[0]} bytes")
    moves = _Map((starts, differences))
    return _found(data, out, lib.operands_addresses, skip, ffi.new("operands_numbers *", numbers), moves.fields)


def predict_distances(
    data: bytes, out: bytearray, skip: int, site: tuple[int, int], code: Steps, moves: Steps
) -> list[int]:
    """Overwrite the numbers of 32 bits that are distances to code, as above.

    Args:
        site: The address of the data, and by how much it moved.
        code: Which addresses are of code; ``moves`` by how much addresses moved.
    """
    base, same = site
    is_code, moved = _Map(code), _Map(moves)
    where = ffi.new("operands_site *", (0, 0, base, code[0][0], code[0][-1], same))
    return _found(data, out, lib.operands_distances, skip, where, is_code.fields, moved.fields)


def predict_symbols(
    records: bytes, out: bytearray, before: int, names_at: int, moves: Sequence[Steps], *, with_sizes: bool
) -> tuple[list[int], list[int]]:
    """Predict symbols in ``out``, a part of their records; return the places of numbers of 32 bits, and of 64.

    Args:
        before: How many bytes of the records are before the part.
        names_at: Where names are in the old file.
        moves: Of places; from addresses to places; of addresses.
    """
    part, moved = _Records(records, out, before), _Moves(moves)
    lib.operands_symbols(part.fields, names_at, moved.fields, with_sizes)
    return part.words, part.longs


def predict_relocations(records: bytes, out: bytearray, before: int, addresses: Steps) -> list[int]:
    """Predict relocations, as above; return the places of numbers of 64 bits."""
    part, moved = _Records(records, out, before), _Map(addresses)
    lib.operands_relocations(part.fields, moved.fields)
    return part.longs


def predict_frames(
    records: bytes,
    out: bytearray,
    before: int,
    site: tuple[int, int, int, int],
    has_handlers: Callable[[int], bool],
    moves: Sequence[Steps],
    *,
    with_sizes: bool,
) -> list[int]:
    """Predict frames, as above; return the places of numbers of 32 bits.

    Args:
        records: Frames, and 21 bytes more.
        site: The place of the first, how many bytes of the table are left, how far addresses are ahead of places, and
            by how much they moved.
        has_handlers: Whether the common entry at a place says so.
    """
    part, moved = _Records(records, out, before), _Moves(moves)
    state = ffi.new("operands_frames *", (*site, with_sizes))
    while lib.operands_predict_frames(part.fields, state, moved.fields):
        state.answer = has_handlers(state.asked)
    return part.words


class _Map:
    """Steps as C reads them, which must not move while it does."""

    def __init__(self, steps: Steps) -> None:
        starts, values = steps
        if not starts or len(starts) != len(values):
            raise ValueError(f"{len(starts)} starts of {len(values)} steps")
        self._kept = ffi.from_buffer("int64_t[]", starts), ffi.from_buffer("int64_t[]", values)
        self.fields = ffi.new("operands_map *", (*self._kept, len(starts)))


class _Moves:
    def __init__(self, moves: Sequence[Steps]) -> None:
        self._kept = [_Map(steps) for steps in moves]
        self.fields = ffi.new("operands_moves *", [steps.fields[0] for steps in self._kept])


class _Records:
    """A part of a table."""

    def __init__(self, records: bytes, out: bytearray, before: int) -> None:
        most = 4 * (len(records) // 5 + 1)
        self._kept = (
            ffi.from_buffer("uint8_t[]", records),
            ffi.from_buffer("uint8_t[]", out),
            ffi.new("uint32_t[]", most),
            ffi.new("uint32_t[]", most),
        )
        data, target, words, longs = self._kept
        self.fields = ffi.new("operands_records *", (data, len(records), target, len(out), before, words, 0, longs, 0))

    @property
    def words(self) -> list[int]:
        return _listed(self._kept[2], self.fields.words_count)

    @property
    def longs(self) -> list[int]:
        return _listed(self._kept[3], self.fields.longs_count)


def _found(data: bytes, out: bytearray, predict: Any, skip: int, *how: Any) -> list[int]:
    if len(out) != len(data):
        raise ValueError(f"data of {len(data)} bytes, {len(out)} to write")
    places = ffi.new("uint32_t[]", len(data) // 4 + 1)
    return _listed(places, predict(data, len(data), ffi.from_buffer("uint8_t[]", out), skip, *how, places))


def _listed(places: Any, count: int) -> list[int]:
    return list(ffi.unpack(places, count)) if count else []
