"""What really lies in a device's OCI layout folder, read and hashed without the device's own code.

Source: OCI image-layout and image-index specifications.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from imagedelta.archives import open_archive
from imagedelta.errors import ImageDeltaError

_REFERENCE = "org.opencontainers.image.ref.name"
_PIECE = 1024 * 1024


@dataclass(frozen=True)
class StoredImage:
    reference: str
    image_id: str
    digest: str
    """Of the manifest, as a registry would name it."""


def stored_images(layout: Path) -> tuple[StoredImage, ...]:
    """Every named image in the folder whose manifest, config and layers are there, by reference."""
    try:
        index = json.loads((layout / "index.json").read_bytes())
    except FileNotFoundError:
        return ()
    found = []
    for entry in index["manifests"]:
        reference = entry.get("annotations", {}).get(_REFERENCE)
        manifest = _manifest(layout, entry["digest"])
        if reference and manifest:
            found.append(StoredImage(reference, manifest["config"]["digest"], entry["digest"]))
    return tuple(sorted(found, key=lambda image: image.reference))


def holds(layout: Path, image_id: str) -> bool:
    """Whether the folder holds the image: its config hashes to the image ID, each layer to its diff_id."""
    try:
        with open_archive(layout) as archive:
            [image] = [candidate for candidate in archive.images if candidate.image_id == image_id]
            for position in range(len(image.diff_ids)):
                with archive.open_layer(image, position) as layer:
                    while layer.read(_PIECE):
                        pass
    except (ImageDeltaError, OSError, ValueError):
        return False
    return True


def answers_to(layout: Path, registry: str, image: str) -> bool:
    """Whether ``image`` of a manifest, ``registry/name:tag`` or ``registry/name@digest``, is here."""
    wanted = image.removeprefix(f"{registry}/")
    for stored in stored_images(layout):
        name = stored.reference.rpartition(":")[0]
        if wanted in (stored.reference, f"{name}@{stored.digest}"):
            return True
    return False


def _manifest(layout: Path, digest: str) -> dict[str, dict[str, str]] | None:
    """The manifest, if all it names is there."""
    try:
        manifest = json.loads(_blob(layout, digest).read_bytes())
    except FileNotFoundError:
        return None
    needed = [manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])]
    return manifest if all(_blob(layout, blob).is_file() for blob in needed) else None


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / "sha256" / digest.removeprefix("sha256:")
