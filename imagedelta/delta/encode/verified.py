"""A patch that has been proved: built, then run by the device's own reader before anyone gets it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from imagedelta.delta.content import ImageContent
from imagedelta.delta.encode.build import PatchSummary, Progress, Stage, build_patch
from imagedelta.delta.encode.remembering import Memory
from imagedelta.delta.encode.verify import verify_patch
from imagedelta.delta.format.profiles import DEFAULT_PROFILE, Profile


def build_verified_patch(
    target: ImageContent,
    sources: Sequence[ImageContent],
    patch: BinaryIO,
    *,
    profile: Profile = DEFAULT_PROFILE,
    scratch: Path,
    progress: Progress | None = None,
) -> PatchSummary:
    """Write a patch as ``build_patch`` does, and run it as ``verify_patch`` does.

    Args:
        patch: Empty, readable and seekable; left at its start.

    Returns:
        The summary; ``bytes_read`` counts the reads of both.

    Raises:
        ContentError: The patch does not make the image, or a stored layer is damaged: it must not be published.
        RequestError: More than 16 sources.
    """
    memory = Memory()
    remembered, remembered_sources = memory.image(target), [memory.image(source) for source in sources]
    summary = build_patch(remembered, remembered_sources, patch, profile=profile, scratch=scratch, progress=progress)
    patch.seek(0)
    if progress:
        progress(Stage.CHECKING, 0, 0)
    verify_patch(patch, remembered, remembered_sources)
    patch.seek(0)
    return replace(summary, bytes_read=memory.bytes_read)
