"""Building a patch: plan from the indexes, pieces per file, items per layer, streams, head.

A build can be split. Chunks are made anywhere (``make_chunk``); ``join`` turns their results into raw streams, cut into
segments that are coded anywhere (``stream_coding.code_segment``); ``header`` comes last, before the coded streams.
``build_patch`` does all of it here, on several threads. The bytes are the same.

The image bounds neither memory nor open files. Running jobs take at most ``MEMORY_BYTES``: 7 bytes per byte of the old
window while files are compared, 12 times the dictionary while streams are coded. At most ``CHUNKS_UNDER_WAY`` chunks
are made ahead of the one whose pieces are taken, each in a file of the scratch folder; raw streams grow where ``join``
is told.

Source: docs/formats/patch.md.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property, partial
from pathlib import Path
from typing import BinaryIO

from imagedelta.delta.content import ImageContent
from imagedelta.delta.encode.beside import KeptDifferences
from imagedelta.delta.encode.chunks import ChosenChunk, Chunk, cut
from imagedelta.delta.encode.job_queue import Job, JobQueue, in_order
from imagedelta.delta.encode.joined import Joined
from imagedelta.delta.encode.layer_items import LayerItems
from imagedelta.delta.encode.lists import with_lists
from imagedelta.delta.encode.methods import Encoding
from imagedelta.delta.encode.old_text import OldTextStream
from imagedelta.delta.encode.pieces import PieceReader
from imagedelta.delta.encode.plan import PatchPlan, plan_patch
from imagedelta.delta.encode.remembering import Memory
from imagedelta.delta.encode.spools import (
    MIXED_SEGMENT_BYTES,
    RawStreams,
    SegmentWriter,
    Spools,
    spooled_file,
)
from imagedelta.delta.encode.stream_coding import Coded, code_config, code_small, code_streams
from imagedelta.delta.encode.stream_memory import bits_of_differences
from imagedelta.delta.encode.stream_plans import StreamPlan, plan_streams
from imagedelta.delta.format import config_text
from imagedelta.delta.format.coders import MIN_DICTIONARY, MIXED_DIFFERENCES, Params
from imagedelta.delta.format.header import (
    MAX_SOURCES,
    MEMBER_BYTES,
    PatchHeader,
    PatchStream,
    RebuiltLayer,
    SourceLayer,
    WholeLayer,
    header_to_bytes,
    most_mixed_bytes,
)
from imagedelta.delta.format.listed import LISTED_BYTES
from imagedelta.delta.format.mixing import memory_bytes
from imagedelta.delta.format.platform_text import platform_text
from imagedelta.delta.format.profiles import DEFAULT_PROFILE, Profile
from imagedelta.delta.format.roles import Role
from imagedelta.errors import RequestError
from imagedelta.limits import KIB, MIB


class Stage(StrEnum):
    """What a build is at, in the words that people are shown."""

    PLANNING = "Planning the patch"
    CODING = "Coding what changed"
    PACKING = "Packing streams"
    CHECKING = "Checking the patch"


Progress = Callable[[Stage, int, int], None]
"""Called with (stage, bytes done, bytes in all; 0 when that is not known)."""
MEMORY_BYTES = 800 * MIB
"""What all jobs of a build take together, beside the interpreter and the indexes."""
CHUNKS_UNDER_WAY = 64
"""Each takes an open file, and 256 KiB of memory. Methods are chosen as far ahead, so that no thread waits for them."""
_CHOOSING_BYTES = 64 * KIB
_MUCH_NEW_BYTES = 4 * MIB
_CONFIG_BYTES = MIB
"""Set apart for the decoder of the config, which is done before the others begin."""
_CHUNK_IN_MEMORY = 256 * KIB
AT_ONCE = (Role.OLD_TEXT, Role.DIFF)
"""Roles whose streams may be coded before those of the others are planned."""
_PLAIN = (Role.DIFF, Role.ZEROS)
"""What differences by themselves take."""
_TRIED_BYTES = 4 * MIB
"""Differences of more bytes are never shorter by themselves than beside old bytes."""


@dataclass(frozen=True, slots=True)
class PatchSummary:
    """What was built."""

    target_image_id: str
    source_image_ids: tuple[str, ...]
    bytes: int
    sha256: str
    """64 hex digits."""
    crc32: int
    memory_bytes: int
    """What its decoders take on the device."""
    profile: str
    full_bytes: int
    """The target's uncompressed layers and config."""
    bytes_read: int
    """Read from the readers of target and sources."""


def build_patch(
    target: ImageContent,
    sources: Sequence[ImageContent],
    out: BinaryIO,
    *,
    profile: Profile = DEFAULT_PROFILE,
    scratch: Path,
    progress: Progress | None = None,
    threads: int | None = None,
) -> PatchSummary:
    """Write the patch that makes ``target`` on a device that has ``sources``.

    Args:
        sources: Best first; none for a full patch.
        out: Written front to back.
        scratch: Folder for spooled streams, at most twice as large as the files that changed.
        progress: See ``Progress``; bytes of files that changed.
        threads: By default one per core.

    Returns:
        The summary. The same arguments give the same bytes with the same versions of the codecs.

    Raises:
        RequestError: More than 16 sources.
    """
    report = progress or (lambda stage, done, total: None)
    report(Stage.PLANNING, 0, 0)
    return Build(target, sources, profile, scratch).write(out, report, threads)


def job_queue(threads: int | None = None) -> JobQueue:
    """Return a queue for the jobs of one build, by default with a thread for each core."""
    return JobQueue(threads or os.cpu_count() or 1, MEMORY_BYTES)


class Build:
    """One build, planned; the plan is the same wherever it is made of the same arguments."""

    def __init__(self, target: ImageContent, sources: Sequence[ImageContent], profile: Profile, scratch: Path) -> None:
        """Raises: RequestError for more than 16 sources."""
        if len(sources) > MAX_SOURCES:
            raise RequestError(f"{len(sources)} sources for a patch, at most {MAX_SOURCES}")
        self._reads = Memory(limit=0)
        self._target = self._reads.image(target)
        self._sources = [self._reads.image(source) for source in sources]
        self.profile = profile
        self.scratch = scratch
        self._indexed = plan_patch(self._target, self._sources)

    @cached_property
    def plan(self) -> PatchPlan:
        """With what lists of files say, for which files are read: steps that make and join no chunks do without."""
        return with_lists(self._indexed) if self.profile.second_format else self._indexed

    @cached_property
    def _chunks(self) -> Sequence[Chunk]:
        return cut(self.plan, Encoding(self.profile, self.scratch, self.plan.new_bytes >= _MUCH_NEW_BYTES))

    @property
    def chunks(self) -> int:
        """How many chunks there are to make."""
        return len(self._chunks)

    @property
    def work_bytes(self) -> int:
        """Bytes of target and source that are compared or carried, about: what a build takes grows with them."""
        return self._indexed.diffed_bytes

    @property
    def layer_bytes(self) -> int:
        """Of the target's layers."""
        return sum(layer.index.size for layer in self._target.layers)

    @property
    def bytes_read(self) -> int:
        """Read from the readers of target and sources so far."""
        return self._reads.bytes_read

    def write(self, out: BinaryIO, progress: Progress = lambda *_: None, threads: int | None = None) -> PatchSummary:
        """Do all of it here."""
        with job_queue(threads) as queue, closing(self.make(queue, progress)) as made:
            return self.finish(made, out, queue, progress)

    def make_chunk(self, number: int, out: BinaryIO) -> None:
        """Write the result of a chunk."""
        self._chunks[number].choose().make(out)

    def make(
        self, queue: JobQueue, progress: Progress = lambda *_: None, *, first: int = 0, ahead: int = CHUNKS_UNDER_WAY
    ) -> Generator[BinaryIO]:
        """Make chunks here, and yield the result of each, in order and at its start; whoever takes it closes it.

        Args:
            first: The chunks before it are there already.
            ahead: Chunks that are made before their results are taken, which lie in the scratch folder.
        """
        chunks = self._chunks[first:]
        choosing = (Job(chunk.choose, _CHOOSING_BYTES) for chunk in chunks)
        chosen = in_order(queue, choosing, ahead)
        making = (Job(partial(self._spooled, chunk), chunk.memory()) for chunk in chosen)
        made = in_order(queue, making, ahead, drop=lambda file: file.close())
        done, total = 0, sum(chunk.new_bytes for chunk in chunks)
        progress(Stage.CODING, done, total)
        with closing(made):
            for chunk, file in zip(chunks, made, strict=True):
                done += chunk.new_bytes
                progress(Stage.CODING, done, total)
                yield file

    def _spooled(self, chunk: ChosenChunk) -> BinaryIO:
        file = spooled_file(self.scratch, _CHUNK_IN_MEMORY)
        try:
            chunk.make(file)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return file

    def finish(
        self, made: Iterable[BinaryIO], out: BinaryIO, queue: JobQueue, progress: Progress = lambda *_: None
    ) -> PatchSummary:
        """Write the patch.

        Args:
            made: The result of each chunk, in order, at its start. Each is taken when it is needed, and closed then.
        """
        with ExitStack() as exits:
            raw = exits.enter_context(Spools(self.scratch))
            at_once = {role: exits.enter_context(spooled_file(self.scratch, _CHUNK_IN_MEMORY)) for role in AT_ONCE}
            joining = _Joining(self, made, raw, at_once, queue)
            progress(Stage.PACKING, 0, 0)
            coded = code_streams(joining.plans, raw, self.scratch, exits, queue)
            coded += [self.config(), *joining.coded()]
            coded.sort(key=lambda item: item.stream.role)
            header = self.header([item.stream for item in coded], joining.scratch_bytes)
            size, sha256, crc32 = _write(header, coded, out)
        return PatchSummary(
            target_image_id=self._target.image_id,
            source_image_ids=header.source_image_ids,
            bytes=size,
            sha256=sha256,
            crc32=crc32,
            memory_bytes=header.memory_bytes,
            profile=self.profile.name,
            full_bytes=self._target.full_bytes,
            bytes_read=self._reads.bytes_read,
        )

    def join(
        self, made: Iterable[BinaryIO], raw: RawStreams, at_once: Mapping[Role, BinaryIO], queue: JobQueue
    ) -> Joined:
        """Write the raw streams, to be coded anywhere.

        Args:
            made: As for ``finish``.
            at_once: An empty file for each role of ``AT_ONCE``; those that the result names have a coded stream then.
        """
        joining = _Joining(self, made, raw, at_once, queue)
        coded = tuple(each.stream for each in joining.coded())
        return Joined(tuple(joining.plans), coded, joining.scratch_bytes)

    def config(self) -> Coded:
        """Return the stream of the target's config."""
        dictionary = b""
        if self._sources:
            dictionary = config_text.shorten(self._sources[0].config, self._sources[0].diff_ids)
        return code_config(config_text.shorten(self._target.config, self._target.diff_ids), dictionary)

    def header(self, streams: Sequence[PatchStream], scratch_bytes: int) -> PatchHeader:
        """Return the head of the patch.

        Args:
            streams: All of them, in the order of their roles.
        """
        plan = self._indexed
        numbers = {layer.index.diff_id: number for number, layer in enumerate(plan.source_layers)}
        layers = tuple(
            WholeLayer(numbers[index.diff_id], index.size)
            if index.diff_id in plan.whole
            else RebuiltLayer(index.diff_id, index.size)
            for index in (layer.index for layer in self._target.layers)
        )
        return PatchHeader(
            profile=self.profile.name,
            target_image_id=self._target.image_id,
            source_image_ids=tuple(source.image_id for source in self._sources),
            platform=platform_text(self._target.config),
            source_layers=self._source_layers(),
            layers=layers,
            streams=tuple(streams),
            scratch_bytes=scratch_bytes,
            config_bytes=len(self._target.config),
        )

    def _source_layers(self) -> tuple[SourceLayer, ...]:
        places: dict[str, tuple[int, int]] = {}
        for number, source in enumerate(self._sources):
            for position, diff_id in enumerate(source.diff_ids):
                places.setdefault(diff_id, (number, position))
        counted = zip(self._indexed.source_layers, self._indexed.member_counts, strict=True)
        return tuple(SourceLayer(*places[layer.index.diff_id], count) for layer, count in counted)


class _Joining:
    """Pieces of all chunks become raw streams; what their coding is given."""

    def __init__(
        self,
        build: Build,
        made: Iterable[BinaryIO],
        raw: RawStreams,
        at_once: Mapping[Role, BinaryIO],
        queue: JobQueue,
    ) -> None:
        profile, self._raw, most_mixed = build.profile, raw, most_mixed_bytes(build.layer_bytes)
        self._text = OldTextStream(profile, queue, at_once[Role.OLD_TEXT])
        with closing(KeptDifferences(build.scratch)) as differences:
            self._sizes = self._write(build, made, differences if profile.mixes else None)
            budget = self._budget(build)
            self._differences = self._mixed(differences, at_once[Role.DIFF], profile, budget, most_mixed)
        budget -= sum(memory_bytes(coded.stream.params.bits) for coded in self._differences)
        self.plans = plan_streams(raw, self._sizes, budget, profile, queue, most_mixed)

    def coded(self) -> list[Coded]:
        """Return the streams that are coded already: what goes through all files in their order."""
        return [*self._differences, *([self._text.coded()] if self._has_text else [])]

    def _write(
        self, build: Build, made: Iterable[BinaryIO], differences: KeptDifferences | None
    ) -> dict[Role, tuple[int, ...]]:
        """Write all items; return the bytes of each segment of each stream."""
        profile = build.profile
        are_mixed = profile.mixed_bytes > MIXED_SEGMENT_BYTES
        streams = SegmentWriter(self._raw, profile.mixed_roles if are_mixed else frozenset())
        with closing(PieceReader(made)) as pieces:
            items = LayerItems(build.plan, pieces, streams, self._text, differences)
            for layer in build.plan.rebuilt:
                items.write(layer)
        self.scratch_bytes = items.scratch_bytes
        self._has_text = self._text.finish()
        if self._has_text:
            streams.write(Role.DICTIONARIES, self._text.bases)
        sizes = dict(streams.finish())
        if Role.PREDICTIONS in sizes and not _any(self._raw, Role.PREDICTIONS, sizes):
            del sizes[Role.PREDICTIONS]
        return sizes

    def _budget(self, build: Build) -> int:
        """Return the bytes that decoders of streams which are still to be coded may take together."""
        profile = build.profile
        budget = profile.decoder_bytes - _CONFIG_BYTES - MEMBER_BYTES * sum(build.plan.member_counts)
        budget -= self._text.memory_bytes if self._has_text else 0
        budget -= profile.predicting_bytes if Role.PREDICTIONS in self._sizes else 0
        return budget - (LISTED_BYTES if Role.DIGESTS in self._sizes else 0)

    def _mixed(
        self, differences: KeptDifferences, out: BinaryIO, profile: Profile, budget: int, most_mixed: int
    ) -> list[Coded]:
        """Return differences as they are coded beside old bytes, instead of by themselves, where that is shorter."""
        beside = {role: sum(segments) for role, segments in self._sizes.items() if role not in _PLAIN}
        bits = bits_of_differences(beside, differences.changed_bytes, budget, profile, most_mixed)
        if not bits or not 0 < differences.raw_bytes <= most_mixed:
            return []
        coded_bytes = differences.code(out, bits)
        alone = [StreamPlan(role, MIN_DICTIONARY, self._sizes[role], None) for role in _PLAIN if role in self._sizes]
        if all(plan.bytes <= _TRIED_BYTES for plan in alone):
            plain = [replace(plan, dictionary=max(MIN_DICTIONARY, plan.bytes)) for plan in alone]
            small = [code_small(plan, self._raw.segment(plan.role, 0)) for plan in plain]
            if coded_bytes >= sum(coded.stream.coded_bytes for coded in small):
                return []
        for plan in alone:
            del self._sizes[plan.role]
        out.seek(0)
        stream = PatchStream(Role.DIFF, MIXED_DIFFERENCES, Params(bits=bits), differences.raw_bytes, coded_bytes)
        return [Coded(stream, out)]


def _any(raw: RawStreams, role: Role, sizes: Mapping[Role, tuple[int, ...]]) -> bool:
    """Whether a stream has a byte other than zero."""
    return any(any(raw.segment(role, number).whole()) for number in range(len(sizes[role])))


def _write(header: PatchHeader, coded: Sequence[Coded], out: BinaryIO) -> tuple[int, str, int]:
    size, sha256, crc32 = 0, hashlib.sha256(), 0
    for block in _blocks(header, coded):
        out.write(block)
        size += len(block)
        sha256.update(block)
        crc32 = zlib.crc32(block, crc32)
    return size, sha256.hexdigest(), crc32


def _blocks(header: PatchHeader, coded: Sequence[Coded]) -> Iterator[bytes]:
    yield header_to_bytes(header)
    for item in coded:
        while block := item.data.read(MIB):
            yield block
