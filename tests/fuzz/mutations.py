"""Small damage to bytes: the kinds that readers of binary formats trip over."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence

_EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 62, (1 << 64) - 1)
"""Where widths and signs end."""
_LEB128_EDGES = (
    b"\x7f",
    b"\x80\x01",
    b"\xff\x7f",
    b"\x80\x00",
    b"\xff" * 8 + b"\x7f",
    b"\xff" * 9 + b"\x01",
    b"\xff" * 11,
)
_MOST = 4
"""Changes to one input."""


def _flip(rng: random.Random, data: bytearray) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set(rng: random.Random, data: bytearray) -> None:
    data[rng.randrange(len(data))] = rng.randrange(256)


def _step(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    data[at] = (data[at] + rng.choice((-2, -1, 1, 2))) % 256


def _edge(rng: random.Random, data: bytearray) -> None:
    form = rng.choice(("<B", "<H", "<I", "<Q", ">I"))
    number = struct.pack(form, rng.choice(_EDGES) % (1 << 8 * struct.calcsize(form)))
    at = rng.randrange(len(data))
    data[at : at + len(number)] = number


def _number(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data) + 1)
    data[at : at + rng.randrange(3)] = rng.choice(_LEB128_EDGES)


def _delete(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    del data[at : at + _length(rng)]


def _insert(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.randbytes(_length(rng))


def _repeat(rng: random.Random, data: bytearray) -> None:
    at, to = rng.randrange(len(data)), rng.randrange(len(data) + 1)
    data[to:to] = data[at : at + _length(rng)]


def _move(rng: random.Random, data: bytearray) -> None:
    at, length = rng.randrange(len(data)), _length(rng)
    piece = data[at : at + length]
    del data[at : at + length]
    to = rng.randrange(len(data) + 1)
    data[to:to] = piece


def _cut(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(len(data)) :]


def _zero(rng: random.Random, data: bytearray) -> None:
    at, length = rng.randrange(len(data)), _length(rng)
    data[at : at + length] = bytes(len(data[at : at + length]))


_CHANGES: Sequence[Callable[[random.Random, bytearray], None]] = (
    *(_flip, _set, _step, _edge, _number, _delete, _insert, _repeat, _move, _zero),
    _cut,
)


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Return ``data`` with one to four changes."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, _MOST)):
        if not changed:
            return rng.randbytes(rng.randrange(20))
        rng.choice(_CHANGES)(rng, changed)
    return bytes(changed)


def spliced(rng: random.Random, one: bytes, other: bytes) -> bytes:
    """Return the start of one and the end of the other."""
    return one[: rng.randrange(len(one) + 1)] + other[rng.randrange(len(other) + 1) :]


def _length(rng: random.Random) -> int:
    return 1 << rng.randrange(10) if rng.random() < 0.2 else rng.randint(1, 8)
