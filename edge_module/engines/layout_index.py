"""The entries of a layout's ``index.json``: pure functions from old entries to new ones.

Rule: moving a name never loses an image. An image whose last name goes to another one stays listed, unnamed.
Not here: the manifest's bytes (imagedelta.archives.oci_json), files (edge_module.engines.layout).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from imagedelta.archives.json_reading import field_of, parse_object
from imagedelta.archives.model import require_digest
from imagedelta.archives.oci import INDEX_TYPE, MANIFEST_TYPE, NAME_ANNOTATION, entry_name, without_names
from imagedelta.archives.oci_json import platform_object
from imagedelta.errors import ContentError

Entry = dict[str, Any]


def read_entries(index: bytes) -> list[Entry]:
    """Raises: ContentError when it is no index of descriptors."""
    document = parse_object(index, "index.json")
    if "manifests" not in document:
        raise ContentError("index.json: no manifests")
    entries = document["manifests"] or []  # Go writes null for an empty list
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ContentError("index.json: manifests is not a list of descriptors")
    return entries


def digest_of(descriptor: Any) -> str:
    """The digest a descriptor names; "" when it names none that can be a file."""
    try:
        return require_digest(field_of(descriptor, "digest") if isinstance(descriptor, dict) else None, "descriptor")
    except ContentError:
        return ""


def index_bytes(entries: Sequence[Entry]) -> bytes:
    ordered = sorted(entries, key=lambda entry: (entry_name(entry), str(entry.get("digest"))))
    document = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": ordered}
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def manifest_entry(digest: str, size: int, platform: str) -> Entry:
    entry: Entry = {"mediaType": MANIFEST_TYPE, "digest": digest, "size": size}
    return {**entry, "platform": platform_object(platform)} if platform else entry


def with_entry(entries: Sequence[Entry], entry: Entry, reference: str) -> list[Entry]:
    """List what ``entry`` describes under ``reference``; "" lists it unnamed unless it is listed already."""
    digest = entry["digest"]
    if not reference:
        return list(entries) if any(each.get("digest") == digest for each in entries) else [*entries, _unnamed(entry)]
    kept = [each for each in entries if not _is_unnamed(each, digest)]
    named = {**_unnamed(entry), "annotations": {NAME_ANNOTATION: reference}}
    return [*_without_name(kept, reference, digest), named]


def without_digest(entries: Sequence[Entry], digests: frozenset[str]) -> list[Entry]:
    return [each for each in entries if digest_of(each) not in digests]


def _without_name(entries: Sequence[Entry], reference: str, digest: str) -> list[Entry]:
    kept: list[Entry] = []
    for each in entries:
        if entry_name(each) != reference:
            kept.append(each)
        elif each.get("digest") != digest and not _has_other_name(entries, each):
            kept.append(_unnamed(each))
    return kept


def _has_other_name(entries: Sequence[Entry], entry: Entry) -> bool:
    return any(each is not entry and each.get("digest") == entry.get("digest") for each in entries)


def _is_unnamed(entry: Entry, digest: str) -> bool:
    return not entry_name(entry) and entry.get("digest") == digest


def _unnamed(entry: Entry) -> Entry:
    noted = entry.get("annotations")
    annotations = without_names(noted) if isinstance(noted, dict) else {}
    plain = {key: value for key, value in entry.items() if key != "annotations"}
    return {**plain, "annotations": annotations} if annotations else plain
