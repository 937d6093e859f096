"""Building a patch: plan from the indexes, pieces per file, streams, head.

Memory is bounded by the profile, not by the image: 17 bytes per byte of the largest old window (24 MiB, or a
whole file up to 32 MiB) while files are compared, then 11 times the largest dictionary while streams are
coded. Raw streams spool to the scratch folder.

Source: docs/formats/patch.md.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imagedelta.delta import config_text
from imagedelta.delta.content import CountingReader, ImageContent, LayerReader
from imagedelta.delta.file_pieces import FilePieces, Piece, literals_of_structure
from imagedelta.delta.header import MAX_SOURCES, PatchHeader, TargetLayer, header_to_bytes
from imagedelta.delta.layer_cursor import LayerCursor
from imagedelta.delta.plan import FilePlan, LayerPlan, PatchPlan, Way, plan_patch
from imagedelta.delta.profiles import DEFAULT_PROFILE, Profile
from imagedelta.delta.raw_streams import Spools
from imagedelta.delta.roles import Role
from imagedelta.delta.steps import KEPT, Kind, Step, StepWriter
from imagedelta.delta.stream_coding import Coded, StructureDictionary, code_streams
from imagedelta.delta.tar_structure import tar_structure
from imagedelta.errors import RequestError
from imagedelta.limits import MIB

Progress = Callable[[int, int], None]
_SPLIT_LITERALS_FROM = 4 * MIB
_MIN_SHARED_PATHS = 8
"""A source layer costs 32 bytes to name; fewer common headers are not worth it."""


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
) -> PatchSummary:
    """Write the patch that makes ``target`` on a device that has ``sources``.

    Args:
        sources: Best first; none for a full patch.
        out: Written front to back.
        scratch: Folder for spooled streams, at most as large as the rebuilt layers.
        progress: Called with (bytes of rebuilt layers done, bytes in all).

    Returns:
        The summary. The same arguments give the same bytes with the same versions of the codecs.

    Raises:
        RequestError: More than 16 sources.
    """
    if len(sources) > MAX_SOURCES:
        raise RequestError(f"{len(sources)} sources for a patch, at most {MAX_SOURCES}")
    with ExitStack() as exits:
        spools = exits.enter_context(Spools(scratch))
        build = _Build(target, sources, profile, spools, progress or (lambda done, total: None))
        build.make_layers()
        coded = list(code_streams(spools.streams(), build.structure_dictionary(), profile, scratch, exits))
        header = build.header(coded)
        size, sha256, crc32 = _write(header, coded, out)
    return PatchSummary(
        target_image_id=target.image_id,
        source_image_ids=header.source_image_ids,
        bytes=size,
        sha256=sha256,
        crc32=crc32,
        memory_bytes=header.memory_bytes,
        profile=profile.name,
        full_bytes=target.full_bytes,
        bytes_read=build.bytes_read,
    )


class _Build:
    def __init__(
        self,
        target: ImageContent,
        sources: Sequence[ImageContent],
        profile: Profile,
        spools: Spools,
        progress: Progress,
    ) -> None:
        self._target = target
        self._sources = sources
        self._profile = profile
        self._spools = spools
        self._progress = progress
        self._plan = plan_patch(target, sources)
        self._readers = _counting_readers([target, *sources])
        self._numbers: dict[str, int] = {}
        self._kept: dict[tuple[bytes, int], int] = {}
        self._kept_bytes = 0
        self._steps = StepWriter(spools)
        self._pieces = FilePieces(
            self._readers.__getitem__, profile, split_literals=self._plan.new_bytes >= _SPLIT_LITERALS_FROM
        )

    @property
    def bytes_read(self) -> int:
        return sum(reader.bytes_read for reader in self._readers.values())

    def make_layers(self) -> None:
        self._spools.write(Role.CONFIG, config_text.shorten(self._target.config, self._target.diff_ids))
        done = 0
        for plan in self._plan.rebuilt:
            self._make_layer(plan, done)
            done += plan.layer.index.size
        self._progress(done, done)

    def structure_dictionary(self) -> StructureDictionary | None:
        """Return the headers of the source layers that share most paths with the rebuilt ones."""
        limit = self._profile.structure_bytes
        numbers, data = [], bytearray()
        for diff_id in _layers_with_common_paths(self._plan, self._sources):
            if len(data) >= limit:
                break
            numbers.append(self._number(diff_id))
            data += tar_structure(self._readers[diff_id], limit - len(data))
        return StructureDictionary(tuple(numbers), bytes(data)) if data else None

    def header(self, coded: Sequence[Coded]) -> PatchHeader:
        layers = tuple(self._target_layer(layer.index.diff_id, layer.index.size) for layer in self._target.layers)
        return PatchHeader(
            profile=self._profile.name,
            target_image_id=self._target.image_id,
            source_image_ids=tuple(source.image_id for source in self._sources),
            platform=self._target.platform,
            source_layers=tuple(self._numbers),
            layers=layers,
            streams=tuple(item.stream for item in coded),
            scratch_bytes=self._kept_bytes,
            config_bytes=len(self._target.config),
        )

    def _target_layer(self, diff_id: str, size: int) -> TargetLayer:
        whole_from = self._number(diff_id) if diff_id in self._plan.whole else None
        return TargetLayer(diff_id, size, whole_from)

    def _number(self, diff_id: str) -> int:
        """Return the number of a source layer; the first use gives it one."""
        return self._numbers.setdefault(diff_id, len(self._numbers))

    def _make_layer(self, plan: LayerPlan, done: int) -> None:
        cursor = LayerCursor(self._readers[plan.layer.index.diff_id], plan.layer.index.size)
        for file in plan.files:
            self._structure_up_to(file.entry.offset, cursor)
            for piece in self._pieces_of(file, cursor):
                self._add(piece, file.keep, cursor)
            cursor.skip(file.entry.size)
            self._progress(done + cursor.position, self._plan.rebuilt_bytes)
        self._structure_up_to(plan.layer.index.size, cursor)
        self._steps.write(*cursor.take_structure(), Step(Kind.END, 0))

    def _pieces_of(self, file: FilePlan, cursor: LayerCursor) -> Iterator[Piece]:
        content = (file.entry.digest, file.entry.size)
        if file.way is Way.KEPT:
            yield Piece(Kind.COPY, file.entry.size, offset=self._kept[content])
            return
        if file.keep:
            self._kept[content] = self._kept_bytes
            self._kept_bytes += file.entry.size
        yield from self._pieces.make(file, cursor.reader)

    def _structure_up_to(self, offset: int, cursor: LayerCursor) -> None:
        """Write the bytes outside files up to ``offset``; long runs are literals, whose coder fits them."""
        for data, is_long in cursor.structure_up_to(offset):
            if is_long:
                self._add(literals_of_structure(data), keep=False, cursor=cursor)
            else:
                self._spools.write(Role.STRUCTURE, data)
                cursor.structure_written(data)

    def _add(self, piece: Piece, keep: bool, cursor: LayerCursor) -> None:
        source = KEPT
        if piece.diff_id:
            source = self._number(piece.diff_id) + 1
        step = Step(piece.kind, piece.length, keep, source, piece.offset, piece.old_length)
        self._steps.write(*cursor.take_structure(), step)
        for role, data in piece.streams.items():
            self._spools.write(role, data)


def _counting_readers(images: Sequence[ImageContent]) -> dict[str, CountingReader]:
    readers: dict[str, LayerReader] = {}
    for image in images:
        for layer in image.layers:
            readers.setdefault(layer.index.diff_id, layer.reader)
    return {diff_id: CountingReader(reader) for diff_id, reader in readers.items()}


def _layers_with_common_paths(plan: PatchPlan, sources: Sequence[ImageContent]) -> list[str]:
    paths = {entry.path for layer in plan.rebuilt for entry in layer.layer.index.entries}
    shared = {
        layer.index.diff_id: sum(entry.path in paths for entry in layer.index.entries)
        for source in sources
        for layer in source.layers
    }
    worth = [diff_id for diff_id, count in shared.items() if count >= _MIN_SHARED_PATHS]
    return sorted(worth, key=lambda diff_id: (-shared[diff_id], diff_id))[:8]


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
