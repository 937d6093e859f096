"""Proof that a patch makes its image, given before it is published: a coder bug is never found at sea."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

from imagedelta.delta.apply import DEFAULT_MEMORY_LIMIT, AppliedImage, apply_patch
from imagedelta.delta.content import ImageContent, LayerReader
from imagedelta.errors import DigestMismatch
from imagedelta.limits import DEFAULT_LIMITS, Limits


class _Discard:
    """A sink that has nothing and keeps nothing: every layer is made and its digest held."""

    def __init__(self, present: frozenset[str]) -> None:
        self._present = present

    def has_layer(self, diff_id: str) -> bool:
        return diff_id in self._present

    def begin_layer(self, diff_id: str, size: int) -> _Discard:
        return self

    def write(self, data: bytes) -> None:
        pass

    def commit_layer(self, diff_id: str) -> None:
        pass

    def abort_layer(self, diff_id: str) -> None:
        pass


def verify_patch(
    patch: BinaryIO,
    target: ImageContent,
    sources: Sequence[ImageContent],
    *,
    limits: Limits = DEFAULT_LIMITS,
    memory_limit: int = DEFAULT_MEMORY_LIMIT,
) -> AppliedImage:
    """Rebuild the image with the device's own reader and compare it with ``target``.

    Layers taken whole from a source are not read: they are the same stored blob.

    Args:
        patch: Seekable, on its first byte.

    Raises:
        ContentError: The patch does not make the image; it must not be published.
    """
    readers: dict[str, LayerReader] = {}
    for source in sources:
        readers.update({layer.index.diff_id: layer.reader for layer in source.layers})
    shared = frozenset(target.diff_ids) & frozenset(readers)
    sink = _Discard(shared)
    applied = apply_patch(patch, readers.__getitem__, sink, limits=limits, memory_limit=memory_limit)
    if (applied.image_id, applied.config, applied.diff_ids) != (target.image_id, target.config, target.diff_ids):
        raise DigestMismatch(f"the patch makes {applied.image_id} instead of {target.image_id}")
    return applied
