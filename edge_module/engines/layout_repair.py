"""What can be made good in a layout whose records are damaged: everything but names follows from its blobs.

Manifests of our own follow from config and layers, byte for byte (imagedelta.archives.oci_json); which images there are
follows from manifests and configs. Configs and layers cannot be made good: the cloud sends them again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edge_module.engines.layout_index import Entry, digest_of, manifest_entry
from edge_module.engines.layout_store import BLOBS, blob_path, read_blob
from edge_module.files import Files
from imagedelta.archives.json_reading import field_of, parse_object
from imagedelta.archives.model import Image, image_from_config, sha256_id
from imagedelta.archives.oci import foreign_kind
from imagedelta.archives.oci_json import manifest_bytes
from imagedelta.errors import ContentError
from imagedelta.limits import Limits

_HEX_DIGITS = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class FoundImage:
    """An image whose config is here, and a manifest that leads to it."""

    entry: Entry
    manifest: bytes
    """To be written if it is not here."""


def find_images(files: Files, limits: Limits) -> list[FoundImage]:
    """Every image that the blobs show, whether its layers are whole or not: by its manifest, else by its config."""
    documents = dict(_documents(files, limits))
    found = [each for digest, data in documents.items() if (each := _by_manifest(digest, data, documents, limits))]
    led_to = {str(parse_object(each.manifest, "manifest")["config"]["digest"]) for each in found}
    for digest, data in documents.items():
        if digest not in led_to and (each := _by_config(files, data, limits)):
            found.append(each)
    return found


def find_manifest(files: Files, digest: str, limits: Limits) -> bytes | None:
    """The manifest with that digest, made from a config and the layers that are here; None when none gives it."""
    for _, data in _documents(files, limits):
        made = _by_config(files, data, limits)
        if made is not None and made.entry["digest"] == digest:
            return made.manifest
    return None


def reachable(files: Files, entries: Iterable[Entry], limits: Limits) -> set[str]:
    """Digests of all blobs that the entries lead to, whether they are here or not."""
    found: set[str] = set()
    waiting = list(_digests(entries))
    while waiting:
        digest = waiting.pop()
        if digest in found:
            continue
        found.add(digest)
        data = read_blob(files, digest, limits.max_manifest_bytes)
        if data is not None and data.startswith(b"{"):
            waiting += _referred(data)
    return found


def _referred(data: bytes) -> Iterator[str]:
    try:
        document = parse_object(data, "a blob")
    except ContentError:
        return
    for name in ("config", "layers", "manifests", "blobs"):
        value = field_of(document, name)
        yield from _digests(value if isinstance(value, list) else [value])


def _digests(descriptors: Iterable[Any]) -> Iterator[str]:
    yield from filter(None, map(digest_of, descriptors))


def _documents(files: Files, limits: Limits) -> Iterator[tuple[str, bytes]]:
    """Digest and bytes of the blobs that are small, undamaged and may be JSON."""
    most = max(limits.max_manifest_bytes, limits.max_config_bytes)
    for name in files.list(BLOBS):
        if not _HEX_DIGITS.fullmatch(name) or not _begins_as_json(files, f"{BLOBS}/{name}"):
            continue
        data = read_blob(files, f"sha256:{name}", most)
        if data is not None:
            yield f"sha256:{name}", data


def _begins_as_json(files: Files, path: str) -> bool:
    if not files.size(path):
        return False
    with files.open(path) as stream:
        return stream.read(1) == b"{"


def _by_manifest(digest: str, data: bytes, documents: Mapping[str, bytes], limits: Limits) -> FoundImage | None:
    try:
        manifest = parse_object(data, "a blob")
        config = field_of(manifest, "config")
        if not isinstance(config, dict) or foreign_kind(manifest) is not None:
            return None
        image = image_from_config(documents[str(field_of(config, "digest"))], (), limits)
    except (ContentError, KeyError):
        return None
    return FoundImage(manifest_entry(digest, len(data), image.platform), data)


def _by_config(files: Files, data: bytes, limits: Limits) -> FoundImage | None:
    try:
        if not isinstance(parse_object(data, "a blob").get("rootfs"), dict):
            return None
        image = image_from_config(data, (), limits)
    except ContentError:
        return None
    sizes = _sizes(files, image)
    if sizes is None:
        return None
    manifest = manifest_bytes(image, sizes)
    return FoundImage(manifest_entry(sha256_id(manifest), len(manifest), image.platform), manifest)


def _sizes(files: Files, image: Image) -> list[int] | None:
    sizes = [files.size(blob_path(diff_id)) for diff_id in image.diff_ids]
    return [size for size in sizes if size is not None] if None not in sizes else None
