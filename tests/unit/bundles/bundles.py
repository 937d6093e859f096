"""Bundles in memory, for tests."""

from __future__ import annotations

import hashlib
import io
import zlib
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from imagedelta.bundles import CHUNK_BYTES, BundleHead, Ed25519Sealer, PublicKey, Sealer, chunk_list, compose, share

SEALER = Ed25519Sealer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
TRUSTED: dict[str, PublicKey] = {SEALER.key_id: SEALER.public_key}
PATCH = b"what a patch holds is of no matter here" * 10


ANYONE: dict[str, Any] = {"bundle_id": "", "device_id": "", "transfer_id": "", "attempt": 0, "number": 0, "floor": 0}
"""What a bundle for any device does not say."""


def a_head(patch: bytes = PATCH, **changes: Any) -> BundleHead:
    """Return the head of a bundle as the cloud makes it."""
    fields: dict[str, Any] = {
        "bundle_id": "b-1",
        "device_id": "vessel-001",
        "transfer_id": "t-1",
        "attempt": 1,
        "number": 17,
        "floor": 12,
        "target_image_id": "sha256:" + "1" * 64,
        "source_image_ids": ("sha256:" + "2" * 64,),
        "reference": "app:2",
        "platform": "linux/amd64",
        "patch_sha256": hashlib.sha256(patch).hexdigest(),
        "patch_bytes": len(patch),
        "memory_bytes": 3_000_000,
        "full_bytes": 200_000_000,
        "priority": 1,
    }
    return BundleHead(**{**fields, **changes})


def a_bundle(patch: bytes = PATCH, sealer: Sealer | None = SEALER, **changes: Any) -> bytes:
    """Return a whole bundle."""
    head, tail = compose(a_head(patch, **changes), sealer, zlib.crc32(patch), len(patch))
    return head + patch + tail


def chunks_of(patch: bytes, chunk_bytes: int) -> bytes:
    """Return the chunk list of ``patch``."""
    return chunk_list(io.BytesIO(patch), chunk_bytes)


def a_shared(patch: bytes = PATCH, sealer: Sealer | None = SEALER, **changes: Any) -> bytes:
    """Return the file of a shared bundle."""
    chunks = chunks_of(patch, changes.get("chunk_bytes", CHUNK_BYTES))
    head = a_head(patch, **{"chunks_sha256": hashlib.sha256(chunks).hexdigest(), **changes})
    before, _ = compose(head, sealer, zlib.crc32(patch), len(patch))
    return share(before, chunks)
