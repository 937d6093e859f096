"""What the local registry holds: from its catalog through tags and manifests to images, and where their blobs are.

A manifest is read once and then known by its digest, so that listing 200 images again asks for their digests and the
sizes of their blobs, and reads no body. Other tools' images count like our own: packed layers, image indexes, Docker's
media types. Whatever is no image is passed over; an image of which anything is missing is not listed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from edge_module.engines.base import ImageName, PresentImage
from edge_module.engines.registry_client import Manifest, RegistryClient, Unreadable
from edge_module.engines.registry_names import INSTALLATION
from imagedelta.archives.json_reading import field_of, parse_object
from imagedelta.archives.model import image_from_config, require_digest
from imagedelta.archives.oci import INDEX_TYPES, MANIFEST_TYPES, foreign_kind, is_attestation
from imagedelta.errors import ContentError, LimitExceeded
from imagedelta.limits import DEFAULT_LIMITS

_MAX_NESTING = 3
_MAX_CHILDREN = 1000
_MAX_KNOWN = 20_000
_RECENT_SECONDS = 30.0
log = logging.getLogger("imagedelta.registry")


@dataclass(frozen=True)
class Blob:
    digest: str
    size: int


@dataclass(frozen=True)
class HeldLayer:
    diff_id: str
    blob: Blob

    @property
    def is_packed(self) -> bool:
        return self.blob.digest != self.diff_id


@dataclass(frozen=True)
class HeldImage:
    """An image as one manifest describes it."""

    image_id: str
    manifest: str
    """Digest."""
    config: Blob
    layers: tuple[HeldLayer, ...]

    @property
    def blobs(self) -> frozenset[Blob]:
        return frozenset({self.config, *(layer.blob for layer in self.layers)})

    def has_plain(self, diff_id: str) -> bool:
        """Whether it has this layer, uncompressed."""
        return any(layer.blob.digest == diff_id for layer in self.layers)


@dataclass(frozen=True)
class Place:
    """A tag that leads to an image, maybe through an image index."""

    repository: str
    tag: str
    top: str
    """Digest of the manifest or index that has the tag."""
    image: HeldImage


class RegistryContents:
    """Reads one registry. What it knows by digest never changes; everything else is asked for anew each time."""

    def __init__(self, client: RegistryClient) -> None:
        self._client = client
        self._children: dict[str, tuple[str, ...]] = {}
        self._images: dict[str, HeldImage | None] = {}
        self._listed: tuple[float, list[Place]] | None = None

    def places(self) -> list[Place]:
        """Every tag that leads to an image, whole or not."""
        now = time.monotonic()
        found = [
            place
            for repository in self._client.repositories()
            if repository != INSTALLATION
            for tag in self._client.tags(repository)
            for place in self.places_under(repository, tag)
        ]
        self._listed = now, found
        return found

    def recent(self) -> list[Place]:
        """The same, maybe of a moment ago: for who looks whether a thing is still there before he counts on it."""
        if self._listed is None or time.monotonic() - self._listed[0] > _RECENT_SECONDS:
            return self.places()
        return self._listed[1]

    def places_under(self, repository: str, tag: str) -> list[Place]:
        """The images under a tag; none when the registry's own record of the tag is damaged."""
        top = self.digest(repository, tag)
        images = [] if top is None else self._under(repository, top, _MAX_NESTING)
        return [Place(repository, tag, str(top), image) for image in images]

    def digest(self, repository: str, tag: str) -> str | None:
        """Of what the tag leads to; None when there is no such tag, or the registry's own record of it is damaged."""
        try:
            return self._client.manifest_digest(repository, tag)
        except Unreadable as error:
            log.error("%s:%s cannot be read: %s", repository, tag, error)
            return None

    def manifest(self, repository: str, reference: str) -> Manifest | None:
        """Exact bytes under a tag or digest; None as for ``digest``."""
        try:
            return self._client.manifest(repository, reference)
        except Unreadable as error:
            log.error("manifest %s of %s cannot be read: %s", reference, repository, error)
            return None

    def whole(self, places: list[Place]) -> list[Place]:
        """Those whose every blob is where it is pulled from, in its size."""
        sizes: dict[tuple[str, str], int | None] = {}
        return [place for place in places if self._is_whole(place, sizes)]

    def config(self, place: Place) -> bytes | None:
        """The config JSON; None when it is not there or has other bytes."""
        return self._client.read_small(place.repository, place.image.config.digest, DEFAULT_LIMITS.max_config_bytes)

    def _is_whole(self, place: Place, sizes: dict[tuple[str, str], int | None]) -> bool:
        for blob in place.image.blobs:
            key = (place.repository, blob.digest)
            if key not in sizes:
                sizes[key] = self._client.blob_size(*key)
            if sizes[key] != blob.size:
                log.warning(
                    "image %s in %s is not whole: %s has %s bytes instead of %d",
                    place.image.image_id, place.repository, blob.digest, sizes[key], blob.size,
                )  # fmt: skip
                return False
        return True

    def _under(self, repository: str, digest: str, depth: int) -> Iterator[HeldImage]:
        if not self._is_known(digest):
            self._learn(repository, digest)
        image = self._images.get(digest)
        if image is not None:
            yield image
        for child in self._children.get(digest, ()) if depth else ():
            yield from self._under(repository, child, depth - 1)

    def _is_known(self, digest: str) -> bool:
        return digest in self._images or digest in self._children

    def _learn(self, repository: str, digest: str) -> None:
        """Read a manifest; one that is not there, or no image, is passed over."""
        manifest = self.manifest(repository, digest)
        if manifest is None:
            return
        if len(self._images) > _MAX_KNOWN:
            self._images.clear()
        try:
            self._understand(repository, manifest)
        except ContentError as error:
            log.warning("manifest %s in %s: %s", digest, repository, error)
            self._images[digest] = None

    def _understand(self, repository: str, manifest: Manifest) -> None:
        document = parse_object(manifest.data, f"manifest {manifest.digest}")
        kind = field_of(document, "mediaType") or manifest.media_type
        if kind in INDEX_TYPES or (kind not in MANIFEST_TYPES and field_of(document, "manifests") is not None):
            self._children[manifest.digest] = _children(document)
        elif foreign_kind(document) is not None:
            self._images[manifest.digest] = None
        else:
            image = self._image(repository, manifest.digest, document)
            if image is not None:
                self._images[manifest.digest] = image

    def _image(self, repository: str, digest: str, document: dict[str, Any]) -> HeldImage | None:
        """None while its config is missing: it may come back."""
        config, layers = _blob(field_of(document, "config")), field_of(document, "layers") or []
        data = self._client.read_small(repository, config.digest, DEFAULT_LIMITS.max_config_bytes)
        if data is None:
            log.warning("image %s in %s is not whole: its config is missing or damaged", config.digest, repository)
            return None
        diff_ids = image_from_config(data).diff_ids
        if not isinstance(layers, list) or len(layers) != len(diff_ids):
            raise ContentError(f"it does not have the {len(diff_ids)} layers that its config names")
        held = tuple(HeldLayer(diff_id, _blob(layer)) for diff_id, layer in zip(diff_ids, layers, strict=True))
        return HeldImage(config.digest, digest, config, held)


def present_images(places: Iterable[Place], known_as: Callable[[str, str], str]) -> list[PresentImage]:
    """One per image ID, with all its names.

    Args:
        known_as: (repository, tag) -> name, "" for none.
    """
    names: dict[str, dict[str, str]] = {}
    images: dict[str, HeldImage] = {}
    for place in places:
        images[place.image.image_id] = place.image
        name = known_as(place.repository, place.tag)
        if name:
            names.setdefault(place.image.image_id, {})[name] = place.image.manifest
    return [
        PresentImage(
            image_id,
            tuple(layer.diff_id for layer in images[image_id].layers),
            tuple(ImageName(name, digest) for name, digest in sorted(names.get(image_id, {}).items())),
        )
        for image_id in sorted(images)
    ]


def _children(index: dict[str, Any]) -> tuple[str, ...]:
    listed = field_of(index, "manifests") or []
    if not isinstance(listed, list):
        raise ContentError("manifests is not a list of descriptors")
    if len(listed) > _MAX_CHILDREN:
        raise LimitExceeded(f"an image index of {len(listed)} manifests")
    images = [each for each in listed if isinstance(each, dict) and not is_attestation(each)]
    return tuple(require_digest(field_of(each, "digest"), "descriptor") for each in images)


def _blob(descriptor: object) -> Blob:
    size = field_of(descriptor, "size") if isinstance(descriptor, dict) else None
    digest = require_digest(field_of(descriptor, "digest") if isinstance(descriptor, dict) else None, "descriptor")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ContentError(f"the descriptor of {digest} has no size")
    return Blob(digest, size)
