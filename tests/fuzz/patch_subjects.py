"""Damaged patches, and good patches on damaged sources: refused with a code, or they make the very target."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

from imagedelta.delta import BytesReader, ImageContent, apply_patch
from imagedelta.delta.encode import verify_patch
from imagedelta.delta.format.roles import Role
from imagedelta.errors import ImageDeltaError
from tests.fuzz.good_patches import GoodPatch, good_patches, second_format
from tests.fuzz.mutations import mutated, spliced
from tests.unit.delta.patches import MemorySink, layers_of
from tests.vectors.raw_patch import RawPatch
from tests.vectors.reader import Patch

ACCEPTED = "accepted"
_BODY = 17
_BOUNDS = ("content.limit_exceeded", "patch.memory")
"""Refusals for rules that the second reader does not keep."""


def any_bytes(rng: random.Random) -> str:
    """A patch with damage anywhere; mostly its checksum finds it."""
    good, other = rng.choice(good_patches()), rng.choice(good_patches())
    if rng.random() < 0.1:
        return outcome_of(good, spliced(rng, good.patch, other.patch))
    return outcome_of(good, mutated(rng, good.patch))


def head(rng: random.Random) -> str:
    """A damaged head under a right checksum."""
    good = rng.choice(good_patches())
    end = _BODY + int.from_bytes(good.patch[9:13], "little")
    body = mutated(rng, good.patch[_BODY:end])
    prefix = good.patch[:9] + struct.pack("<II", len(body), zlib.crc32(body))
    return outcome_of(good, prefix + body + good.patch[end:])


def coded_streams(rng: random.Random) -> str:
    """A right head, and damage to what the decoders get."""
    good = rng.choice(good_patches())
    start = _BODY + int.from_bytes(good.patch[9:13], "little")
    coded = bytearray(good.patch[start:])
    for _ in range(rng.randint(1, 4)):
        coded[rng.randrange(len(coded))] = rng.randrange(256)
    return outcome_of(good, good.patch[:start] + bytes(coded))


def raw_streams(rng: random.Random) -> str:
    """Everything decodes: damage to items, numbers, columns and data themselves."""
    number = rng.randrange(len(good_patches()))
    good, opened = good_patches()[number], _opened(number)
    roles = [role for role in Role if opened.streams.get(role) and role is not Role.CONFIG]
    changed = dict(opened.streams)
    for _ in range(rng.randint(1, 2)):
        role = rng.choice(roles or [Role.CONFIG])
        changed[role] = mutated(rng, changed[role])
    return outcome_of(good, replace(opened, streams=changed).to_bytes())


def sources(rng: random.Random) -> str:
    """A good patch where layers or configs of the sources have other bytes."""
    good = rng.choice([each for each in good_patches() if each.sources])
    layers, configs = dict(good.source_layers), dict(good.source_configs)
    damaged = layers if rng.random() < 0.8 else configs
    name = rng.choice(sorted(damaged))
    damaged[name] = mutated(rng, damaged[name])
    return _applied(good, good.patch, layers, configs)


@cache
def _opened(number: int) -> RawPatch:
    return good_patches()[number].laid_open()


def outcome_of(good: GoodPatch, patch: bytes, *, read_otherwise: bool = True) -> str:
    """Hold that apply, verification and the second reader agree on a patch.

    Args:
        read_otherwise: Whether the second reader is asked, which takes milliseconds for each mixed byte.
    """
    outcome = _applied(good, patch, good.source_layers, good.source_configs)
    assert _verified(good, patch) == (outcome == ACCEPTED), f"verification says otherwise than {outcome}"
    if read_otherwise and outcome not in _BOUNDS:
        assert _read_otherwise(good, patch) == (outcome == ACCEPTED), f"the second reader says otherwise than {outcome}"
    return outcome


def _read_otherwise(good: GoodPatch, patch: bytes) -> bool:
    """Return whether the second reader takes a patch; it must make the target then."""
    try:
        read = Patch(patch, dict(good.source_layers), dict(good.source_configs)).apply()
    except Exception:  # it refuses by whatever fails in it
        return False
    assert read == (good.target.image.config, layers_of(good.target)), "the second reader accepts another image"
    return True


def _applied(good: GoodPatch, patch: bytes, layers: Mapping[str, bytes], configs: Mapping[str, bytes]) -> str:
    sink, expected = MemorySink(), layers_of(good.target)
    readers = {diff_id: BytesReader(tar) for diff_id, tar in layers.items()}
    try:
        image = apply_patch(io.BytesIO(patch), readers.__getitem__, configs.__getitem__, sink)
    except ImageDeltaError as error:
        assert not sink.half_done, "a layer is left half-done"
        assert sink.layers.items() <= expected.items(), "a wrong layer was committed"
        return error.code
    assert (image.config, sink.layers) == (good.target.image.config, expected), "another image was accepted"
    return ACCEPTED


def _verified(good: GoodPatch, patch: bytes) -> bool:
    target, known = _contents(good.name)
    try:
        verify_patch(io.BytesIO(patch), target, known)
    except ImageDeltaError:
        return False
    return True


@cache
def _contents(name: str) -> tuple[ImageContent, list[ImageContent]]:
    every = [*good_patches(), *second_format()]
    return next(good.contents() for good in every if good.name == name)
