"""A patch that takes many steps: each makes a part, bounded in time, memory and disk, and keeps it in blob scratch.

1. ``pieces.FIRST.LAST``: what the engine's chunks from FIRST to LAST came to.
2. ``raw.ROLE.NUMBER``, ``whole.ROLE``, then ``joined``: pieces become raw streams, cut into segments.
3. ``coded.ROLE.NUMBER``: each segment, coded.
4. ``patch``: the storage joins them; the patch is proved and published.

A step does what is missing, so one that died is simply begun again. Nothing is deleted before the end: what turns out
to be damaged is made anew from what it came from.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from activities.build_joining import keep_patch
from activities.build_scratch import BuildScratch, DamagedScratch, Part, own_part
from activities.build_whole import Built
from imagedelta.delta import BytesReader, ImageContent
from imagedelta.delta.content import Extent, FileReader
from imagedelta.delta.encode import verify_patch
from imagedelta.delta.encode.build import AT_ONCE, Build, job_queue
from imagedelta.delta.encode.job_queue import Job, in_order
from imagedelta.delta.encode.joined import Joined
from imagedelta.delta.encode.spools import spooled_file
from imagedelta.delta.encode.stream_coding import Coded, code_segment, code_small
from imagedelta.delta.encode.stream_plans import StreamPlan
from imagedelta.delta.format.header import PatchStream, header_to_bytes
from imagedelta.delta.format.roles import Role
from imagedelta.limits import KIB, MIB

_PART_BYTES = 32 * MIB
"""Pieces of so many bytes are kept at once, and a chunk more."""
_AHEAD = 8
"""Chunks that lie on this machine's disk before their turn; the largest have a window of a file, or a whole one."""
_CODED_AHEAD = 2
_IN_MEMORY = 256 * KIB


class PartsBuild:
    """One step of a build."""

    def __init__(self, build: Build, scratch: BuildScratch, folder: Path, go_on: Callable[[], bool]) -> None:
        """Args:
        folder: On this machine's disk, for this step.
        go_on: Asked after each part: False when the step has lasted long enough; raises to end it at once.
        """
        self._build = build
        self._scratch = scratch
        self._folder = folder
        self._go_on = go_on

    def step(self, target: ImageContent, sources: Sequence[ImageContent]) -> Built | None:
        """Make what comes next; None while there is more to do.

        Raises: DamagedScratch when something has to be made anew; ContentError when the patch does not make its image.
        """
        if "joined" not in self._scratch:
            self._prepare()
            return None
        joined = Joined.from_json(self._scratch.read("joined"))
        missing = [segment for segment in _segments(joined) if _coded(*segment) not in self._scratch]
        if missing:
            self._code(missing)
            return None
        return self._finish(joined, target, sources)

    # ------------------------------------------------------------ pieces

    def _prepare(self) -> None:
        kept = self._kept()
        made = kept[-1][1] + 1 if kept else 0
        if made < self._build.chunks:
            self._make(made)
        else:
            self._join([what for what, _ in kept])

    def _kept(self) -> list[tuple[str, int]]:
        """Pieces that follow each other from the first chunk on, and the last chunk in each."""
        kept: list[tuple[str, int]] = []
        for what in self._scratch.starting("pieces."):
            first, last = map(int, what.split(".")[1:])
            if first == (kept[-1][1] + 1 if kept else 0):
                kept.append((what, last))
        return kept

    def _make(self, first: int) -> None:
        with job_queue() as queue, closing(self._build.make(queue, first=first, ahead=_AHEAD)) as made:
            numbered = enumerate(made, first)
            while self._make_part(numbered) and self._go_on():
                pass

    def _make_part(self, made: Iterator[tuple[int, BinaryIO]]) -> bool:
        """Keep the next chunks in one blob; False when there are none."""
        numbers = []
        with spooled_file(self._folder, _IN_MEMORY) as part:
            for number, file in made:
                numbers.append(number)
                with file:
                    part.writelines(iter(partial(file.read, MIB), b""))
                if part.tell() >= _PART_BYTES:
                    break
            if numbers:
                self._scratch.put(f"pieces.{numbers[0]:07}.{numbers[-1]:07}", part)
        return bool(numbers)

    # ------------------------------------------------------------ raw streams, and their coding

    def _join(self, pieces: Sequence[str]) -> None:
        with job_queue() as queue, ExitStack() as exits:
            raw = exits.enter_context(_KeptStreams(self._scratch, self._folder))
            at_once = {role: exits.enter_context(spooled_file(self._folder, _IN_MEMORY)) for role in AT_ONCE}
            joined = self._build.join(self._fetched(pieces), raw, at_once, queue)
            for stream in joined.coded:
                self._scratch.put(_at_once(stream), at_once[stream.role])
        self._scratch.put("joined", io.BytesIO(joined.to_json()))

    def _fetched(self, pieces: Sequence[str]) -> Iterator[BinaryIO]:
        path = self._folder / "pieces"
        for what in pieces:
            self._scratch.fetch(what, path)
            file = path.open("rb")
            path.unlink()  # its bytes go when whoever takes it closes it
            yield file
            self._go_on()

    def _code(self, missing: Sequence[tuple[StreamPlan, int]]) -> None:
        with job_queue() as queue, closing(in_order(queue, self._jobs(missing), _CODED_AHEAD)) as coded:
            for _ in coded:
                self._go_on()

    def _jobs(self, missing: Sequence[tuple[StreamPlan, int]]) -> Iterator[Job[None]]:
        """While there is time."""
        for plan, number in missing:
            yield Job(partial(self._code_segment, plan, number), plan.memory_bytes)
            if not self._go_on():
                return

    def _code_segment(self, plan: StreamPlan, number: int) -> None:
        what = _raw(plan.role, number)
        path = self._folder / what
        with _or_join_again(self._scratch):
            self._scratch.fetch(what, path)
        with FileReader(path) as reader, spooled_file(self._folder, _IN_MEMORY) as out:
            path.unlink()
            code_segment(plan, number, Extent(reader, 0, reader.size), out)
            self._scratch.put(_coded(plan, number), out)

    # ------------------------------------------------------------ the patch

    def _finish(self, joined: Joined, target: ImageContent, sources: Sequence[ImageContent]) -> Built:
        streams = [self._large(plan) for plan in joined.large]
        streams += [_small(coded) for coded in (*self._coded_small(joined), self._build.config())]
        for stream in joined.coded:
            with _or_join_again(self._scratch):
                streams.append((stream, [self._scratch.part(_at_once(stream))]))
        streams.sort(key=lambda each: each[0].role)
        header = self._build.header([stream for stream, _ in streams], joined.scratch_bytes)
        parts = [own_part(header_to_bytes(header)), *(part for _, parts in streams for part in parts)]
        self._go_on()
        return keep_patch(self._scratch, parts, header.memory_bytes, lambda patch: verify_patch(patch, target, sources))

    def _large(self, plan: StreamPlan) -> tuple[PatchStream, list[Part]]:
        parts = [self._scratch.part(_coded(plan, number)) for number in range(len(plan.segments))]
        return plan.stream(sum(part.size for part in parts)), parts

    def _coded_small(self, joined: Joined) -> list[Coded]:
        with job_queue() as queue:
            jobs = [Job(partial(self._code_small, plan), plan.memory_bytes) for plan in joined.plans if not plan.coding]
            return [coded.result() for coded in [queue.submit(job) for job in jobs]]

    def _code_small(self, plan: StreamPlan) -> Coded:
        with _or_join_again(self._scratch):
            data = self._scratch.read(_raw(plan.role, 0))
        return code_small(plan, Extent(BytesReader(data), 0, len(data)))


@contextmanager
def _or_join_again(scratch: BuildScratch) -> Iterator[None]:
    """Where something that was joined is damaged, the pieces are joined again."""
    try:
        yield
    except DamagedScratch:
        scratch.drop("joined")
        raise


class _KeptStreams:
    """Raw streams whose closed segments are kept in blob scratch; those that grow lie on this machine's disk."""

    def __init__(self, scratch: BuildScratch, folder: Path) -> None:
        self._scratch = scratch
        self._folder = folder
        self._growing: dict[Role, BinaryIO] = {}
        self._ended: dict[Role, list[int]] = {}

    def append(self, role: Role, data: bytes) -> None:
        """See ``RawStreams``."""
        if role not in self._growing:
            self._growing[role] = spooled_file(self._folder, _IN_MEMORY)
        self._growing[role].write(data)

    def end_segment(self, role: Role) -> None:
        """See ``RawStreams``."""
        ended = self._ended.setdefault(role, [])
        with self._growing.pop(role) as file:
            self._scratch.put(_raw(role, len(ended)), file)
            ended.append(file.tell())

    def segment(self, role: Role, number: int) -> Extent:
        """See ``RawStreams``; a few samples of it are read."""
        size = self._ended[role][number]
        return Extent(_ScratchReader(self._scratch, _raw(role, number), size), 0, size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._growing.values():
            file.close()


class _ScratchReader:
    def __init__(self, scratch: BuildScratch, what: str, size: int) -> None:
        self._scratch = scratch
        self._what = what
        self.size = size

    def read_at(self, offset: int, length: int) -> bytes:
        return self._scratch.read_at(self._what, offset, length)


def _segments(joined: Joined) -> list[tuple[StreamPlan, int]]:
    return [(plan, number) for plan in joined.large for number in range(len(plan.segments))]


def _small(coded: Coded) -> tuple[PatchStream, list[Part]]:
    return coded.stream, [own_part(coded.data.read())]


def _at_once(stream: PatchStream) -> str:
    return f"whole.{stream.role:02}"


def _raw(role: Role, number: int) -> str:
    return f"raw.{role:02}.{number:05}"


def _coded(plan: StreamPlan, number: int) -> str:
    return f"coded.{plan.role:02}.{number:05}"
