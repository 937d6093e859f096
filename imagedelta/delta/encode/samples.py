"""A sample of a raw stream, by which its coding is chosen: blocks that are spread over it."""

from __future__ import annotations

from collections.abc import Sequence

from imagedelta.delta.content import Extent
from imagedelta.limits import KIB

_BLOCKS, _BLOCK_BYTES = 4, 128 * KIB
SAMPLE_BYTES = _BLOCKS * _BLOCK_BYTES
"""Of a stream that is not shorter."""


def sample(segments: Sequence[Extent]) -> bytes:
    """Return blocks that are spread over a stream, of at most ``SAMPLE_BYTES``."""
    size = sum(segment.size for segment in segments)
    middles = (size * (2 * number + 1) // (2 * _BLOCKS) for number in range(_BLOCKS))
    places = (max(0, middle - _BLOCK_BYTES // 2) for middle in middles)
    return b"".join(_read_across(segments, place, min(_BLOCK_BYTES, size - place)) for place in places)


def _read_across(segments: Sequence[Extent], offset: int, length: int) -> bytes:
    """Read from segments as if they were one file."""
    parts = []
    for segment in segments:
        if offset < segment.size and length:
            parts.append(segment.read_at(offset, min(length, segment.size - offset)))
            length -= len(parts[-1])
        offset = max(0, offset - segment.size)
    return b"".join(parts)
