"""Building and applying patches in memory, for tests."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from imagedelta.delta import (
    DEFAULT_PROFILE,
    AppliedImage,
    BytesReader,
    ImageContent,
    LayerContent,
    Profile,
    apply_patch,
    read_patch_header,
)
from imagedelta.delta.encode import PatchSummary, build_patch
from imagedelta.delta.format.roles import Role
from imagedelta.signatures.index import index_layer
from tests.images import BuiltImage


class MemorySink:
    """Keeps committed layers; ``log`` says what happened."""

    def __init__(self, layers: dict[str, bytes] | None = None) -> None:
        self.layers = dict(layers or {})
        self.log: list[str] = []
        self._open: dict[str, bytearray] = {}

    def has(self, diff_id: str) -> bool:
        return diff_id in self.layers

    def begin(self, diff_id: str, size: int) -> _Writer:
        self.log.append(f"begin {diff_id[7:13]}")
        self._open[diff_id] = bytearray()
        return _Writer(self._open[diff_id])

    def commit(self, diff_id: str) -> None:
        self.log.append(f"commit {diff_id[7:13]}")
        self.layers[diff_id] = bytes(self._open.pop(diff_id))

    def abort(self, diff_id: str) -> None:
        self.log.append(f"abort {diff_id[7:13]}")
        del self._open[diff_id]

    @property
    def half_done(self) -> list[str]:
        return list(self._open)


class _Writer:
    def __init__(self, data: bytearray) -> None:
        self._data = data

    def write(self, data: bytes) -> None:
        self._data += data


def content_of(built: BuiltImage) -> ImageContent:
    """Return the image as the encoder takes it."""
    layers = tuple(LayerContent(index_layer(io.BytesIO(tar)), BytesReader(tar)) for tar in built.layers)
    return ImageContent(built.image_id, built.image.config, layers)


def layers_of(*images: BuiltImage) -> dict[str, bytes]:
    """Return every layer of ``images`` by diff_id."""
    return {diff_id: tar for built in images for diff_id, tar in zip(built.image.diff_ids, built.layers, strict=True)}


def a_patch(
    target: BuiltImage, *sources: BuiltImage, scratch: Path, profile: Profile = DEFAULT_PROFILE
) -> tuple[bytes, PatchSummary]:
    """Return a patch and its summary."""
    out = io.BytesIO()
    contents: Sequence[ImageContent] = [content_of(source) for source in sources]
    summary = build_patch(content_of(target), contents, out, profile=profile, scratch=scratch)
    return out.getvalue(), summary


def applied(patch: bytes, *sources: BuiltImage, sink: MemorySink | None = None) -> tuple[AppliedImage, MemorySink]:
    """Apply a patch where the layers of ``sources`` are."""
    sink = sink or MemorySink()
    known = {diff_id: BytesReader(tar) for diff_id, tar in layers_of(*sources).items()}
    configs = {source.image_id: source.image.config for source in sources}
    return apply_patch(io.BytesIO(patch), known.__getitem__, configs.__getitem__, sink), sink


def streams_of(patch: bytes) -> dict[Role, int]:
    """Return the raw size of every stream."""
    return {stream.role: stream.raw_bytes for stream in read_patch_header(io.BytesIO(patch)).streams}


def assert_rebuilt(target: BuiltImage, patch: bytes, *sources: BuiltImage) -> None:
    """Hold that the patch makes exactly ``target``."""
    image, sink = applied(patch, *sources)
    assert (image.image_id, image.config) == (target.image_id, target.image.config)
    assert {diff_id: sink.layers[diff_id] for diff_id in image.diff_ids} == layers_of(target)
