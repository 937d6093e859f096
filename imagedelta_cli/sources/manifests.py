"""Manifests and image indexes of a registry, and the choice of a platform; bytes in, plain facts out.

Source: OCI image-spec 1.1, manifest.md and image-index.md; distribution, docs/spec/manifest-v2-2.md.
"""

from __future__ import annotations

import platform as machine
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imagedelta.archives.json_reading import parse_object
from imagedelta.archives.model import platform_of, require_digest
from imagedelta.errors import ContentError, LimitExceeded, RequestError, UnsupportedFormat
from imagedelta.limits import Limits

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
ACCEPT = ", ".join((OCI_INDEX, DOCKER_INDEX, OCI_MANIFEST, DOCKER_MANIFEST))
"""All four, always: a registry that is not told of a form answers with an older one."""

_CONFIGS = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
_ATTESTATION = "attestation-manifest"
_ARCHITECTURES = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "armv7l": "arm/v7",
    "armv6l": "arm/v6",
    "i386": "386",
    "i686": "386",
}


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob as its manifest announces it."""

    digest: str
    size: int
    """Bytes as stored, mostly packed."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image for one platform."""

    config: Blob
    layers: tuple[Blob, ...]
    """Lowest first."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One entry of an image index."""

    blob: Blob
    platform: str
    """``os/architecture[/variant]``; "" when the index does not say."""


def read_manifest(data: bytes, limits: Limits) -> Manifest | tuple[Choice, ...]:
    """Read a manifest, or the images that an image index offers.

    Raises:
        UnsupportedFormat: The manifest of a Docker before 2016 (schema 1).
        LimitExceeded: More layers or entries than the limits allow, or layers too large together.
        ContentError: Malformed, ambiguous, or no image.
    """
    document = parse_object(data, "manifest")
    if document.get("schemaVersion") == 1:
        raise UnsupportedFormat("the manifest is of schema 1: push the image again with a newer tool")
    if "manifests" in document:
        if "layers" in document or "config" in document:
            raise ContentError("the document is both a manifest and an image index")
        return tuple(_choices(_objects(document, "manifests", limits.max_archive_images)))
    return _image_manifest(document, limits)


def choose(offered: Sequence[Choice], wanted: str) -> Choice:
    """Choose the image for ``wanted``; without a wish the one for this machine, or the only one.

    Raises:
        RequestError: ``request.no_image``: none fits; the message lists what there is.
    """
    if not wanted and len(offered) == 1:
        return offered[0]
    fitting = [choice for choice in offered if choice.platform == (wanted or machine_platform())]
    if not fitting and wanted:  # linux/arm means its one variant
        fitting = [choice for choice in offered if choice.platform.startswith(f"{wanted}/")]
        fitting = fitting if len(fitting) == 1 else []
    if fitting:
        return fitting[0]  # of two for one platform the first, as containerd and Docker do
    there = ", ".join(dict.fromkeys(choice.platform or "unnamed" for choice in offered)) or "none"
    raise RequestError(
        f"no image for {wanted or machine_platform()}; there are: {there}; add #PLATFORM to choose",
        code="request.no_image",
    )


def machine_platform() -> str:
    """The platform of containers on this machine."""
    name = machine.machine().lower()
    return f"linux/{_ARCHITECTURES.get(name, name)}"


def clean_platform(text: str) -> str:
    """Return what a person wrote for a platform in the form that images have it (``linux/arm64/v8``: without ``/v8``).

    Raises:
        RequestError: It is no ``os/architecture[/variant]``.
    """
    parts = text.split("/")
    try:
        if not 2 <= len(parts) <= 3:
            raise ContentError(f"platform: {text[:100]!r} is not os/architecture[/variant]")
        return platform_of(dict(zip(("os", "architecture", "variant"), parts, strict=False)), "platform")
    except ContentError as error:
        raise RequestError(str(error), code="request.no_image") from None


def _image_manifest(document: dict[str, Any], limits: Limits) -> Manifest:
    config = document.get("config")
    if not isinstance(config, dict):
        raise ContentError("the manifest names no config")
    if config.get("mediaType") not in _CONFIGS:
        raise ContentError(f"it is a {str(config.get('mediaType'))[:100]}, no image", code="content.not_an_image")
    layers = tuple(_blob(layer) for layer in _objects(document, "layers", limits.max_layers))
    if sum(layer.size for layer in layers) > limits.max_image_bytes:
        raise LimitExceeded(f"the manifest announces layers of more than {limits.max_image_bytes} bytes")
    return Manifest(_blob(config), layers)


def _choices(entries: Sequence[dict[str, Any]]) -> list[Choice]:
    """Without attestations of BuildKit, which stand beside the images."""
    images = [entry for entry in entries if entry.get("mediaType") in (OCI_MANIFEST, DOCKER_MANIFEST, OCI_INDEX)]
    return [Choice(_blob(entry), _platform(entry)) for entry in images if not _is_attestation(entry)]


def _is_attestation(entry: dict[str, Any]) -> bool:
    annotations = entry.get("annotations")
    return isinstance(annotations, dict) and annotations.get("vnd.docker.reference.type") == _ATTESTATION


def _platform(entry: dict[str, Any]) -> str:
    found = entry.get("platform")
    if not isinstance(found, dict):
        return ""
    return platform_of(found, "platform in an image index")


def _blob(descriptor: dict[str, Any]) -> Blob:
    digest, size = require_digest(descriptor.get("digest"), "descriptor"), descriptor.get("size")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise ContentError(f"{digest}: {str(size)[:100]!r} is not a size")
    return Blob(digest, size)


def _objects(document: dict[str, Any], name: str, most: int) -> list[dict[str, Any]]:
    found = document.get(name) or []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ContentError(f"manifest: {name} is not a list of descriptors")
    if len(found) > most:
        raise LimitExceeded(f"manifest: {len(found)} {name}, at most {most}")
    return found
