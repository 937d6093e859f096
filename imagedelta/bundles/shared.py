"""Shared bundles: what one device needs beside a patch that many devices fetch from the same blob.

The file holds the bytes of a bundle before its patch, and behind them the patch's chunk list. The patch is found
by the sealed ``patchSha256``; the bytes after it follow from those before it. So a downloader makes byte for byte
the bundle that the cloud would have composed.

Source: docs/formats/bundle.md, section 5, shared form.
"""

from __future__ import annotations

from dataclasses import dataclass

from imagedelta.bundles import zip_layout
from imagedelta.bundles.bundle import HEAD_BYTES
from imagedelta.errors import LimitExceeded
from imagedelta.limits import DEFAULT_LIMITS, MIB, Limits

MAX_SHARED_BYTES = HEAD_BYTES + 2 * MIB
"""A head, and the chunk list of a 64 GiB patch in chunks of 1 MiB."""


@dataclass(frozen=True, slots=True)
class SharedBundle:
    """The parts of a bundle around its patch. Only their layout was checked: the seal and the chunk list were not."""

    before: bytes
    patch_bytes: int
    after: bytes
    chunks: bytes
    """The chunk list, for ``check_chunk_list`` with the head that the seal vouches for."""

    @property
    def patch_end(self) -> int:
        """Where ``after`` begins in the whole bundle."""
        return len(self.before) + self.patch_bytes

    @property
    def bundle_bytes(self) -> int:
        """Size of the whole bundle."""
        return self.patch_end + len(self.after)


def share(before: bytes, chunks: bytes) -> bytes:
    """Return the file of a shared bundle.

    Args:
        before: What ``compose`` puts before the patch.
        chunks: The chunk list that the head names.

    Raises:
        LimitExceeded: The file would be over its limit; such a bundle is composed instead.
    """
    data = before + chunks
    _check_size(data)
    return data


def read_shared(data: bytes, limits: Limits = DEFAULT_LIMITS) -> SharedBundle:
    """Take the file of a shared bundle apart.

    Raises:
        LimitExceeded: The file, its ``bundle.json`` or the patch is over its limit.
        ContentError: Truncated, or another layout than a bundle's head has.
    """
    _check_size(data)
    parts, offset = zip_layout.read_head(data[:HEAD_BYTES])
    if parts.patch_bytes > limits.max_image_bytes:
        raise LimitExceeded(f"a patch of {parts.patch_bytes} bytes, at most {limits.max_image_bytes}")
    return SharedBundle(data[:offset], parts.patch_bytes, zip_layout.tail_bytes(parts), data[offset:])


def _check_size(data: bytes) -> None:
    if len(data) > MAX_SHARED_BYTES:
        raise LimitExceeded(f"the file of a shared bundle has {len(data)} bytes, at most {MAX_SHARED_BYTES}")
