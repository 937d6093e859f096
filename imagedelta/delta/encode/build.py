"""Building a patch: plan from the indexes, pieces per file, items per layer, streams, head.

A build can be split: ``Build.make_chunk`` for each chunk, anywhere, then ``Build.finish`` with their results.
``build_patch`` does both here, on several threads. The bytes are the same.

Memory is bounded by ``MEMORY_BYTES``, not by the image: 7 bytes per byte of the old window while files are
compared, 11 times the dictionary while streams are coded. Chunks and raw streams spool to the scratch folder.

Source: docs/formats/patch.md.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from imagedelta.delta.content import ImageContent
from imagedelta.delta.encode.chunks import ChunkReader, chunk_memory, cut, make_chunk
from imagedelta.delta.encode.crew import Crew
from imagedelta.delta.encode.file_pieces import FilePieces
from imagedelta.delta.encode.layer_items import LayerItems
from imagedelta.delta.encode.old_text import OldText
from imagedelta.delta.encode.plan import plan_patch
from imagedelta.delta.encode.remembering import Memory
from imagedelta.delta.encode.spools import Spools, spooled_file
from imagedelta.delta.encode.stream_coding import Coded, code_config, code_streams
from imagedelta.delta.format import config_text
from imagedelta.delta.format.header import (
    MAX_SOURCES,
    MEMBER_BYTES,
    PatchHeader,
    RebuiltLayer,
    SourceLayer,
    WholeLayer,
    header_to_bytes,
)
from imagedelta.delta.format.platform_text import platform_text
from imagedelta.delta.format.profiles import DEFAULT_PROFILE, Profile
from imagedelta.delta.format.references import References
from imagedelta.delta.format.roles import Role
from imagedelta.errors import RequestError
from imagedelta.limits import MIB

Progress = Callable[[int, int], None]
MEMORY_BYTES = 800 * MIB
"""What all threads of a build take together, beside the interpreter and the indexes."""
_MUCH_NEW_BYTES = 4 * MIB
_CONFIG_BYTES = MIB
"""Set apart for the decoder of the config, which is done before the others begin."""
_CHUNK_IN_MEMORY = 256 * 1024


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
        progress: Called with (bytes of changed files done, bytes in all).
        threads: By default one per core.

    Returns:
        The summary. The same arguments give the same bytes with the same versions of the codecs.

    Raises:
        RequestError: More than 16 sources.
    """
    build = Build(target, sources, profile, scratch)
    report = progress or (lambda done, total: None)
    with ExitStack() as exits, Crew(threads or os.cpu_count() or 1, MEMORY_BYTES) as crew:
        files = [exits.enter_context(spooled_file(scratch, _CHUNK_IN_MEMORY)) for _ in range(build.chunks)]
        jobs = [
            crew.submit(partial(build.make_chunk, number, file), build.chunk_memory(number))
            for number, file in enumerate(files)
        ]

        def done() -> Iterator[BinaryIO]:
            made = 0
            for number, (job, file) in enumerate(zip(jobs, files, strict=True)):
                job.result()
                made += build.chunk_bytes(number)
                report(made, build.changed_bytes)
                file.seek(0)
                yield file

        return build.finish(done(), out, crew)


class Build:
    """One build, planned; the plan is the same wherever it is made of the same arguments."""

    def __init__(self, target: ImageContent, sources: Sequence[ImageContent], profile: Profile, scratch: Path) -> None:
        """Raises: RequestError for more than 16 sources."""
        if len(sources) > MAX_SOURCES:
            raise RequestError(f"{len(sources)} sources for a patch, at most {MAX_SOURCES}")
        self._reads = Memory(limit=0)
        self._target = self._reads.image(target)
        self._sources = [self._reads.image(source) for source in sources]
        self._profile = profile
        self._scratch = scratch
        self._plan = plan_patch(self._target, self._sources)
        self._maker = FilePieces(self._plan, profile, scratch, much_is_new=self._plan.new_bytes >= _MUCH_NEW_BYTES)
        self._chunks = cut(self._plan.diffed(), self._maker)

    @property
    def chunks(self) -> int:
        """How many chunks there are to make."""
        return len(self._chunks)

    @property
    def changed_bytes(self) -> int:
        """Size of all files that are compared or sent whole."""
        return sum(map(self.chunk_bytes, range(self.chunks)))

    def chunk_bytes(self, number: int) -> int:
        """Return the size of the target's files in a chunk."""
        return sum(work.new_bytes for work in self._chunks[number])

    def chunk_memory(self, number: int) -> int:
        """Return about how many bytes making a chunk takes."""
        return chunk_memory(self._chunks[number], self._maker)

    def make_chunk(self, number: int, out: BinaryIO) -> None:
        """Write the result of a chunk."""
        make_chunk(self._chunks[number], self._maker, out)

    def finish(self, chunks: Iterable[BinaryIO], out: BinaryIO, crew: Crew) -> PatchSummary:
        """Write the patch.

        Args:
            chunks: The result of each chunk, in order, at its start.
        """
        with ExitStack() as exits:
            spools = exits.enter_context(Spools(self._scratch))
            old_text = OldText(self._profile, crew)
            items = self._write_items(spools, ChunkReader(chunks), old_text)
            coded = self._code(spools, old_text, exits, crew)
            header = self._header(coded, items.scratch_bytes)
            size, sha256, crc32 = _write(header, coded, out)
        return PatchSummary(
            target_image_id=self._target.image_id,
            source_image_ids=header.source_image_ids,
            bytes=size,
            sha256=sha256,
            crc32=crc32,
            memory_bytes=header.memory_bytes,
            profile=self._profile.name,
            full_bytes=self._target.full_bytes,
            bytes_read=self._reads.bytes_read,
        )

    def _write_items(self, spools: Spools, chunks: ChunkReader, old_text: OldText) -> LayerItems:
        headers = [layer.headers for layer in self._plan.source_layers]
        references = References(headers.__getitem__, self._plan.member_counts)
        items = LayerItems(self._plan, spools, references, headers.__getitem__, chunks, old_text)
        for plan in self._plan.rebuilt:
            items.write(plan)
        return items

    def _code(self, spools: Spools, old_text: OldText, exits: ExitStack, crew: Crew) -> list[Coded]:
        budget = self._profile.decoder_bytes - _CONFIG_BYTES - MEMBER_BYTES * sum(self._plan.member_counts)
        frames = old_text.finish()
        if frames:
            budget -= frames.memory_bytes
            spools.write(Role.PRIMES, frames.primes)
        coded = code_streams(spools.streams(), budget, self._profile, self._scratch, exits, crew)
        coded.append(self._config())
        if frames:
            coded.append(frames.coded())
        return sorted(coded, key=lambda item: item.stream.role)

    def _config(self) -> Coded:
        prime = b""
        if self._sources:
            prime = config_text.shorten(self._sources[0].config, self._sources[0].diff_ids)
        return code_config(config_text.shorten(self._target.config, self._target.diff_ids), prime)

    def _header(self, coded: Sequence[Coded], scratch_bytes: int) -> PatchHeader:
        plan = self._plan
        numbers = {layer.index.diff_id: number for number, layer in enumerate(plan.source_layers)}
        layers = tuple(
            WholeLayer(numbers[index.diff_id], index.size)
            if index.diff_id in plan.whole
            else RebuiltLayer(index.diff_id, index.size)
            for index in (layer.index for layer in self._target.layers)
        )
        return PatchHeader(
            profile=self._profile.name,
            target_image_id=self._target.image_id,
            source_image_ids=tuple(source.image_id for source in self._sources),
            platform=platform_text(self._target.config),
            source_layers=self._source_layers(),
            layers=layers,
            streams=tuple(item.stream for item in coded),
            scratch_bytes=scratch_bytes,
            config_bytes=len(self._target.config),
        )

    def _source_layers(self) -> tuple[SourceLayer, ...]:
        places: dict[str, tuple[int, int]] = {}
        for number, source in enumerate(self._sources):
            for position, diff_id in enumerate(source.diff_ids):
                places.setdefault(diff_id, (number, position))
        counted = zip(self._plan.source_layers, self._plan.member_counts, strict=True)
        return tuple(SourceLayer(*places[layer.index.diff_id], count) for layer, count in counted)


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
