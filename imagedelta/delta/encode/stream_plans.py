"""Which coding a raw stream gets, with which parameters, within the device's memory.

Small streams are coded with every coding and tuning when their time comes, and the shortest is kept; large ones with
what a sample says. Dictionaries share the profile's decoder memory: the small streams get all they can use, the rest
is divided among the large ones. Once streams are planned, any thread, process or machine may code any segment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from imagedelta.delta.encode.codings import Coding, Programs, mixed
from imagedelta.delta.encode.job_queue import Job, JobQueue
from imagedelta.delta.encode.samples import SAMPLE_BYTES, sample
from imagedelta.delta.encode.spools import RawStreams
from imagedelta.delta.encode.stream_memory import Division, divide
from imagedelta.delta.encode.tunings import best_tuned
from imagedelta.delta.format.coders import Params, coder
from imagedelta.delta.format.header import PatchStream
from imagedelta.delta.format.profiles import Profile
from imagedelta.delta.format.roles import Role
from imagedelta.limits import MIB

_SMALL_BYTES = 2 * MIB
"""Up to this raw size several codings are tried."""
_IN_MEMORY_BYTES = {Role.DIFF: 16 * MIB, Role.TEXT: 4 * MIB}
"""Larger sizes up to which streams are read into memory all the same: differences are mostly zeros, so that
several codings are quick, and text gains most by Brotli."""
_ENCODER_FACTOR = 11
"""liblzma's encoder takes so many times its dictionary."""
_CLEARLY = 0.97
"""On a sample, the native coder must be so much shorter to be taken for a long stream, whose beginning it forgets."""


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
        tables = coder(mixed(self.bits, self.has_programs).coder).memory(Params(bits=self.bits)) if self.bits else 0
        return _ENCODER_FACTOR * self.dictionary + 4 * min(self.bytes, 16 * MIB) + tables

    def stream(self, coded_bytes: int) -> PatchStream:
        """Return the entry of a stream that is coded in segments."""
        assert self.coding  # noqa: S101 - small streams choose their coder when they are coded
        return PatchStream(self.role, self.coding.coder, self.coding.params(self.dictionary), self.bytes, coded_bytes)


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

    jobs = [Job(partial(plan, role), _ENCODER_FACTOR * SAMPLE_BYTES) for role in sizes]
    return [planned.result() for planned in [queue.submit(job) for job in jobs]]


def _plan(raw: RawStreams, role: Role, segments: tuple[int, ...], division: Division, has_code: bool) -> StreamPlan:
    dictionary, bits, has_programs = division.dictionary(role), division.bits(role), role is division.programs
    if len(segments) == 1 and segments[0] <= _IN_MEMORY_BYTES.get(role, _SMALL_BYTES):
        may_brotli = role not in division.sparing
        return StreamPlan(role, dictionary, segments, None, bits, has_programs, may_brotli, has_code)
    data = sample([raw.segment(role, number) for number in range(len(segments))])
    best = best_tuned(data, has_code)
    alone = Programs(best.tuning) if has_programs else best
    native = mixed(bits, has_programs) if bits else None
    mixes = native and len(native.pack(data, dictionary)) < _CLEARLY * len(alone.pack(data, dictionary))
    return StreamPlan(role, dictionary, segments, native if mixes else alone, bits)
