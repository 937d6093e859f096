"""Bundles: a zip of ``bundle.json``, its seal and a patch.

Head and tail are small and made per device; the patch between them is the same for every device and is never
copied through this process. Not here: the zip's bytes (imagedelta.bundles.zip_layout), the fields
(imagedelta.bundles.head), the patch itself (imagedelta.delta).

Source: docs/formats/bundle.md.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

from imagedelta.bundles import zip_layout
from imagedelta.bundles.head import CHUNK_BYTES, BundleHead, head_from_bytes
from imagedelta.bundles.keys import PublicKey
from imagedelta.bundles.seal import Sealer, seal, seal_key_id, verify_seal
from imagedelta.delta.format.header import PatchHeader, read_patch_header
from imagedelta.errors import ContentError, DigestMismatch, LimitExceeded, Truncated
from imagedelta.limits import DEFAULT_LIMITS, Limits
from imagedelta.slices import SliceReader

HEAD_BYTES = 64 * 1024
"""The whole head always lies in a prefix of this size."""
_READ_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class OpenedBundle:
    """A bundle whose layout and seal were checked.

    The patch is verified by ``verify_patch_digest``, and that it makes what was sealed by ``read_patch_head``.
    """

    head: BundleHead
    sealed_by: str | None
    """Id of the key that the seal names; ``None`` without a seal."""
    seal_checked: bool
    """That key was among the trusted ones and the seal fits. False: no keys were given, so the name proves nothing."""
    patch: BinaryIO
    """Seekable, read-only view of the patch member."""
    patch_offset: int

    def verify_patch_digest(self) -> None:
        """Read the patch once and compare it with the sealed digest; leaves it rewound.

        Raises:
            DigestMismatch: It is another patch.
        """
        self.patch.seek(0)
        digest = hashlib.sha256()
        while block := self.patch.read(_READ_BYTES):
            digest.update(block)
        self.patch.seek(0)
        if digest.hexdigest() != self.head.patch_sha256:
            raise DigestMismatch(f"the patch has sha256 {digest.hexdigest()}, sealed {self.head.patch_sha256}")

    def read_patch_head(self) -> PatchHeader:
        """Read the head of the patch and compare what it makes with what was sealed; leaves the patch rewound.

        Raises:
            ContentError: It is for another image or other sources than the bundle's head says, or no patch. The
                platforms may differ: a person's word outweighs the config's, which the patch has.
        """
        self.patch.seek(0)
        header = read_patch_header(self.patch)
        self.patch.seek(0)
        head = self.head
        if (header.target_image_id, header.source_image_ids) != (head.target_image_id, head.source_image_ids):
            raise ContentError(
                f"the patch makes {header.target_image_id} out of {len(header.source_image_ids)} images, the bundle's"
                f" head says {head.target_image_id} out of {len(head.source_image_ids)}:"
                " whoever sealed it put in the wrong patch"
            )
        return header


def compose(head: BundleHead, sealer: Sealer | None, patch_crc32: int, patch_bytes: int) -> tuple[bytes, bytes]:
    """Return what goes before and after the patch.

    Args:
        sealer: ``None`` leaves the bundle unsealed: no device takes it, the command line does.
        patch_crc32: CRC-32 of the patch, as zip wants it.
        patch_bytes: Size of the patch; the same as ``head.patch_bytes``.

    Raises:
        ContentError: The sizes differ, or a field of ``head`` is out of its bounds.
    """
    if patch_bytes != head.patch_bytes:
        raise ContentError(f"a patch of {patch_bytes} bytes under a head that says {head.patch_bytes}")
    json = head.to_bytes()
    seal_bytes = seal(json, sealer) if sealer else b""
    parts = zip_layout.BundleParts(zip_layout.pack_json(json), json, seal_bytes, patch_crc32, patch_bytes)
    return zip_layout.head_bytes(parts), zip_layout.tail_bytes(parts)


def parse_head(prefix: bytes, trusted: Mapping[str, PublicKey] | None) -> tuple[BundleHead, int]:
    """Read the head of a bundle that is still on its way.

    Args:
        prefix: Its first 64 KiB, or all of it when it is shorter.
        trusted: Keys a seal may be of; ``None`` checks no seal.

    Returns:
        The head, and the offset of the patch: chunk ``i`` of the patch begins ``i * head.chunk_bytes`` later.

    Raises:
        SealError: See ``verify_seal``; nothing inside was interpreted before the seal was checked.
        ContentError: Not a bundle, truncated, over a limit, of another version.
    """
    parts, offset = zip_layout.read_head(prefix[:HEAD_BYTES])
    if trusted is not None:
        verify_seal(parts.json, parts.seal, trusted)
    head = head_from_bytes(parts.json)
    if head.patch_bytes != parts.patch_bytes:
        raise ContentError(f"a patch of {parts.patch_bytes} bytes under a head that says {head.patch_bytes}")
    return head, offset


def read_bundle(
    stream: BinaryIO, trusted: Mapping[str, PublicKey] | None, limits: Limits = DEFAULT_LIMITS
) -> OpenedBundle:
    """Open a whole bundle: seal, head and tail are verified, the patch is not read.

    Args:
        stream: Seekable; stays open, and belongs to the caller.
        trusted: Keys a seal may be of; ``None`` checks no seal.

    Raises:
        SealError: See ``verify_seal``.
        ContentError: Not a bundle, truncated, over a limit, other or more members than the format has.
    """
    stream.seek(0)
    prefix = stream.read(HEAD_BYTES)
    head, offset = parse_head(prefix, trusted)
    if head.patch_bytes > limits.max_image_bytes:
        raise LimitExceeded(f"a patch of {head.patch_bytes} bytes, at most {limits.max_image_bytes}")
    parts, _ = zip_layout.read_head(prefix)
    _check_tail(stream, offset + head.patch_bytes, zip_layout.tail_bytes(parts))
    view = io.BufferedReader(SliceReader(stream, offset, head.patch_bytes))
    return OpenedBundle(head, seal_key_id(parts.seal), trusted is not None, view, offset)


def chunk_list(patch: BinaryIO, chunk_bytes: int = CHUNK_BYTES) -> bytes:
    """Return SHA-256 of each chunk of ``patch``, concatenated: the file ``<bundle>.chunks``."""
    digests = bytearray()
    while chunk := _read_full(patch, chunk_bytes):
        digests += hashlib.sha256(chunk).digest()
    return bytes(digests)


def check_chunk_list(head: BundleHead, chunks: bytes) -> None:
    """Check a downloaded chunk list against the sealed head.

    Raises:
        DigestMismatch: It is not the list the head names, or has another number of chunks than the patch.
    """
    expected = -(-head.patch_bytes // head.chunk_bytes) * hashlib.sha256().digest_size
    if len(chunks) != expected or hashlib.sha256(chunks).hexdigest() != head.chunks_sha256:
        raise DigestMismatch(f"the chunk list of {len(chunks)} bytes is not the one that was sealed")


def check_chunk(chunks: bytes, number: int, data: bytes) -> None:
    """Check chunk ``number`` of a patch against a checked list.

    Raises:
        DigestMismatch: The chunk was damaged or exchanged on the way.
    """
    size = hashlib.sha256().digest_size
    if hashlib.sha256(data).digest() != chunks[number * size : (number + 1) * size]:
        raise DigestMismatch(f"chunk {number} of the patch arrived damaged")


def _check_tail(stream: BinaryIO, at: int, expected: bytes) -> None:
    size = stream.seek(0, io.SEEK_END)
    if size < at + len(expected):
        raise Truncated(f"the bundle has {size} bytes, its head says {at + len(expected)}")
    stream.seek(at)
    if size > at + len(expected) or stream.read(len(expected)) != expected:
        raise ContentError("after the patch comes something else than the directory of three members")


def _read_full(stream: BinaryIO, size: int) -> bytes:
    parts = []
    while size and (block := stream.read(size)):
        parts.append(block)
        size -= len(block)
    return b"".join(parts)
