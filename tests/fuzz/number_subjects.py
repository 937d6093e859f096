"""Patches of the second format in which everything holds but single numbers, and mixed bytes with damage."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache

from imagedelta import leb128
from imagedelta.delta import read_patch_header
from imagedelta.delta.format.coders import NATIVE_CODERS
from imagedelta.delta.format.header import PatchHeader
from imagedelta.delta.format.roles import Role
from tests.fuzz.good_patches import GoodPatch, second_format
from tests.fuzz.mutations import mutated
from tests.fuzz.patch_subjects import outcome_of
from tests.vectors.raw_patch import RawPatch

_NEW_ROLES = (Role.PREDICTIONS, Role.DIGESTS, Role.FOLDS, Role.DIFF_LENGTHS, Role.EXTRA_LENGTHS, Role.SEEKS)
_OTHER_ROLES = (Role.ZEROS, Role.BASES, Role.LENGTHS, Role.OFFSETS, Role.REFERENCES)
_MOST_BITS = 7 * leb128.MAX_BYTES


def _flip(rng: random.Random, numbers: list[int], at: int) -> None:
    numbers[at] ^= 1 << rng.randrange(_MOST_BITS if rng.random() < 0.3 else 9)


def _step(rng: random.Random, numbers: list[int], at: int) -> None:
    numbers[at] = max(0, numbers[at] + rng.choice((-4, -2, -1, 1, 2, 4)))


def _edge(rng: random.Random, numbers: list[int], at: int) -> None:
    numbers[at] = max(0, (1 << rng.randrange(_MOST_BITS)) + rng.choice((-1, 0)))


def _duplicate(rng: random.Random, numbers: list[int], at: int) -> None:
    numbers[at:at] = numbers[at : at + rng.randint(1, 8)] * rng.choice((1, 1, 40))


def _delete(rng: random.Random, numbers: list[int], at: int) -> None:
    del numbers[at : at + rng.randint(1, 3)]


def _swap(rng: random.Random, numbers: list[int], at: int) -> None:
    other = rng.randrange(len(numbers))
    numbers[at], numbers[other] = numbers[other], numbers[at]


_CHANGES: tuple[Callable[[random.Random, list[int], int], None], ...] = (
    _flip,
    _step,
    _edge,
    _duplicate,
    _delete,
    _swap,
)


def numbers(rng: random.Random) -> str:
    """One to three numbers of a stream are others, more or fewer."""
    number = rng.randrange(len(second_format()))
    good, opened = second_format()[number], _opened(number)
    roles = [role for role in (_NEW_ROLES if rng.random() < 0.8 else _OTHER_ROLES) if opened.streams.get(role)]
    role = rng.choice(roles)
    listed = _listed(opened.streams[role])
    for _ in range(rng.randint(1, 3)):
        if listed:
            rng.choice(_CHANGES)(rng, listed, rng.randrange(len(listed)))
    changed = replace(opened, streams={**opened.streams, role: leb128.encode_all(listed)})
    return outcome_of(good, changed.to_bytes(), read_otherwise=not _is_mixed(good))


def mixed(rng: random.Random) -> str:
    """Damage to what the mixing decoders get, or to the items and numbers around them."""
    number = rng.randrange(1, len(second_format()))
    good, opened = second_format()[number], _opened(number)
    if rng.random() < 0.5:
        return outcome_of(good, _with_damaged_mixing(rng, good), read_otherwise=False)
    role = rng.choice([role for role in Role if opened.streams.get(role) and role is not Role.CONFIG])
    changed = replace(opened, streams={**opened.streams, role: mutated(rng, opened.streams[role])})
    return outcome_of(good, changed.to_bytes(), read_otherwise=False)


def _with_damaged_mixing(rng: random.Random, good: GoodPatch) -> bytes:
    rows = _header(good).streams
    end, places = len(good.patch), []
    for row in reversed(rows):
        if row.coder in NATIVE_CODERS:
            places.append((end - row.coded_bytes, end))
        end -= row.coded_bytes
    start, end = rng.choice(places)
    damaged = bytearray(good.patch)
    for _ in range(rng.randint(1, 3)):
        damaged[rng.randrange(start, end)] = rng.randrange(256)
    return bytes(damaged)


def _is_mixed(good: GoodPatch) -> bool:
    return any(row.coder in NATIVE_CODERS for row in _header(good).streams)


@cache
def _opened(number: int) -> RawPatch:
    return second_format()[number].laid_open()


def _header(good: GoodPatch) -> PatchHeader:
    return read_patch_header(io.BytesIO(good.patch))


def _listed(data: bytes) -> list[int]:
    listed, at = [], 0
    while at < len(data):
        value, at = leb128.decode(data, at)
        listed.append(value)
    return listed
