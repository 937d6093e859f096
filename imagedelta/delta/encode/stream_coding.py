"""Coding the raw streams of a patch: which coder, with which parameters, within the device's memory.

Small streams are coded with every coder and tuning, and the shortest is kept; large ones with what measured best on
their kind (docs/adr/0009), segment by segment. Dictionaries share the profile's decoder memory: the small streams get
all they can use, the rest is divided among the large ones. Streams are planned first; then any thread, process or
machine may code any segment.
"""

from __future__ import annotations

import io
import lzma
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import brotli

from imagedelta.delta.content import BytesReader, Extent
from imagedelta.delta.encode import dictionary_lzma
from imagedelta.delta.encode.job_queue import Job, JobQueue, in_order
from imagedelta.delta.encode.spools import RawStreams, spooled_file
from imagedelta.delta.encode.stream_memory import Division, divide
from imagedelta.delta.format import mixing
from imagedelta.delta.format.coders import (
    BROTLI,
    CODE_FRAME,
    LZMA2,
    LZMA2_DICTIONARY,
    LZMA2_X86,
    MAX_WINDOW_LOG,
    MIN_DICTIONARY,
    MIN_WINDOW_LOG,
    MIXED_BYTES,
    MIXED_PROGRAMS,
    PLAIN_FRAME,
    PROGRAMS,
    RAW,
    Params,
    coder,
    lzma2_filters,
    program_form,
)
from imagedelta.delta.format.header import PatchStream
from imagedelta.delta.format.profiles import Profile
from imagedelta.delta.format.roles import Role
from imagedelta.limits import KIB, MIB

_SMALL_BYTES = 2 * MIB
"""Up to this raw size several codings are tried."""
_IN_MEMORY_BYTES = {Role.DIFF: 16 * MIB, Role.TEXT: 4 * MIB}
"""Larger sizes up to which streams are read into memory all the same: differences are mostly zeros, so that
several codings are quick, and text gains most by Brotli."""
_BROTLI_ROLES = frozenset({Role.TEXT, Role.LITERAL})
_TINY = 64 * KIB
"""Every stream up to this size is tried with Brotli."""
_SAMPLE_BLOCKS, _SAMPLE_BLOCK = 4, 128 * KIB
"""Of a longer stream, coder and tuning are chosen by a sample of so many blocks of so many bytes."""
_TUNINGS: tuple[dict[str, int], ...] = (
    {},
    {"lc": 0, "lp": 0, "pb": 0},
    {"lc": 4, "lp": 0, "pb": 0},
    {"lc": 0, "lp": 1, "pb": 1},
    {"lc": 1, "lp": 1, "pb": 0},
)
_CODE_TUNING = {"lc": 0, "lp": 1, "pb": 1}
_ENCODER_FACTOR = 11
"""liblzma's encoder takes so many times its dictionary."""
_PLANNING_BYTES = _ENCODER_FACTOR * _SAMPLE_BLOCKS * _SAMPLE_BLOCK
_CLEARLY = 0.97
"""On a sample, the native coder must be so much shorter to be taken for a long stream, whose beginning it forgets."""
_END_MARK = 1
"""Bytes at the end of an LZMA2 stream that say that it ends."""
_CODED_UNDER_WAY = 32
_CODED_IN_MEMORY = 256 * KIB


@dataclass(frozen=True, slots=True)
class Lzma2:
    """A coder of LZMA2 and its tuning."""

    coder: int
    tuning: Mapping[str, int] = field(default_factory=dict)

    def filters(self, dictionary: int) -> list[dict[str, Any]]:
        """Return liblzma's filter chain for writing."""
        strongest: dict[str, Any] = {"preset": 9 | lzma.PRESET_EXTREME, **self.tuning}
        return lzma2_filters(dictionary, self.coder == LZMA2_X86, **strongest)

    def pack(self, data: bytes, dictionary: int) -> bytes:
        """Return all of a stream, coded."""
        return lzma.compress(data, lzma.FORMAT_RAW, filters=self.filters(dictionary))

    def params(self, dictionary: int) -> Params:
        """Return what the stream table says beside the coder."""
        return Params(dictionary_bytes=dictionary)

    def code(self, plan: StreamPlan, number: int, raw: Extent, out: BinaryIO) -> None:
        """Append a segment; only the last one has an end mark, so that they make one stream when joined."""
        filters = self.filters(plan.dictionary)
        if self.coder == LZMA2_X86:
            filters[0]["start_offset"] = sum(plan.segments[:number])
        packer = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=filters)
        for block in raw.pieces(0, raw.size):
            out.write(packer.compress(block))
        last = number == len(plan.segments) - 1
        out.write(packer.flush() if last else packer.flush()[:-_END_MARK])


@dataclass(frozen=True, slots=True)
class Programs:
    """A coder of programs, whose code and tables are brought into a form that packs better, and its tuning."""

    tuning: Mapping[str, int] = field(default_factory=dict)
    coder: int = PROGRAMS

    def pack(self, data: bytes, dictionary: int) -> bytes:
        """Return all of a stream, coded."""
        return min((self._frame(data, dictionary, has_code) for has_code in (False, True)), key=len)

    def params(self, dictionary: int) -> Params:
        """See ``Lzma2``."""
        return Params(dictionary_bytes=dictionary)

    def code(self, plan: StreamPlan, number: int, raw: Extent, out: BinaryIO) -> None:
        """Append a segment, a frame of its own; by a sample of it, whether it has code."""
        for block in self._blocks(raw.pieces(0, raw.size), plan.dictionary, self.find_code(_sample([raw]))):
            out.write(block)

    def find_code(self, data: bytes) -> bool:
        """Return whether code for x86-64 in these bytes is worth another form."""
        return self.pack(data, max(MIN_DICTIONARY, len(data)))[0] == CODE_FRAME

    def _frame(self, data: bytes, dictionary: int, has_code: bool) -> bytes:
        return b"".join(self._blocks(iter([data]), dictionary, has_code))

    def _blocks(self, pieces: Iterator[bytes], dictionary: int, has_code: bool) -> Iterator[bytes]:
        packer = lzma.LZMACompressor(
            lzma.FORMAT_RAW, filters=Lzma2(LZMA2_X86 if has_code else LZMA2, self.tuning).filters(dictionary)
        )
        yield bytes([CODE_FRAME if has_code else PLAIN_FRAME])
        for piece in program_form(pieces, has_code, undo=False):
            yield packer.compress(piece)
        yield packer.flush()


@dataclass(frozen=True, slots=True)
class Mixed:
    """The native coder of new bytes, and the size of its tables."""

    bits: int
    coder: int = MIXED_BYTES

    def pack(self, data: bytes) -> bytes:
        """Return all of a stream, coded."""
        coded = b"".join(mixing.native().encode_bytes([data], self.bits))
        return mixing.frame_head(len(data), len(coded)) + coded

    def params(self, dictionary: int) -> Params:
        """See ``Lzma2``."""
        return Params(bits=self.bits)

    def code(self, plan: StreamPlan, number: int, raw: Extent, out: BinaryIO) -> None:
        """Append a segment, a frame of its own."""
        out.write(self.pack(raw.whole()))


@dataclass(frozen=True, slots=True)
class MixedPrograms:
    """The native coder of programs in the form that packs better, and the size of its tables."""

    bits: int
    coder: int = MIXED_PROGRAMS

    def pack(self, data: bytes) -> bytes:
        """Return all of a stream, coded."""
        return b"".join(self._frame(iter([data]), len(data), Programs().find_code(data)))

    def params(self, dictionary: int) -> Params:
        """See ``Lzma2``."""
        return Params(bits=self.bits)

    def code(self, plan: StreamPlan, number: int, raw: Extent, out: BinaryIO) -> None:
        """Append a segment, a frame of its own; by a sample of it, whether it has code."""
        for block in self._frame(raw.pieces(0, raw.size), raw.size, Programs().find_code(_sample([raw]))):
            out.write(block)

    def _frame(self, pieces: Iterator[bytes], size: int, has_code: bool) -> Iterator[bytes]:
        formed = program_form(pieces, has_code, undo=False)
        coded = b"".join(mixing.native().encode_bytes(formed, self.bits))
        yield bytes([CODE_FRAME if has_code else PLAIN_FRAME])
        yield mixing.frame_head(size, len(coded))
        yield coded


Coding = Lzma2 | Programs | Mixed | MixedPrograms


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """How a raw stream is coded."""

    role: Role
    dictionary: int
    segments: tuple[int, ...]
    """Raw bytes of each."""
    coding: Coding | None
    """``None`` for a small stream, of which several codings are tried."""
    bits: int = 0
    """Of the tables of the native coder; 0 where it is not tried."""
    has_programs: bool = False
    """Whether the coder of programs is tried."""
    may_brotli: bool = True
    """Whether Brotli may be tried."""
    has_code: bool = False
    """Whether the x86 filter is tried."""

    @property
    def bytes(self) -> int:
        """Of the raw stream."""
        return sum(self.segments)

    @property
    def memory_bytes(self) -> int:
        """About what coding a segment takes."""
        mixed = _mixing_bytes(self.bits, self.has_programs) if self.bits else 0
        return _ENCODER_FACTOR * self.dictionary + 4 * min(self.bytes, 16 * MIB) + mixed

    def stream(self, coded_bytes: int) -> PatchStream:
        """Return the entry of a stream that is coded in segments."""
        assert self.coding  # noqa: S101 - small streams choose their coder when they are coded
        return PatchStream(self.role, self.coding.coder, self.coding.params(self.dictionary), self.bytes, coded_bytes)


@dataclass(frozen=True, slots=True)
class Coded:
    """A coded stream and the file with its bytes."""

    stream: PatchStream
    data: BinaryIO


def plan_streams(
    raw: RawStreams,
    sizes: Mapping[Role, tuple[int, ...]],
    budget: int,
    profile: Profile,
    queue: JobQueue,
    most_mixed: int = 0,
) -> list[StreamPlan]:
    """Return how each stream is coded.

    Args:
        sizes: Bytes of each segment of each stream.
        budget: Bytes that all decoders together may take.
        most_mixed: Bytes of a stream that the native coder may code at most.
    """
    division = divide({role: sum(segments) for role, segments in sizes.items()}, budget, profile, most_mixed)

    def plan(role: Role) -> StreamPlan:
        has_code = role is Role.CODE or (profile.second_format and role is Role.EXTRA and len(sizes[role]) == 1)
        return _plan(raw, role, sizes[role], division, has_code)

    jobs = [Job(partial(plan, role), _PLANNING_BYTES) for role in sizes]
    return [planned.result() for planned in [queue.submit(job) for job in jobs]]


def _plan(raw: RawStreams, role: Role, segments: tuple[int, ...], division: Division, has_code: bool) -> StreamPlan:
    dictionary, bits, has_programs = division.dictionary(role), division.bits(role), role is division.programs
    if len(segments) == 1 and segments[0] <= _IN_MEMORY_BYTES.get(role, _SMALL_BYTES):
        may_brotli = role not in division.sparing
        return StreamPlan(role, dictionary, segments, None, bits, has_programs, may_brotli, has_code)
    sample = _sample([raw.segment(role, number) for number in range(len(segments))])
    best = _best(sample, has_code)
    alone = Programs(best.tuning) if has_programs else best
    mixed = _mixed(bits, has_programs) if bits else None
    mixes = mixed and len(mixed.pack(sample)) < _CLEARLY * len(alone.pack(sample, dictionary))
    return StreamPlan(role, dictionary, segments, mixed if mixes else alone, bits)


def _mixed(bits: int, has_programs: bool) -> Mixed | MixedPrograms:
    return MixedPrograms(bits) if has_programs else Mixed(bits)


def code_streams(
    plans: Sequence[StreamPlan], raw: RawStreams, scratch: Path, exits: ExitStack, queue: JobQueue
) -> list[Coded]:
    """Return every stream coded, in the given order; side by side as far as memory allows.

    Args:
        exits: Closes the scratch files.
    """
    jobs = (job for plan in plans for job in _jobs(plan, raw, scratch))
    coded = []
    parts = in_order(queue, jobs, _CODED_UNDER_WAY, drop=lambda part: part.data.close())
    for plan in plans:
        first = next(parts)
        exits.callback(first.data.close)
        coded.append(_joined(plan, first, parts) if len(plan.segments) > 1 else first)
    return coded


def _joined(plan: StreamPlan, first: Coded, following: Iterator[Coded]) -> Coded:
    """Append the other segments of a stream to its first."""
    out = first.data
    out.seek(0, io.SEEK_END)
    for _ in plan.segments[1:]:
        part = next(following).data
        with part:
            shutil.copyfileobj(part, out, MIB)
    stream = plan.stream(out.tell())
    out.seek(0)
    return Coded(stream, out)


def _jobs(plan: StreamPlan, raw: RawStreams, scratch: Path) -> Iterator[Job[Coded]]:
    if plan.coding is None:
        yield Job(lambda: code_small(plan, raw.segment(plan.role, 0)), plan.memory_bytes)
        return
    for number in range(len(plan.segments)):
        yield Job(partial(_spooled_segment, plan, number, raw, scratch), plan.memory_bytes)


def _spooled_segment(plan: StreamPlan, number: int, raw: RawStreams, scratch: Path) -> Coded:
    out = spooled_file(scratch, _CODED_IN_MEMORY)
    try:
        code_segment(plan, number, raw.segment(plan.role, number), out)
    except BaseException:
        out.close()
        raise
    stream = plan.stream(out.tell())
    out.seek(0)
    return Coded(stream, out)


def code_segment(plan: StreamPlan, number: int, raw: Extent, out: BinaryIO) -> None:
    """Append a segment, coded so that they make one stream when joined."""
    assert plan.coding  # noqa: S101 - only large streams have more than one segment
    plan.coding.code(plan, number, raw, out)


def code_small(plan: StreamPlan, raw: Extent) -> Coded:
    """Return a small stream in its shortest form."""
    data = raw.whole()
    number, params, packed = min(_candidates(plan, raw, data), key=_cost)
    return Coded(PatchStream(plan.role, number, params, len(data), len(packed)), io.BytesIO(packed))


def _candidates(plan: StreamPlan, raw: Extent, data: bytes) -> Iterator[tuple[int, Params, bytes]]:
    yield RAW, Params(), data
    candidates = _tuned(plan.has_code)
    if len(data) > _SAMPLE_BLOCKS * _SAMPLE_BLOCK:
        candidates = [_best(_sample([raw]), plan.has_code)]
    for lzma2 in candidates:
        yield lzma2.coder, lzma2.params(plan.dictionary), lzma2.pack(data, plan.dictionary)
    if plan.has_programs:
        programs = Programs(_CODE_TUNING)
        yield programs.coder, programs.params(plan.dictionary), programs.pack(data, plan.dictionary)
    if plan.may_brotli and (plan.role in _BROTLI_ROLES or len(data) <= _TINY):
        window = _window_log(plan.dictionary)
        yield BROTLI, Params(window_log=window), brotli.compress(data, quality=11, lgwin=window)
    if plan.bits:
        mixed = _mixed(plan.bits, plan.has_programs)
        yield mixed.coder, mixed.params(0), mixed.pack(data)


def code_config(config: bytes, dictionary: bytes) -> Coded:
    """Return the stream of the config, coded against that of the first source, if there is one."""
    dictionary_bytes = max(MIN_DICTIONARY, len(dictionary) + len(config))
    if dictionary and dictionary_lzma.can_compress():
        packed = dictionary_lzma.compress(dictionary, config, dictionary_bytes)
        params = Params(dictionary_bytes=dictionary_bytes)
        return Coded(PatchStream(Role.CONFIG, LZMA2_DICTIONARY, params, len(config), len(packed)), io.BytesIO(packed))
    plan = StreamPlan(Role.CONFIG, dictionary_bytes, (len(config),), None)
    return code_small(plan, Extent(BytesReader(config), 0, len(config)))


def _mixing_bytes(bits: int, has_programs: bool) -> int:
    return coder(_mixed(bits, has_programs).coder).memory(Params(bits=bits))


def _tuned(has_code: bool) -> list[Lzma2]:
    coders = (LZMA2_X86, LZMA2) if has_code else (LZMA2,)
    return [Lzma2(number, tuning) for number in coders for tuning in _TUNINGS]


def _best(sample: bytes, has_code: bool) -> Lzma2:
    """Return what packs a sample best, the first of equals."""
    dictionary = max(MIN_DICTIONARY, len(sample))
    return min(_tuned(has_code), key=lambda lzma2: len(lzma2.pack(sample, dictionary)))


def _sample(segments: Sequence[Extent]) -> bytes:
    """Return blocks that are spread over a stream."""
    size = sum(segment.size for segment in segments)
    middles = (size * (2 * number + 1) // (2 * _SAMPLE_BLOCKS) for number in range(_SAMPLE_BLOCKS))
    places = (max(0, middle - _SAMPLE_BLOCK // 2) for middle in middles)
    return b"".join(_read_across(segments, place, min(_SAMPLE_BLOCK, size - place)) for place in places)


def _read_across(segments: Sequence[Extent], offset: int, length: int) -> bytes:
    """Read from segments as if they were one file."""
    parts = []
    for segment in segments:
        if offset < segment.size and length:
            parts.append(segment.read_at(offset, min(length, segment.size - offset)))
            length -= len(parts[-1])
        offset = max(0, offset - segment.size)
    return b"".join(parts)


def _window_log(dictionary: int) -> int:
    """Return the largest Brotli window that takes no more memory than the dictionary, unless it is tiny."""
    return max(MIN_WINDOW_LOG, min(MAX_WINDOW_LOG, dictionary.bit_length() - 1))


def _cost(candidate: tuple[int, Params, bytes]) -> int:
    number, params, packed = candidate
    return len(packed) + len(coder(number).write_params(params))
