"""Coding the raw streams of a patch: which coder, with which parameters, within the device's memory.

Small streams are coded with every coder and tuning, and the shortest is kept; large ones with what measured best on
their kind (docs/adr/0009). Dictionaries share the profile's decoder memory: the small streams get all they can
use, the rest is divided among the large ones. Streams are coded side by side as far as memory allows; the
order in which they finish changes nothing.
"""

from __future__ import annotations

import io
import lzma
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import brotli

from imagedelta.delta.encode import dictionary_lzma
from imagedelta.delta.encode.job_queue import Job, JobQueue
from imagedelta.delta.format.coders import (
    BROTLI,
    LZMA2,
    LZMA2_DICTIONARY,
    LZMA2_X86,
    MAX_WINDOW_LOG,
    MIN_DICTIONARY,
    MIN_WINDOW_LOG,
    RAW,
    Params,
    coder,
    lzma2_filters,
)
from imagedelta.delta.format.header import PatchStream
from imagedelta.delta.format.profiles import Profile
from imagedelta.delta.format.roles import Role
from imagedelta.limits import MIB

_SMALL_BYTES = 2 * MIB
"""Up to this raw size several codings are tried."""
_IN_MEMORY_BYTES = {Role.DIFF: 16 * MIB, Role.TEXT: 4 * MIB}
"""Larger sizes up to which streams are read into memory all the same: differences are mostly zeros, so that
several codings are quick, and text gains most by Brotli."""
_BROTLI_ROLES = frozenset({Role.TEXT, Role.LITERAL})
_TINY = 64 * 1024
"""Every stream up to this size is tried with Brotli."""
_SAMPLE_BLOCKS, _SAMPLE_BLOCK = 4, 128 * 1024
"""Of a longer stream, coder and tuning are chosen by a sample of so many blocks of so many bytes."""
_TUNINGS: tuple[dict[str, int], ...] = (
    {},
    {"lc": 0, "lp": 0, "pb": 0},
    {"lc": 4, "lp": 0, "pb": 0},
    {"lc": 0, "lp": 1, "pb": 1},
    {"lc": 1, "lp": 1, "pb": 0},
)
_ENCODER_FACTOR = 11
"""liblzma's encoder takes so many times its dictionary."""

RawStream = tuple[Role, BinaryIO, int]
"""Role, rewound file, bytes."""


@dataclass(frozen=True, slots=True)
class Coded:
    """A coded stream and the file with its bytes."""

    stream: PatchStream
    data: BinaryIO


def code_streams(
    raw: Sequence[RawStream], budget: int, profile: Profile, scratch: Path, exits: ExitStack, queue: JobQueue
) -> list[Coded]:
    """Return every stream coded, in the given order.

    Args:
        budget: Bytes that all decoders together may take.
        exits: Closes the scratch files.
    """
    dictionaries = share_memory([(role, size) for role, _, size in raw], budget, profile)
    jobs: list[Future[Coded]] = []
    for role, stream, size in raw:
        job: Callable[[], Coded]
        if size > _IN_MEMORY_BYTES.get(role, _SMALL_BYTES):
            out = exits.enter_context(_scratch_file(scratch))
            job = _Large(role, stream, size, dictionaries[role], out)
        else:
            job = _Small(role, stream, dictionaries[role])
        jobs.append(queue.submit(Job(job, _ENCODER_FACTOR * dictionaries[role] + 4 * min(size, 16 * MIB))))
    return [job.result() for job in jobs]


def code_config(config: bytes, dictionary: bytes) -> Coded:
    """Return the stream of the config, coded against that of the first source, if there is one."""
    dictionary_bytes = max(MIN_DICTIONARY, len(dictionary) + len(config))
    if dictionary and dictionary_lzma.can_compress():
        packed = dictionary_lzma.compress(dictionary, config, dictionary_bytes)
        params = Params(dictionary_bytes=dictionary_bytes)
        return Coded(PatchStream(Role.CONFIG, LZMA2_DICTIONARY, params, len(config), len(packed)), io.BytesIO(packed))
    return _Small(Role.CONFIG, io.BytesIO(config), dictionary_bytes)()


def share_memory(sizes: Sequence[tuple[Role, int]], budget: int, profile: Profile) -> Mapping[Role, int]:
    """Divide ``budget`` bytes of decoder memory into dictionaries, smallest stream first."""
    overhead = max(coder(number).memory(Params()) for number in (LZMA2, BROTLI))
    left = budget - len(sizes) * overhead
    shares = {}
    for place, (role, size) in enumerate(sorted(sizes, key=lambda item: (item[1], item[0]))):
        fair = left // (len(sizes) - place)
        shares[role] = max(MIN_DICTIONARY, min(size, fair, profile.max_dictionary_bytes))
        left -= shares[role]
    return shares


@dataclass(frozen=True, slots=True)
class _Lzma2:
    """A coder of LZMA2 and its tuning."""

    coder: int
    tuning: dict[str, int]

    def filters(self, dictionary: int) -> list[dict[str, Any]]:
        strongest: dict[str, Any] = {"preset": 9 | lzma.PRESET_EXTREME, **self.tuning}
        return lzma2_filters(dictionary, self.coder == LZMA2_X86, **strongest)

    def pack(self, data: bytes, dictionary: int) -> bytes:
        return lzma.compress(data, lzma.FORMAT_RAW, filters=self.filters(dictionary))


def _tuned(role: Role) -> list[_Lzma2]:
    coders = (LZMA2_X86, LZMA2) if role is Role.CODE else (LZMA2,)
    return [_Lzma2(number, tuning) for number in coders for tuning in _TUNINGS]


def _best(role: Role, sample: bytes) -> _Lzma2:
    """Return what packs a sample best, the first of equals."""
    dictionary = max(MIN_DICTIONARY, len(sample))
    return min(_tuned(role), key=lambda lzma2: len(lzma2.pack(sample, dictionary)))


@dataclass(frozen=True, slots=True)
class _Large:
    role: Role
    stream: BinaryIO
    size: int
    dictionary: int
    out: BinaryIO

    def __call__(self) -> Coded:
        lzma2 = _best(self.role, _sample(self.stream, self.size))
        packer = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=lzma2.filters(self.dictionary))
        while block := self.stream.read(MIB):
            self.out.write(packer.compress(block))
        self.out.write(packer.flush())
        params = Params(dictionary_bytes=self.dictionary)
        coded = PatchStream(self.role, lzma2.coder, params, self.size, self.out.tell())
        self.out.seek(0)
        return Coded(coded, self.out)


@dataclass(frozen=True, slots=True)
class _Small:
    role: Role
    stream: BinaryIO
    dictionary: int

    def __call__(self) -> Coded:
        data = self.stream.read()
        number, params, packed = min(self._candidates(data), key=_cost)
        return Coded(PatchStream(self.role, number, params, len(data), len(packed)), io.BytesIO(packed))

    def _candidates(self, data: bytes) -> Iterator[tuple[int, Params, bytes]]:
        yield RAW, Params(), data
        candidates = _tuned(self.role)
        if len(data) > _SAMPLE_BLOCKS * _SAMPLE_BLOCK:
            candidates = [_best(self.role, _sample(self.stream, len(data)))]
        for lzma2 in candidates:
            yield lzma2.coder, Params(dictionary_bytes=self.dictionary), lzma2.pack(data, self.dictionary)
        if self.role in _BROTLI_ROLES or len(data) <= _TINY:
            window = _window_log(self.dictionary)
            yield BROTLI, Params(window_log=window), brotli.compress(data, quality=11, lgwin=window)


def _sample(stream: BinaryIO, size: int) -> bytes:
    """Return blocks that are spread over a stream of ``size`` bytes; it is left at its start."""
    blocks = []
    for number in range(_SAMPLE_BLOCKS):
        stream.seek(size * (2 * number + 1) // (2 * _SAMPLE_BLOCKS) - _SAMPLE_BLOCK // 2)
        blocks.append(stream.read(_SAMPLE_BLOCK))
    stream.seek(0)
    return b"".join(blocks)


def _window_log(dictionary: int) -> int:
    """Return the largest Brotli window that takes no more memory than the dictionary, unless it is tiny."""
    return max(MIN_WINDOW_LOG, min(MAX_WINDOW_LOG, dictionary.bit_length() - 1))


def _cost(candidate: tuple[int, Params, bytes]) -> int:
    number, params, packed = candidate
    return len(packed) + len(coder(number).write_params(params))


def _scratch_file(scratch: Path) -> BinaryIO:
    return cast(BinaryIO, tempfile.TemporaryFile(dir=scratch))
