"""Raw streams become coded ones, as planned: large ones segment by segment, small ones in their shortest form."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import brotli

from imagedelta.delta.content import BytesReader, Extent
from imagedelta.delta.encode import dictionary_lzma
from imagedelta.delta.encode.codings import Coding, Programs, Segment, mixed
from imagedelta.delta.encode.job_queue import Job, JobQueue, in_order
from imagedelta.delta.encode.samples import SAMPLE_BYTES, sample
from imagedelta.delta.encode.spools import RawStreams, spooled_file
from imagedelta.delta.encode.stream_plans import StreamPlan
from imagedelta.delta.encode.tunings import CODE_TUNING, best_tuned, tuned
from imagedelta.delta.format.coders import (
    BROTLI,
    LZMA2_DICTIONARY,
    MAX_WINDOW_LOG,
    MIN_DICTIONARY,
    MIN_WINDOW_LOG,
    RAW,
    Params,
    coder,
)
from imagedelta.delta.format.header import PatchStream
from imagedelta.delta.format.roles import Role
from imagedelta.limits import KIB, MIB

_BROTLI_ROLES = frozenset({Role.TEXT, Role.LITERAL})
_TINY = 64 * KIB
"""Every stream up to this size is tried with Brotli."""
_CODED_UNDER_WAY = 32
_CODED_IN_MEMORY = 256 * KIB


@dataclass(frozen=True, slots=True)
class Coded:
    """A coded stream and the file with its bytes."""

    stream: PatchStream
    data: BinaryIO


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
    segment = Segment(raw, sum(plan.segments[:number]), number == len(plan.segments) - 1)
    plan.coding.code(segment, plan.dictionary, out)


def code_small(plan: StreamPlan, raw: Extent) -> Coded:
    """Return a small stream in its shortest form."""
    data = raw.whole()
    number, params, packed = min(_candidates(plan, raw, data), key=_cost)
    return Coded(PatchStream(plan.role, number, params, len(data), len(packed)), io.BytesIO(packed))


def _candidates(plan: StreamPlan, raw: Extent, data: bytes) -> Iterator[tuple[int, Params, bytes]]:
    yield RAW, Params(), data
    codings: list[Coding] = [*tuned(plan.has_code)]
    if len(data) > SAMPLE_BYTES:
        codings = [best_tuned(sample([raw]), plan.has_code)]
    if plan.has_programs:
        codings.append(Programs(CODE_TUNING))
    if plan.bits:
        codings.append(mixed(plan.bits, plan.has_programs))
    for coding in codings:
        yield coding.coder, coding.params(plan.dictionary), coding.pack(data, plan.dictionary)
    if plan.may_brotli and (plan.role in _BROTLI_ROLES or len(data) <= _TINY):
        window = _window_log(plan.dictionary)
        yield BROTLI, Params(window_log=window), brotli.compress(data, quality=11, lgwin=window)


def code_config(config: bytes, dictionary: bytes) -> Coded:
    """Return the stream of the config, coded against that of the first source, if there is one."""
    dictionary_bytes = max(MIN_DICTIONARY, len(dictionary) + len(config))
    if dictionary and dictionary_lzma.can_compress():
        packed = dictionary_lzma.compress(dictionary, config, dictionary_bytes)
        params = Params(dictionary_bytes=dictionary_bytes)
        return Coded(PatchStream(Role.CONFIG, LZMA2_DICTIONARY, params, len(config), len(packed)), io.BytesIO(packed))
    plan = StreamPlan(Role.CONFIG, dictionary_bytes, (len(config),), None)
    return code_small(plan, Extent(BytesReader(config), 0, len(config)))


def _window_log(dictionary: int) -> int:
    """Return the largest Brotli window that takes no more memory than the dictionary, unless it is tiny."""
    return max(MIN_WINDOW_LOG, min(MAX_WINDOW_LOG, dictionary.bit_length() - 1))


def _cost(candidate: tuple[int, Params, bytes]) -> int:
    number, params, packed = candidate
    return len(packed) + len(coder(number).write_params(params))
