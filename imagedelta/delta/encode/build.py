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
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import BinaryIO

from imagedelta.delta.content import ImageContent
from imagedelta.delta.encode.chunks import ChosenChunk, cut
from imagedelta.delta.encode.job_queue import Job, JobQueue, in_order
from imagedelta.delta.encode.joined import Joined
from imagedelta.delta.encode.layer_items import LayerItems
from imagedelta.delta.encode.methods import Encoding
from imagedelta.delta.encode.old_text import OldTextStream
from imagedelta.delta.encode.pieces import PieceReader
from imagedelta.delta.encode.plan import plan_patch
from imagedelta.delta.encode.remembering import Memory
from imagedelta.delta.encode.spools import RawStreams, SegmentWriter, Spools, spooled_file
from imagedelta.delta.encode.stream_coding import Coded, code_config, code_streams, plan_streams
from imagedelta.delta.format import config_text
from imagedelta.delta.format.header import (
    MAX_SOURCES,
    MEMBER_BYTES,
    PREDICTING_BYTES,
    PatchHeader,
    PatchStream,
    RebuiltLayer,
    SourceLayer,
    WholeLayer,
    header_to_bytes,
)
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
        self._scratch = scratch
        self.plan = plan_patch(self._target, self._sources)
        self._chunks = cut(self.plan, Encoding(profile, scratch, self.plan.new_bytes >= _MUCH_NEW_BYTES))

    @property
    def chunks(self) -> int:
        """How many chunks there are to make."""
        return len(self._chunks)

    @property
    def work_bytes(self) -> int:
        """Bytes of target and source that are compared or carried, about: what a build takes grows with them."""
        return sum(chunk.bytes for chunk in self._chunks)

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
        file = spooled_file(self._scratch, _CHUNK_IN_MEMORY)
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
            raw = exits.enter_context(Spools(self._scratch))
            old_text = exits.enter_context(spooled_file(self._scratch, _CHUNK_IN_MEMORY))
            joining = _Joining(self, made, raw, old_text, queue)
            progress(Stage.PACKING, 0, 0)
            coded = code_streams(joining.plans, raw, self._scratch, exits, queue)
            coded += [self.config(), *joining.text()]
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

    def join(self, made: Iterable[BinaryIO], raw: RawStreams, old_text: BinaryIO, queue: JobQueue) -> Joined:
        """Write the raw streams, to be coded anywhere.

        Args:
            made: As for ``finish``.
            old_text: Gets the stream of text behind its old text, which is coded at once.
        """
        joining = _Joining(self, made, raw, old_text, queue)
        text = [coded.stream for coded in joining.text()]
        return Joined(tuple(joining.plans), text[0] if text else None, joining.scratch_bytes)

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
        plan = self.plan
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
        counted = zip(self.plan.source_layers, self.plan.member_counts, strict=True)
        return tuple(SourceLayer(*places[layer.index.diff_id], count) for layer, count in counted)


class _Joining:
    """Pieces of all chunks become raw streams; what their coding is given."""

    def __init__(
        self, build: Build, made: Iterable[BinaryIO], raw: RawStreams, old_text: BinaryIO, queue: JobQueue
    ) -> None:
        streams, self._text = SegmentWriter(raw), OldTextStream(build.profile, queue, old_text)
        with closing(PieceReader(made)) as pieces:
            items = LayerItems(build.plan, pieces, streams, self._text)
            for layer in build.plan.rebuilt:
                items.write(layer)
        budget = build.profile.decoder_bytes - _CONFIG_BYTES - MEMBER_BYTES * sum(build.plan.member_counts)
        if build.profile.second_format and build.plan.source_layers:
            budget -= PREDICTING_BYTES
        self._has_text = self._text.finish()
        if self._has_text:
            budget -= self._text.memory_bytes
            streams.write(Role.DICTIONARIES, self._text.bases)
        self.plans = plan_streams(raw, streams.finish(), budget, build.profile, queue)
        self.scratch_bytes = items.scratch_bytes

    def text(self) -> list[Coded]:
        """Return the stream of text behind its old text, if there is any, once it is coded."""
        return [self._text.coded()] if self._has_text else []


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
