"""Records of tables in ELF files: where their references are, and what each should be in the new file.

The package imagedelta-native does the same in C, faster.

Source: docs/formats/patch.md, section 7a; System V ABI, chapter 4; Linux Standard Base, Exception Frames.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple

from imagedelta.delta.predict.in_c import in_c
from imagedelta.delta.predict.steps import NOWHERE, Steps

SYMBOL = struct.Struct("<IBBHQQ")
RELOCATION = struct.Struct("<QQQ")
FRAME = struct.Struct("<IIiIBi")
"""Length, back, where the function begins and how long it is, length of what follows, and where its handlers are."""
LEAST_FRAME = 20
"""Of the bytes of a frame so many must be in the table."""
_WITH_HANDLERS = 17
_HANDLER_BYTES = 4
_LONG_SYMBOL = 1 << 24
_KIND = 0xFFFFFFFF
_OF_AN_ADDRESS = (8, 37, 1027, 1032)
"""Kinds of relocations whose last number is an address: RELATIVE and IRELATIVE of x86-64, then of aarch64."""


class Moves(NamedTuple):
    """What moved where, as all tables need it."""

    shifts: Steps
    """By how much places moved; none are before the first start, 0."""
    offsets: Steps
    """From old addresses to old places."""
    addresses: Steps
    """By how much addresses moved."""


class FrameSite(NamedTuple):
    """Where the first of some frames is."""

    place: int
    """In the old file."""
    left: int
    """Bytes of the table from there on."""
    ahead: int
    """Address less place, at most ``BEYOND``."""
    difference: int
    """New address less old."""


BEYOND = 3 << 61
"""An address behind all segments; sums of it and what numbers of 32 bits say still fit 64 bits."""


def predict_symbols(
    records: bytes, out: bytearray, before: int, names_at: int, moves: Moves, *, with_sizes: bool
) -> tuple[list[int], list[int]]:
    """Predict names, addresses and sizes of symbols.

    Args:
        records: Of which ``out`` has a part: all but the first ``before`` bytes, and some at the end.
        out: The same bytes; numbers that lie wholly in it are overwritten.
        names_at: Where names are in the old file, at most ``BEYOND``.

    Returns:
        Where in ``out`` numbers of 32 bits are, and those of 64.
    """
    (starts, shifts), (at_offsets, offsets), (at_addresses, differences) = moves
    (put_word, words), (put_long, longs) = _writer(out, before, "<I"), _writer(out, before, "<Q")
    names = shifts[bisect_right(starts, names_at) - 1]
    for at, (name, _, _, _, address, size) in zip(
        range(0, len(records), SYMBOL.size), SYMBOL.iter_unpack(records), strict=True
    ):
        if name:
            put_word(at, name + shifts[bisect_right(starts, names_at + name) - 1] - names)
        moved = differences[bisect_right(at_addresses, address) - 1]
        if not address or moved == NOWHERE:
            continue
        put_long(at + 8, address + moved)
        offset = offsets[bisect_right(at_offsets, address) - 1]
        if with_sizes and 0 < size < _LONG_SYMBOL and offset != NOWHERE:
            first = address + offset
            last = shifts[bisect_right(starts, first + size - 1) - 1]
            put_long(at + 16, size + last - shifts[bisect_right(starts, first) - 1])
    return words, longs


def predict_relocations(records: bytes, out: bytearray, before: int, addresses: Steps) -> list[int]:
    """Predict places and addresses of relocations; arguments and result are as of ``predict_symbols``."""
    starts, differences = addresses
    put, longs = _writer(out, before, "<Q")
    for at, (place, kind, added) in zip(
        range(0, len(records), RELOCATION.size), RELOCATION.iter_unpack(records), strict=True
    ):
        moved = differences[bisect_right(starts, place) - 1]
        if moved != NOWHERE:
            put(at, place + moved)
        if kind & _KIND in _OF_AN_ADDRESS:
            moved = differences[bisect_right(starts, added) - 1]
            if moved != NOWHERE:
                put(at + 16, added + moved)
    return longs


def predict_frames(
    records: bytes,
    out: bytearray,
    before: int,
    site: FrameSite,
    has_handlers: Callable[[int], bool],
    moves: Moves,
    *,
    with_sizes: bool,
) -> list[int]:
    """Predict starts and lengths of functions, and where their handlers are.

    Args:
        records: Frames, and as many bytes behind the last of them as a frame has; else as of ``predict_symbols``.
        has_handlers: Whether the common entry at a place of the old file says that functions have some.

    Returns:
        Where in ``out`` numbers of 32 bits are.
    """
    place, left, ahead, difference = site
    (starts, shifts), (at_offsets, offsets), (at_addresses, differences) = moves
    put, words = _writer(out, before, "<I")
    at, stop = 0, len(records) - FRAME.size
    while at < stop and at + LEAST_FRAME <= left:
        length, back, begins, size, more, handlers = FRAME.unpack_from(records, at)
        if not length or length > left - at - 4:
            break
        if back:
            named = place + at + 4
            shift = shifts[bisect_right(starts, named) - 1]
            put(at + 4, back + shift - shifts[bisect_right(starts, max(0, named - back)) - 1])
            function = named + 4 + ahead + begins
            moved = differences[bisect_right(at_addresses, function) - 1]
            if moved != NOWHERE:
                put(at + 8, begins + moved - difference)
            offset = offsets[bisect_right(at_offsets, function) - 1]
            if with_sizes and size and offset != NOWHERE:
                last = shifts[bisect_right(starts, function + offset + size - 1) - 1]
                put(at + 12, size + last - shifts[bisect_right(starts, function + offset) - 1])
            if handlers and length >= _WITH_HANDLERS and more == _HANDLER_BYTES and has_handlers(named - back):
                moved = differences[bisect_right(at_addresses, named + 13 + ahead + handlers) - 1]
                if moved != NOWHERE:
                    put(at + 17, handlers + moved - difference)
        at += length + 4
    return words


def _writer(out: bytearray, before: int, form: str) -> tuple[Callable[[int, int], None], list[int]]:
    """Return what writes a number into ``out`` if it lies wholly in it, and the places that it wrote to."""
    number = struct.Struct(form)
    pack, last, mask = number.pack_into, len(out) - number.size, (1 << 8 * number.size) - 1
    places: list[int] = []
    note = places.append

    def put(at: int, value: int) -> None:
        at -= before
        if 0 <= at <= last:
            pack(out, at, value & mask)
            note(at)

    return put, places


quick_symbols = in_c(predict_symbols)
quick_relocations = in_c(predict_relocations)
quick_frames = in_c(predict_frames)
