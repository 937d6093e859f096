"""Opening a patch: everything about it that can be held before any layer is made.

Source: docs/formats/patch.md, section 7.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

from imagedelta.archives.model import image_from_config
from imagedelta.delta import config_text
from imagedelta.delta.content import LayerReader
from imagedelta.delta.header import PatchHeader, read_patch_header
from imagedelta.delta.raw_streams import Tape, open_tapes
from imagedelta.delta.roles import Role
from imagedelta.delta.tar_structure import tar_structure
from imagedelta.errors import ContentError, DigestMismatch, LimitExceeded, SourceMissing, Truncated
from imagedelta.limits import MIB, Limits

DEFAULT_MEMORY_LIMIT = 128 * MIB
PROCESS_BYTES = 56 * MIB
"""Beside the decoders: interpreter and buffers take 22 MB, a device's HTTP and JSON libraries about 30 more."""
FindLayer = Callable[[str], LayerReader]
"""diff_id → reader; raises KeyError when the layer is not there."""


class Sources:
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


@dataclass(frozen=True, slots=True)
class OpenedPatch:
    """A patch whose head and config hold, with its streams at their start."""

    header: PatchHeader
    config: bytes
    tapes: dict[Role, Tape]
    sources: Sources


def open_patch(patch: BinaryIO, find_layer: FindLayer, limits: Limits, memory_limit: int) -> OpenedPatch:
    """Read head and config of a patch; arguments and errors as ``apply_patch``."""
    base = patch.tell()
    header = read_patch_header(patch, limits)
    _check_memory(header, memory_limit)
    start = patch.tell()
    _check_length(patch, header, start - base, base)
    sources = Sources(header, find_layer)
    tapes = open_tapes(patch, start, header, sources.structure)
    return OpenedPatch(header, _read_config(header, tapes[Role.CONFIG], limits), tapes, sources)


def temporary_file() -> BinaryIO:
    """Return a file that goes away when it is closed."""
    return cast(BinaryIO, tempfile.TemporaryFile())


def _read_config(header: PatchHeader, tape: Tape, limits: Limits) -> bytes:
    size = sum(stream.raw_bytes for stream in header.streams if stream.role is Role.CONFIG)
    config = config_text.restore(tape.read(size), header.diff_ids, header.config_bytes)
    tape.finish()
    if "sha256:" + hashlib.sha256(config).hexdigest() != header.target_image_id:
        raise DigestMismatch(f"the config of the patch is not that of image {header.target_image_id}")
    image = image_from_config(config, limits=limits)
    if image.diff_ids != header.diff_ids:
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
