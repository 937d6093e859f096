"""The JSON of an OCI image layout, as bytes: which file holds what, with nothing written anywhere.

Everything is deterministic: keys sorted, no spaces, layers uncompressed. So the manifest's digest follows
from the image alone and is the same on every device. Writers choose how bytes reach the disk
(imagedelta.archives.layout does it on a plain folder, a device through its own file port).

Source: OCI image-spec 1.1, manifest.md, image-index.md, image-layout.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from imagedelta.archives.json_reading import parse_object
from imagedelta.archives.model import Image, sha256_id
from imagedelta.archives.oci import (
    CONFIG_TYPE,
    INDEX_TYPE,
    LAYER_TYPE,
    MANIFEST_TYPE,
    NAME_ANNOTATION,
    entry_name,
)
from imagedelta.errors import ContentError

Document = dict[str, Any]


def layout_marker() -> bytes:
    """Return the content of the file ``oci-layout``."""
    return _canonical({"imageLayoutVersion": "1.0.0"})


def manifest_bytes(image: Image, layer_sizes: Sequence[int]) -> bytes:
    """Return the manifest of an image whose layers are stored uncompressed.

    Args:
        image: The image; its references play no part.
        layer_sizes: Bytes of each uncompressed layer tar, lowest first.
    """
    layers = zip(image.diff_ids, layer_sizes, strict=True)
    return _canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _descriptor(CONFIG_TYPE, image.image_id, len(image.config)),
            "layers": [_descriptor(LAYER_TYPE, diff_id, size) for diff_id, size in layers],
        }
    )


def index_with(index: bytes | None, manifest: bytes, image: Image) -> bytes:
    """Return ``index.json`` with this image under all its references, and whatever else it held.

    Args:
        index: The index so far; ``None`` for the first image.
        manifest: What ``manifest_bytes`` returned for the image.
        image: Its references are taken away from any other image that has them. An image without
            references is listed once, unnamed.

    Raises:
        ContentError: ``index`` is malformed.
    """
    digest = sha256_id(manifest)
    kept = [
        entry
        for entry in _entries(index)
        if entry_name(entry) not in image.references and not (entry_name(entry) == "" and _is(entry, digest))
    ]
    if not image.references and any(_is(entry, digest) for entry in kept):
        return _index_bytes(kept)
    descriptor = _descriptor(MANIFEST_TYPE, digest, len(manifest))
    if image.platform:
        descriptor["platform"] = platform_object(image.platform)
    named = [{**descriptor, "annotations": {NAME_ANNOTATION: name}} for name in image.references]
    return _index_bytes(kept + (named or [descriptor]))


def index_without(index: bytes, manifest_digest: str) -> bytes:
    """Return ``index.json`` without any entry of that manifest; the blobs can be deleted afterwards."""
    return _index_bytes([entry for entry in _entries(index) if not _is(entry, manifest_digest)])


def _index_bytes(entries: Sequence[Document]) -> bytes:
    ordered = sorted(entries, key=lambda entry: (entry_name(entry), str(entry.get("digest"))))
    return _canonical({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": ordered})


def _entries(index: bytes | None) -> list[Document]:
    if index is None:
        return []
    entries = parse_object(index, "index.json").get("manifests")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ContentError("index.json: manifests is not a list of descriptors")
    return entries


def _is(entry: Document, digest: str) -> bool:
    return bool(entry.get("digest") == digest)


def _descriptor(media_type: str, digest: str, size: int) -> Document:
    return {"mediaType": media_type, "digest": digest, "size": size}


def platform_object(platform: str) -> Document:
    """Return a platform as descriptors state it."""
    return dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))


def _canonical(document: Document) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
