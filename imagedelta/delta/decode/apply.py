"""Rebuilding an image from a patch: what a device does, and what the cloud does before it publishes.

Streaming, layer after layer, in bounded memory: the decoders (stated in the head) and pieces of 64 KiB.
A layer the sink has already is not made again, so what a kill leaves finished stays finished. Nothing is
committed before its digest fits.

Source: docs/formats/patch.md, section 10.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Protocol

from imagedelta.delta.content import LayerReader, read_pieces
from imagedelta.delta.decode.layer_maker import LayerMaker, LayerOutput
from imagedelta.delta.decode.opening import (
    DEFAULT_MEMORY_LIMIT,
    PROCESS_BYTES,
    FindLayer,
    OpenedPatch,
    open_patch,
    temporary_file,
)
from imagedelta.delta.decode.scratch import Scratch
from imagedelta.delta.format.header import WholeLayer
from imagedelta.delta.format.source_images import FindConfig
from imagedelta.errors import ContentError, SourceMissing
from imagedelta.limits import DEFAULT_LIMITS, Limits

__all__ = ["DEFAULT_MEMORY_LIMIT", "PROCESS_BYTES", "AppliedImage", "LayerSink", "LayerWriter", "apply_patch"]


class LayerWriter(Protocol):
    """Takes the bytes of one layer, front to back."""

    def write(self, data: bytes, /) -> object: ...


class LayerSink(Protocol):
    """Where rebuilt layers go."""

    def has(self, diff_id: str) -> bool:
        """Whether the layer is there, complete and verified."""
        ...

    def begin(self, diff_id: str, size: int) -> LayerWriter:
        """Make room for ``size`` bytes; what an earlier attempt left of the layer is dropped."""
        ...

    def commit(self, diff_id: str) -> None:
        """All bytes are written and have the right digest: make the layer last."""
        ...

    def abort(self, diff_id: str) -> None:
        """Drop what was written."""
        ...


@dataclass(frozen=True, slots=True)
class AppliedImage:
    """What was rebuilt: every layer is in the sink, and config and layers fit the image ID."""

    image_id: str
    config: bytes
    diff_ids: tuple[str, ...]


def apply_patch(
    patch: BinaryIO,
    find_layer: FindLayer,
    find_config: FindConfig,
    sink: LayerSink,
    *,
    limits: Limits = DEFAULT_LIMITS,
    memory_limit: int = DEFAULT_MEMORY_LIMIT,
    scratch: Callable[[], BinaryIO] | None = None,
) -> AppliedImage:
    """Rebuild the image of ``patch`` into ``sink``.

    Args:
        patch: Seekable, on its first byte; ends with the patch.
        find_layer: Finds source layers. They are read at random, and only those the patch names.
        find_config: Finds the configs of source images.
        memory_limit: What the process may take in all; ``PROCESS_BYTES`` of it are not for decoders.
        scratch: Opens files for bytes that occur again later and for unfolded bases; by default in the temporary
            folder.

    Raises:
        SourceMissing: "source.missing": a source layer is not there; "source.different": it has other bytes
            than its digest says. The same of a source image's config.
        LimitExceeded: "patch.memory": the decoders take more than the limit leaves them; else see the limits.
        UnsupportedFormat: "patch.deflate": it undoes deflate, and this machine's zlib is another; else see the class.
        ContentError: Any other defect of the patch. Finished layers stay in the sink; the one begun is dropped.
    """
    opened = open_patch(patch, find_layer, find_config, limits, memory_limit)
    header = opened.header
    with Scratch(scratch or temporary_file, header.scratch_bytes) as files:
        maker = opened.layer_maker(files)
        try:
            _make_layers(opened, maker, sink)
        except SourceMissing:
            raise
        except ContentError:
            opened.layers.check_digests()
            raise
    return AppliedImage(header.target_image_id, opened.config, opened.names.target)


def _make_layers(opened: OpenedPatch, maker: LayerMaker, sink: LayerSink) -> None:
    header = opened.header
    if not header.rebuilt:
        maker.finish()
    for layer, diff_id in dict(zip(header.layers, opened.names.target, strict=True)).items():
        if isinstance(layer, WholeLayer) and not sink.has(diff_id):
            _into_sink(diff_id, layer.size, sink, partial(_copy, opened.layers.reader(layer.source_layer)))
    rebuilt = header.rebuilt
    missing = {layer for layer in rebuilt if not sink.has(layer.diff_id)}
    needed = max((number for number, layer in enumerate(rebuilt, 1) if layer in missing), default=0)
    for number, made in enumerate(rebuilt[:needed], 1):
        if made in missing:
            make = maker.make_last if number == len(rebuilt) else maker.make
            _into_sink(made.diff_id, made.size, sink, partial(make, made.size))
        else:
            maker.make(made.size, None)  # its bytes of the solid streams come first all the same


def _into_sink(diff_id: str, size: int, sink: LayerSink, fill: Callable[[LayerOutput], None]) -> None:
    writer = sink.begin(diff_id, size)
    try:
        output = LayerOutput(writer.write, size)
        fill(output)
        output.check(diff_id)
    except BaseException:
        sink.abort(diff_id)
        raise
    sink.commit(diff_id)


def _copy(reader: LayerReader, output: LayerOutput) -> None:
    for piece in read_pieces(reader, 0, reader.size):
        output.write(piece)
