"""Coding the raw streams of a patch: which coder, with which parameters, within the device's memory.

Small streams are coded in every way and the shortest is kept; large ones by LZMA2 alone, which is the best
generic coder on these streams. Dictionaries share the profile's decoder memory: the small streams get all
they can use, the rest is divided among the large ones.
"""

from __future__ import annotations

import io
import lzma
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import zstandard

from imagedelta.delta.coders import (
    LZMA2,
    LZMA2_X86,
    RAW,
    ZSTD,
    ZSTD_STRUCTURE,
    Params,
    coder,
    lzma2_filters,
    zstd_dictionary,
)
from imagedelta.delta.header import PatchStream
from imagedelta.delta.profiles import Profile
from imagedelta.delta.roles import Role
from imagedelta.limits import MIB

SMALL_BYTES = 2 * MIB
"""Up to this raw size several codings are tried."""
_HELD_BYTES = {Role.STRUCTURE: 32 * MIB, Role.DIFF: 16 * MIB}
"""Larger sizes up to which streams are held in memory all the same: structure to be coded against the source's,
differences because they are mostly zeros, so that several codings are quick."""
_MIN_DICTIONARY = 4096
_ZSTD_MAX = 128 * 1024
_ZSTD_LEVEL = 19
_TUNINGS: tuple[dict[str, int], ...] = ({}, {"lc": 0, "lp": 0, "pb": 0}, {"lc": 4, "lp": 0, "pb": 0})


@dataclass(frozen=True, slots=True)
class Coded:
    """A coded stream and the file that holds its bytes."""

    stream: PatchStream
    data: BinaryIO


@dataclass(frozen=True, slots=True)
class StructureDictionary:
    """Source structure that both sides can make: numbers of source layers and the bytes they give."""

    layers: tuple[int, ...]
    data: bytes


def code_streams(
    raw: Sequence[tuple[Role, BinaryIO, int]],
    structure: StructureDictionary | None,
    profile: Profile,
    scratch: Path,
    exits: ExitStack,
) -> Iterator[Coded]:
    """Yield every stream coded, in the given order.

    Args:
        raw: (role, rewound file, size).
        exits: Closes the scratch files.
    """
    budget = profile.decoder_bytes
    if structure and any(role is Role.STRUCTURE for role, _, _ in raw):
        # Reserved at its largest, whichever coder wins.
        budget -= coder(ZSTD_STRUCTURE).memory(_structure_params(structure, profile.structure_bytes, profile))
    dictionaries = share_memory([(role, size) for role, _, size in raw], budget, profile)
    for role, stream, size in raw:
        if size > _HELD_BYTES.get(role, SMALL_BYTES):
            out = exits.enter_context(_scratch_file(scratch))
            yield _code_large(role, stream, size, dictionaries[role], out)
        else:
            yield _code_small(role, stream.read(), dictionaries[role], structure, profile)


def share_memory(sizes: Sequence[tuple[Role, int]], budget: int, profile: Profile) -> dict[Role, int]:
    """Divide ``budget`` bytes of decoder memory into LZMA2 dictionaries, smallest stream first."""
    overhead = coder(LZMA2).memory(Params())
    left = budget - len(sizes) * overhead
    shares = {}
    for place, (role, size) in enumerate(sorted(sizes, key=lambda item: (item[1], item[0]))):
        fair = left // (len(sizes) - place)
        shares[role] = max(_MIN_DICTIONARY, min(size, fair, profile.max_dictionary_bytes))
        left -= shares[role]
    return shares


def _code_large(role: Role, stream: BinaryIO, size: int, dictionary: int, out: BinaryIO) -> Coded:
    number, filters = _lzma(role, dictionary, {})
    packer = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=filters)
    while block := stream.read(MIB):
        out.write(packer.compress(block))
    out.write(packer.flush())
    coded = PatchStream(role, number, Params(dictionary_bytes=dictionary), size, out.tell())
    out.seek(0)
    return Coded(coded, out)


def _code_small(
    role: Role, data: bytes, dictionary: int, structure: StructureDictionary | None, profile: Profile
) -> Coded:
    candidates = [(RAW, Params(), data)]
    for tuning in _TUNINGS if role is not Role.STRUCTURE or len(data) <= SMALL_BYTES else _TUNINGS[:1]:
        number, filters = _lzma(role, dictionary, tuning)
        packed = lzma.compress(data, lzma.FORMAT_RAW, filters=filters)
        candidates.append((number, Params(dictionary_bytes=dictionary), packed))
    if len(data) <= _ZSTD_MAX:
        params = Params(window_log=_window_log(len(data)))
        candidates.append((ZSTD, params, _zstd(data, params, b"")))
    if structure and role is Role.STRUCTURE:
        params = _structure_params(structure, len(data), profile)
        candidates.append((ZSTD_STRUCTURE, params, _zstd(data, params, structure.data)))
    number, params, packed = min(candidates, key=_cost)
    return Coded(PatchStream(role, number, params, len(data), len(packed)), _in_memory(packed))


def _cost(candidate: tuple[int, Params, bytes]) -> int:
    number, params, packed = candidate
    return len(packed) + len(coder(number).write_params(params))


def _lzma(role: Role, dictionary: int, tuning: dict[str, int]) -> tuple[int, list[dict[str, Any]]]:
    number = LZMA2_X86 if role is Role.CODE else LZMA2
    strongest: dict[str, Any] = {"preset": 9 | lzma.PRESET_EXTREME, **tuning}
    return number, lzma2_filters(dictionary, number == LZMA2_X86, **strongest)


def _structure_params(structure: StructureDictionary, size: int, profile: Profile) -> Params:
    # The window spans dictionary and data, so that any of both can still be pointed into.
    window = min(len(structure.data) + size, 2 * profile.structure_bytes)
    return Params(profile.structure_bytes, _window_log(window), structure.layers)


def _window_log(size: int) -> int:
    return max(10, (max(1, size) - 1).bit_length())


def _zstd(data: bytes, params: Params, dictionary: bytes) -> bytes:
    settings = zstandard.ZstdCompressionParameters.from_level(
        _ZSTD_LEVEL,
        window_log=params.window_log,
        format=zstandard.FORMAT_ZSTD1_MAGICLESS,
        write_content_size=False,
        write_checksum=False,
        write_dict_id=False,
    )
    if not dictionary:
        return zstandard.ZstdCompressor(compression_params=settings).compress(data)
    known = zstd_dictionary(dictionary)
    return zstandard.ZstdCompressor(compression_params=settings, dict_data=known).compress(data)


def _in_memory(data: bytes) -> BinaryIO:
    return io.BytesIO(data)


def _scratch_file(scratch: Path) -> BinaryIO:
    return cast(BinaryIO, tempfile.TemporaryFile(dir=scratch))
