"""Bundles: what travels to a device. Keys, seals, and the zip around a patch (docs/formats/bundle.md)."""

import imagedelta.bundles.codes  # noqa: F401 - explains them
from imagedelta.bundles.bundle import (
    HEAD_BYTES,
    OpenedBundle,
    check_chunk,
    check_chunk_list,
    chunk_list,
    compose,
    parse_head,
    read_bundle,
)
from imagedelta.bundles.canonical import canonical_bytes, read_canonical
from imagedelta.bundles.head import CHUNK_BYTES, BundleHead, head_from_bytes
from imagedelta.bundles.keys import (
    PublicKey,
    public_key_from_text,
    read_trusted_keys,
    trusted_keys,
    write_key_pair,
)
from imagedelta.bundles.seal import Ed25519Sealer, FileSealer, Sealer, seal, verify_seal
from imagedelta.bundles.shared import MAX_SHARED_BYTES, SharedBundle, read_shared, share

__all__ = [
    "CHUNK_BYTES",
    "HEAD_BYTES",
    "MAX_SHARED_BYTES",
    "BundleHead",
    "Ed25519Sealer",
    "FileSealer",
    "OpenedBundle",
    "PublicKey",
    "Sealer",
    "SharedBundle",
    "canonical_bytes",
    "check_chunk",
    "check_chunk_list",
    "chunk_list",
    "compose",
    "head_from_bytes",
    "parse_head",
    "public_key_from_text",
    "read_bundle",
    "read_canonical",
    "read_shared",
    "read_trusted_keys",
    "seal",
    "share",
    "trusted_keys",
    "verify_seal",
    "write_key_pair",
]
