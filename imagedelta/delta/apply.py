"""Rebuilding an image from a patch: what a device does, and what the cloud does before it publishes.

Streaming, layer after layer, in bounded memory: the decoders (stated in the head) and pieces of 64 KiB.
A layer the sink has already is not made again, so what a kill leaves finished stays finished. Nothing is
committed before its digest holds.

Source: docs/formats/patch.md, section 7.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Protocol, cast

from imagedelta.archives.model import image_from_config
from imagedelta.delta import byte_sums, config_text
from imagedelta.delta.content import LayerReader
from imagedelta.delta.header import PatchHeader, TargetLayer, read_patch_header
from imagedelta.delta.layer_maker import Kept, LayerMaker, LayerOutput
from imagedelta.delta.raw_streams import Tape, open_tapes
from imagedelta.delta.roles import Role
from imagedelta.delta.tar_structure import tar_structure
from imagedelta.errors import ContentError, DigestMismatch, LimitExceeded, SourceMissing, Truncated
from imagedelta.limits import DEFAULT_LIMITS, MIB, Limits

DEFAULT_MEMORY_LIMIT = 128 * MIB
PROCESS_BYTES = 56 * MIB
"""Beside the decoders: interpreter and buffers take 22 MB, a device's HTTP and JSON libraries about 30 more."""
FindLayer = Callable[[str], LayerReader]
"""diff_id → reader; raises KeyError when the layer is not there."""


class LayerWriter(Protocol):
    """Takes the bytes of one layer, front to back."""

    def write(self, data: bytes, /) -> object: ...


class LayerSink(Protocol):
    """Where rebuilt layers go."""

    def has_layer(self, diff_id: str) -> bool:
        """Whether the layer is there, complete and verified."""
        ...

    def begin_layer(self, diff_id: str, size: int) -> LayerWriter:
        """Make room for ``size`` bytes; what an earlier attempt left of the layer is dropped."""
        ...

    def commit_layer(self, diff_id: str) -> None:
        """All bytes are written and have the right digest: make the layer last."""
        ...

    def abort_layer(self, diff_id: str) -> None:
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
        memory_limit: What the process may take in all; ``PROCESS_BYTES`` of it are not for decoders.
        scratch: Opens the file for bytes that occur again later; by default one in the temporary folder.

    Raises:
        SourceMissing: "source.missing": a source layer is not there; "source.different": it has other bytes
            than its digest says.
        LimitExceeded: "patch.memory": the decoders take more than the limit leaves them; else see the limits.
        ContentError: Any other defect of the patch. Finished layers stay in the sink; the one begun is dropped.
    """
    base = patch.tell()
    header = read_patch_header(patch, limits)
    _check_memory(header, memory_limit)
    start = patch.tell()
    _check_length(patch, header, start - base, base)
    sources = _Sources(header, find_layer)
    tapes = open_tapes(patch, start, header, sources.structure)
    config = _read_config(header, tapes[Role.CONFIG], limits)
    with (scratch or _temporary_file)() as kept_file:
        maker = LayerMaker(tapes, sources.reader, Kept(kept_file, header.scratch_bytes))
        try:
            _make_layers(header, maker, sources, sink)
        except SourceMissing:
            raise
        except ContentError:
            sources.check_digests()
            raise
    return AppliedImage(header.target_image_id, config, tuple(layer.diff_id for layer in header.layers))


class _Sources:
    """Readers of the source layers, opened when first needed."""

    def __init__(self, header: PatchHeader, find_layer: FindLayer) -> None:
        self._diff_ids = header.source_layers
        self._find_layer = find_layer
        self._readers: dict[int, LayerReader] = {}

    def reader(self, number: int) -> LayerReader:
        if number >= len(self._diff_ids):
            raise ContentError(f"patch step names source layer {number} of {len(self._diff_ids)}")
        if number not in self._readers:
            diff_id = self._diff_ids[number]
            try:
                self._readers[number] = self._find_layer(diff_id)
            except KeyError as error:
                raise SourceMissing(f"layer {diff_id} of the source is not here") from error
        return self._readers[number]

    def structure(self, numbers: Sequence[int], limit: int) -> bytes:
        out = bytearray()
        for number in numbers:
            out += tar_structure(self.reader(number), limit - len(out))
        return bytes(out)

    def check_digests(self) -> None:
        """Tell a source with wrong bytes from a patch with wrong bytes, after a layer came out wrong.

        Raises:
            SourceMissing: "source.different".
        """
        for number, reader in self._readers.items():
            digest = hashlib.sha256()
            for offset in range(0, reader.size, MIB):
                digest.update(reader.read_at(offset, min(MIB, reader.size - offset)))
            if "sha256:" + digest.hexdigest() != self._diff_ids[number]:
                raise SourceMissing(
                    f"layer {self._diff_ids[number]} of the source has other bytes", code="source.different"
                )


def _make_layers(header: PatchHeader, maker: LayerMaker, sources: _Sources, sink: LayerSink) -> None:
    missing = {layer for layer in header.layers if not sink.has_layer(layer.diff_id)}
    for layer in dict.fromkeys(header.layers):
        if layer in missing and layer.whole_from is not None:
            _into_sink(layer, sink, partial(_copy, sources.reader(layer.whole_from)))
    rebuilt = header.rebuilt
    needed = max((number for number, layer in enumerate(rebuilt, 1) if layer in missing), default=0)
    for number, layer in enumerate(rebuilt[:needed], 1):
        if layer in missing:
            make = maker.make_last if number == len(rebuilt) else maker.make
            _into_sink(layer, sink, partial(make, layer.size))
        else:
            maker.make(layer.size, None)  # its bytes of the solid streams come first all the same


def _into_sink(layer: TargetLayer, sink: LayerSink, fill: Callable[[LayerOutput], None]) -> None:
    writer = sink.begin_layer(layer.diff_id, layer.size)
    try:
        output = LayerOutput(writer.write, layer.size)
        fill(output)
        output.check(layer.diff_id)
    except BaseException:
        sink.abort_layer(layer.diff_id)
        raise
    sink.commit_layer(layer.diff_id)


def _copy(reader: LayerReader, output: LayerOutput) -> None:
    for offset in range(0, reader.size, byte_sums.PIECE_BYTES):
        output.write(reader.read_at(offset, min(byte_sums.PIECE_BYTES, reader.size - offset)))


def _read_config(header: PatchHeader, tape: Tape, limits: Limits) -> bytes:
    size = sum(stream.raw_bytes for stream in header.streams if stream.role is Role.CONFIG)
    diff_ids = tuple(layer.diff_id for layer in header.layers)
    config = config_text.restore(tape.read(size), diff_ids, header.config_bytes)
    tape.finish()
    if "sha256:" + hashlib.sha256(config).hexdigest() != header.target_image_id:
        raise DigestMismatch(f"the config of the patch is not that of image {header.target_image_id}")
    image = image_from_config(config, limits=limits)
    if image.diff_ids != diff_ids:
        raise ContentError("the patch makes other layers than the config of its image names")
    if image.platform != header.platform:
        raise ContentError(f"the patch says {header.platform}, the config of its image {image.platform}")
    return config


def _check_memory(header: PatchHeader, memory_limit: int) -> None:
    available = memory_limit - PROCESS_BYTES
    if header.memory_bytes > available:
        raise LimitExceeded(
            f"the patch needs {header.memory_bytes} bytes for its decoders, this device leaves {available}",
            code="patch.memory",
        )


def _check_length(patch: BinaryIO, header: PatchHeader, head_bytes: int, base: int) -> None:
    stated = head_bytes + sum(stream.coded_bytes for stream in header.streams)
    actual = patch.seek(0, io.SEEK_END) - base
    if actual < stated:
        raise Truncated(f"a patch of {actual} bytes whose head says {stated}")
    if actual > stated:
        raise ContentError(f"a patch of {actual} bytes whose head says {stated}")


def _temporary_file() -> BinaryIO:
    return cast(BinaryIO, tempfile.TemporaryFile())
