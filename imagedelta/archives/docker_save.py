"""The classic ``docker save`` form: ``manifest.json`` names each image's config, layers and tags.

Every Docker version writes it, newer ones beside an OCI layout; so do skopeo, podman and crane.

Source: moby image/tarexport/save.go; the "Combined Image JSON + Filesystem Changeset Format" of Docker 1.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from imagedelta.archives.json_reading import parse
from imagedelta.archives.model import Image, image_from_config
from imagedelta.archives.stores import Store, read_small, safe_name
from imagedelta.errors import ContentError, LimitExceeded
from imagedelta.limits import Limits

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Located:
    """An image and the names of its layers in the archive, lowest first."""

    image: Image
    layers: tuple[str, ...]


def read_docker_save(store: Store, limits: Limits) -> list[Located]:
    """Return the images of ``manifest.json``, in its order.

    Raises:
        ContentError: The manifest is malformed, or points to a file that is not there.
        LimitExceeded: It or a config is too large, or there are too many images.
    """
    return [_located(store, entry, limits) for entry in _entries(store, limits)]


def _entries(store: Store, limits: Limits) -> list[dict[str, Any]]:
    entries = parse(read_small(store, MANIFEST, limits.max_manifest_bytes), MANIFEST)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ContentError(f"{MANIFEST}: expected a list of images")
    if len(entries) > limits.max_archive_images:
        raise LimitExceeded(f"{MANIFEST}: {len(entries)} images, at most {limits.max_archive_images}")
    return entries


def _located(store: Store, entry: dict[str, Any], limits: Limits) -> Located:
    config = read_small(store, _name(entry.get("Config")), limits.max_config_bytes)
    image = image_from_config(config, _references(entry), limits)
    listed = entry.get("Layers") or []
    if not isinstance(listed, list) or len(listed) != len(image.diff_ids):
        raise ContentError(f"{MANIFEST}: Layers does not fit the {len(image.diff_ids)} layers of the config")
    return Located(image, tuple(_name(name) for name in listed))


def _references(entry: dict[str, Any]) -> tuple[str, ...]:
    tags = entry.get("RepoTags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise ContentError(f"{MANIFEST}: RepoTags is not a list of names")
    return tuple(tags)


def _name(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ContentError(f"{MANIFEST}: {str(value)[:100]!r} is not a file name")
    return safe_name(value.encode("utf-8", "surrogatepass"))
