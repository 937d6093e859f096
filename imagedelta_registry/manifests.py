"""Manifests and image indexes of a registry, and the choice of platforms; bytes in, plain facts out.

Source: OCI image-spec 1.1, manifest.md and image-index.md; distribution, docs/spec/manifest-v2-2.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from imagedelta.archives.json_reading import field_of, parse_object
from imagedelta.archives.model import require_digest
from imagedelta.archives.oci import INDEX_TYPES, MANIFEST_TYPES, foreign_kind, is_attestation, platform_stated
from imagedelta.errors import ContentError, LimitExceeded, RequestError, UnsupportedFormat
from imagedelta.limits import Limits, over_limit
from imagedelta.platforms import best_of, machine_platform, settled

ACCEPT = ", ".join((*INDEX_TYPES, *MANIFEST_TYPES))
"""All four, always: a registry that is not told of a form answers with an older one."""


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
    if field_of(document, "schemaVersion") == 1:
        raise UnsupportedFormat("the manifest is of schema 1, not written since 2016", code="content.old_form")
    if field_of(document, "manifests") is not None:
        if field_of(document, "layers") is not None or field_of(document, "config") is not None:
            raise ContentError("the document is both a manifest and an image index")
        entries = _objects(document, "manifests")
        if len(entries) > limits.max_archive_images:
            raise over_limit(f"an image index of {len(entries)} manifests", "archive-images", limits)
        return tuple(_choices(entries))
    return _image_manifest(document, limits)


def for_machine(wanted: str) -> Callable[[Sequence[Choice]], Sequence[Choice]]:
    """Chooses the image for the platform ``wanted``; without a wish the one for this machine, or the only one.

    Of two for one platform it is the first, as for containerd and Docker.

    Raises (when called): RequestError ``request.no_image``: none fits; the message lists what there is.
    """

    def choose(offered: Sequence[Choice]) -> Sequence[Choice]:
        if not wanted and len(offered) == 1:
            return offered
        return _fitting([[wanted or machine_platform()]], offered)

    return choose


def for_machines(machines: Sequence[Sequence[str]]) -> Callable[[Sequence[Choice]], Sequence[Choice]]:
    """Chooses the best image for each of these machines, given as the platforms that it runs, best first; without
    any machine all images, one for a platform.

    Raises (when called): RequestError ``request.no_image``: none runs on any of them.
    """

    def choose(offered: Sequence[Choice]) -> Sequence[Choice]:
        named = _first_of_each(choice for choice in offered if choice.platform)
        if not named:
            return offered
        return _fitting(machines, offered) if machines else named

    return choose


def _fitting(machines: Sequence[Sequence[str]], offered: Sequence[Choice]) -> Sequence[Choice]:
    platforms = [choice.platform for choice in offered if choice.platform]
    taken = {best_of(own, platforms) for own in machines} - {None}
    if taken:
        return _first_of_each(choice for choice in offered if choice.platform in taken)
    wanted = " or ".join(dict.fromkeys("+".join(own) for own in machines))
    there = ", ".join(dict.fromkeys(choice.platform or "unnamed" for choice in offered)) or "none"
    raise RequestError(f"no image for {wanted}; there are: {there}; add #PLATFORM to choose", code="request.no_image")


def _first_of_each(choices: Iterable[Choice]) -> list[Choice]:
    by_platform: dict[str, Choice] = {}
    for choice in choices:
        by_platform.setdefault(choice.platform, choice)
    return list(by_platform.values())


def _image_manifest(document: dict[str, Any], limits: Limits) -> Manifest:
    config = field_of(document, "config")
    if not isinstance(config, dict):
        raise ContentError("the manifest names no config")
    foreign = foreign_kind(document)
    if foreign is not None:
        raise ContentError(f"it is a {foreign[:100]}, no image", code="content.not_an_image")
    layers = tuple(_blob(layer) for layer in _objects(document, "layers"))
    if len(layers) > limits.max_layers:
        raise LimitExceeded(f"an image of {len(layers)} layers: Docker runs at most {limits.max_layers}")
    if sum(layer.size for layer in layers) > limits.max_image_bytes:
        raise LimitExceeded(f"the manifest announces layers of more than {limits.max_image_bytes} bytes")
    return Manifest(_blob(config), layers)


def _choices(entries: Sequence[dict[str, Any]]) -> Iterator[Choice]:
    """Without attestations, which stand beside the images, and without what is no image or cannot be fetched."""
    for entry in entries:
        if field_of(entry, "mediaType") in (*MANIFEST_TYPES, *INDEX_TYPES) and not is_attestation(entry):
            with suppress(ContentError):
                yield Choice(_blob(entry), settled(platform_stated(entry)))


def _blob(descriptor: dict[str, Any]) -> Blob:
    digest, size = require_digest(field_of(descriptor, "digest"), "descriptor"), field_of(descriptor, "size")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise ContentError(f"{digest}: {str(size)[:100]!r} is not a size")
    return Blob(digest, size)


def _objects(document: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = field_of(document, name) or []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ContentError(f"manifest: {name} is not a list of descriptors")
    return found
