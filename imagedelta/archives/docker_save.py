"""The classic ``docker save`` form: ``manifest.json`` names each image's config, layers and tags.

Every Docker version writes it, newer ones beside an OCI layout; so do skopeo, podman and crane.

Source: moby image/tarexport/save.go and load.go; the "Combined Image JSON + Filesystem Changeset Format" of Docker 1.2.
"""

from __future__ import annotations

from typing import Any

from imagedelta.archives.findings import Findings, Located
from imagedelta.archives.json_reading import field_of, parse
from imagedelta.archives.model import image_from_config
from imagedelta.archives.stores import Store, missing, read_document, safe_name
from imagedelta.errors import ContentError
from imagedelta.limits import Limits, over_limit

MANIFEST = "manifest.json"


def read_docker_save(store: Store, limits: Limits, findings: Findings) -> None:
    """Add the images of ``manifest.json``, in its order; an entry that cannot be read is passed over.

    Raises:
        ContentError: The manifest itself is malformed.
        LimitExceeded: It is too large, or lists too many images.
    """
    for number, entry in enumerate(_entries(store, limits), 1):
        with findings.passing_over(_title(entry, number)):
            findings.add(_located(store, entry, limits))


def _entries(store: Store, limits: Limits) -> list[Any]:
    entries = parse(read_document(store, MANIFEST, limits), MANIFEST)
    if not isinstance(entries, list):
        raise ContentError(f"{MANIFEST} is not a list of images", code="content.not_an_image")
    if len(entries) > limits.max_archive_images:
        raise over_limit(f"{MANIFEST} lists {len(entries)} images", "archive-images", limits)
    return entries


def _located(store: Store, entry: Any, limits: Limits) -> Located:
    if not isinstance(entry, dict):
        raise ContentError(f"{MANIFEST} has {str(entry)[:100]!r} where an image belongs")
    config = store.read_small(_file_name(field_of(entry, "Config")), limits.max_config_bytes)
    image = image_from_config(config, _tags(entry), limits)
    listed = field_of(entry, "Layers") or []
    if not isinstance(listed, list) or len(listed) != len(image.diff_ids):
        raise ContentError(f"{MANIFEST}: Layers does not fit the {len(image.diff_ids)} layers of the config")
    layers = tuple(map(_file_name, listed))
    for name in layers:
        if not store.has(name):
            raise missing(name)
    return Located(image, layers, (None,) * len(layers))


def _tags(entry: dict[str, Any]) -> tuple[str, ...]:
    tags = field_of(entry, "RepoTags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise ContentError(f"{MANIFEST}: RepoTags is not a list of names")
    return tuple(tags)


def _title(entry: Any, number: int) -> str:
    tags = field_of(entry, "RepoTags") if isinstance(entry, dict) else None
    return str(tags[0])[:255] if isinstance(tags, list) and tags else f"image {number} of {MANIFEST}"


def _file_name(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ContentError(f"{MANIFEST}: {str(value)[:100]!r} is not a file name")
    return safe_name(value.encode("utf-8", "surrogatepass"))
