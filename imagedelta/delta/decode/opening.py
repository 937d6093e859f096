"""Opening a patch: everything about it that can be checked before any layer is made.

Source: docs/formats/patch.md, section 10.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

from imagedelta.archives.model import image_from_config
from imagedelta.delta.content import LayerReader, read_pieces
from imagedelta.delta.decode.deltas import Deltas
from imagedelta.delta.decode.layer_maker import LayerMaker, Sources
from imagedelta.delta.decode.scratch import Scratch
from imagedelta.delta.decode.tapes import CodedStreams, StreamTape
from imagedelta.delta.deflate.self_test import deflate_is_zlib
from imagedelta.delta.format import config_text, mixing, zero_runs
from imagedelta.delta.format.coders import NATIVE_CODERS
from imagedelta.delta.format.header import PatchHeader, read_patch_header
from imagedelta.delta.format.mixing import MixedDifferences
from imagedelta.delta.format.platform_text import platform_text
from imagedelta.delta.format.references import References
from imagedelta.delta.format.roles import Role
from imagedelta.delta.format.source_images import FindConfig, LayerNames, SourceImages
from imagedelta.delta.format.tape import Tape
from imagedelta.delta.predict.bounds import bounds_of
from imagedelta.errors import ContentError, DigestMismatch, LimitExceeded, SourceMissing, Truncated, UnsupportedFormat
from imagedelta.limits import MIB, Limits

DEFAULT_MEMORY_LIMIT = 128 * MIB
PROCESS_BYTES = 56 * MIB
"""Beside the decoders: interpreter and buffers take 22 MB, a device's HTTP and JSON libraries about 30 more."""
FindLayer = Callable[[str], LayerReader]
"""diff_id → reader; raises KeyError when the layer is not there."""


class SourceLayers:
    """Readers of the source layers, opened when first needed."""

    def __init__(self, diff_ids: Sequence[str], find_layer: FindLayer) -> None:
        self._diff_ids = diff_ids
        self._find_layer = find_layer
        self._readers: dict[int, LayerReader] = {}

    def reader(self, number: int) -> LayerReader:
        """Return the reader of a layer by its number.

        Raises:
            SourceMissing: "source.missing".
        """
        if number not in self._readers:
            diff_id = self._diff_ids[number]
            try:
                self._readers[number] = self._find_layer(diff_id)
            except KeyError as error:
                raise SourceMissing(f"layer {diff_id} of the source is not here") from error
        return self._readers[number]

    def check_digests(self) -> None:
        """Tell a source with wrong bytes from a patch with wrong bytes, after a layer came out wrong.

        Raises:
            SourceMissing: "source.different".
        """
        for number, reader in self._readers.items():
            digest = hashlib.sha256()
            for piece in read_pieces(reader, 0, reader.size):
                digest.update(piece)
            diff_id = self._diff_ids[number]
            if "sha256:" + digest.hexdigest() != diff_id:
                raise SourceMissing(f"layer {diff_id} of the source has other bytes", code="source.different")


class OldText:
    """The old text before each frame of changed text."""

    def __init__(self, members: Tape, sources: Sources) -> None:
        """Args:
        members: Says which members are the old text of each frame.
        """
        self._members = members
        self._sources = sources
        self._next = 0

    def next_dictionary(self, limit: int) -> Iterator[bytes]:
        """Yield the old text of the next frame.

        Raises:
            LimitExceeded: It has more than ``limit`` bytes.
        """
        for _ in range(self._members.number()):
            number = self._next + self._members.signed()
            self._next = number + 1
            member = self._sources.references.member(number)
            limit -= member.size
            if limit < 0:
                raise LimitExceeded("a frame of old text is longer than its dictionary")
            yield from read_pieces(self._sources.open_layer(member.layer), member.offset, member.size)


@dataclass(frozen=True, slots=True)
class OpenedPatch:
    """A patch whose head and config were checked, with its streams at their start."""

    header: PatchHeader
    names: LayerNames
    config: bytes
    tapes: dict[Role, StreamTape]
    mixed: MixedDifferences | None
    """Differences, where they are coded beside old bytes."""
    layers: SourceLayers
    sources: Sources

    def layer_maker(self, scratch: Scratch) -> LayerMaker:
        """Return what makes the rebuilt layers; there is one, because streams are read once."""
        header = self.header
        bounds = bounds_of(is_small=header.is_small) if header.has(Role.PREDICTIONS) else None
        run_bytes = zero_runs.SHORT_RUN if header.is_second_format else zero_runs.RUN
        deltas = Deltas(self.tapes, self.mixed, run_bytes, bounds)
        return LayerMaker(
            self.tapes, deltas, self.sources, scratch, header.unfolding_bytes, second_format=header.is_second_format
        )


def open_patch(
    patch: BinaryIO, find_layer: FindLayer, find_config: FindConfig, limits: Limits, memory_limit: int
) -> OpenedPatch:
    """Read head and config of a patch; arguments and errors as ``apply_patch``."""
    base = patch.tell()
    header = read_patch_header(patch, limits)
    _check_memory(header, memory_limit)
    _check_deflate(header)
    if any(stream.coder in NATIVE_CODERS for stream in header.streams):
        mixing.native()
    start = patch.tell()
    _check_length(patch, header, start - base, base)
    images = SourceImages(header, find_config, limits)
    names = images.names()
    layers = SourceLayers(names.sources, find_layer)
    counts = [layer.members for layer in header.source_layers]
    sources = Sources(References(layers.reader, counts), layers.reader)
    streams = CodedStreams(patch, start, header)
    mixed = streams.mixed_differences()
    tapes = _open_tapes(streams, images, sources)
    config = _read_config(header, names.target, tapes[Role.CONFIG], limits)
    return OpenedPatch(header, names, config, tapes, mixed, layers, sources)


def _open_tapes(streams: CodedStreams, images: SourceImages, sources: Sources) -> dict[Role, StreamTape]:
    tapes = {role: streams.tape(role) for role in Role}
    old_text = OldText(tapes[Role.DICTIONARIES], sources)
    tapes[Role.OLD_TEXT] = streams.tape(Role.OLD_TEXT, old_text.next_dictionary)
    tapes[Role.CONFIG] = streams.tape(Role.CONFIG, images.dictionary)
    return tapes


def temporary_file() -> BinaryIO:
    """Return a file that goes away when it is closed."""
    return cast(BinaryIO, tempfile.TemporaryFile())


def _read_config(header: PatchHeader, diff_ids: Sequence[str], tape: StreamTape, limits: Limits) -> bytes:
    size = sum(stream.raw_bytes for stream in header.streams if stream.role is Role.CONFIG)
    config = config_text.restore(tape.read(size), diff_ids, header.config_bytes)
    tape.finish()
    if "sha256:" + hashlib.sha256(config).hexdigest() != header.target_image_id:
        raise DigestMismatch(f"the config of the patch is not that of image {header.target_image_id}")
    image = image_from_config(config, limits=limits)
    if image.diff_ids != diff_ids:
        raise ContentError("the patch makes other layers than the config of its image names")
    if platform_text(config) != header.platform:
        raise ContentError(f"the patch says {header.platform}, the config of its image {platform_text(config)}")
    return config


def _check_memory(header: PatchHeader, memory_limit: int) -> None:
    available = memory_limit - PROCESS_BYTES
    if header.memory_bytes > available:
        raise LimitExceeded(
            f"the patch needs {header.memory_bytes} bytes for its decoders, this device leaves {available}",
            code="patch.memory",
        )


def _check_deflate(header: PatchHeader) -> None:
    if any(stream.role is Role.FOLDS for stream in header.streams) and not deflate_is_zlib():
        raise UnsupportedFormat(
            "the patch undoes deflate, and this device's zlib deflates otherwise", code="patch.deflate"
        )


def _check_length(patch: BinaryIO, header: PatchHeader, head_bytes: int, base: int) -> None:
    stated = head_bytes + sum(stream.coded_bytes for stream in header.streams)
    actual = patch.seek(0, io.SEEK_END) - base
    if actual < stated:
        raise Truncated(f"a patch of {actual} bytes whose head says {stated}")
    if actual > stated:
        raise ContentError(f"a patch of {actual} bytes whose head says {stated}")
