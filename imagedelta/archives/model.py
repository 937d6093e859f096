"""What an image is to this project: exact config bytes, ordered layers, a platform, its names.

Not here: where an archive keeps the bytes (imagedelta.archives.docker_save, imagedelta.archives.oci).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from imagedelta.archives.json_reading import field_of, parse_object
from imagedelta.errors import ContentError, LimitExceeded, RequestError
from imagedelta.limits import DEFAULT_LIMITS, Limits
from imagedelta.names import archive_name
from imagedelta.platforms import NOTHING_STATED, Stated, settled, stated

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Image:
    """One image for one platform."""

    image_id: str
    """``sha256:`` and the SHA-256 of ``config`` in hex."""
    config: bytes
    """The config JSON exactly as its builder wrote it: reformatting it would make another image."""
    diff_ids: tuple[str, ...]
    """SHA-256 of each uncompressed layer tar, lowest layer first; the same one may appear twice."""
    platform: str
    """``os/architecture[/variant]``, e.g. ``linux/arm/v7``; "" when neither config nor archive says it."""
    references: tuple[str, ...] = ()
    """Names the archive gives the image, e.g. ``app:1``, in the one spelling; sorted, possibly none."""
    labels: tuple[str, ...] = ()
    """What the archive notes where a name belongs, but is none: a bare tag, mostly. Sorted."""


def require_told(image: Image) -> None:
    """Check that an image can be ordered and sent: that it is known what it is for, and what it is called.

    One without any name may go, as a source for others; one with a label for a name was meant to have one.

    Raises:
        RequestError: ``request.no_platform`` or ``request.no_reference``: a person must say it.
    """
    if not image.platform:
        raise RequestError(
            f"neither the archive nor the config of {title_of(image)} says what machine it is for",
            code="request.no_platform",
        )
    if image.labels and not image.references:
        raise RequestError(
            f"the archive calls its image {', '.join(map(repr, image.labels))}, which is no NAME:TAG",
            code="request.no_reference",
        )


def title_of(image: Image) -> str:
    """All names of an image, else its ID as lists show it."""
    return " = ".join(image.references or image.labels) or hex_of(image.image_id)[:12]


def image_from_config(
    config: bytes, names: Iterable[str] = (), limits: Limits = DEFAULT_LIMITS, descriptor: Stated = NOTHING_STATED
) -> Image:
    """Read an image's identity, layers and platform from its config JSON.

    Args:
        config: The bytes.
        names: What the archive calls it, names or not.
        limits: Bounds for the config and its number of layers.
        descriptor: What the archive says of the platform: it counts where the config says nothing.

    Raises:
        LimitExceeded: The config or its number of layers is over the limit.
        ContentError: It is no JSON, or names no layers.

    Source: OCI image-spec, config.md; Docker writes the same fields.
    """
    if len(config) > limits.max_config_bytes:
        raise LimitExceeded(f"image config of {len(config)} bytes, at most {limits.max_config_bytes}")
    document = parse_object(config, "image config")
    known = {name: archive_name(name) for name in names}
    return Image(
        image_id=sha256_id(config),
        config=config,
        diff_ids=_diff_ids(document, limits),
        platform=settled(descriptor, platform_in(document, "image config")),
        references=tuple(sorted({name for name in known.values() if name})),
        labels=tuple(sorted(text for text, name in known.items() if not name)),
    )


def platform_in(document: Mapping[str, Any], what: str) -> Stated:
    """Read the platform of a config, or the ``platform`` of a descriptor; ``what`` names it.

    Raises:
        ContentError: It says something that is no word.
    """
    return stated(field_of(document, "os"), field_of(document, "architecture"), field_of(document, "variant"), what)


def sha256_id(data: bytes) -> str:
    """Return ``sha256:<hex>`` of ``data``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def require_digest(value: object, what: str) -> str:
    """Return ``value`` if it is ``sha256:<64 lower-case hex>``: the only digests that become file names.

    Raises:
        ContentError: It is anything else.
    """
    if isinstance(value, str) and _DIGEST.fullmatch(value):
        return value
    raise ContentError(f"{what}: {str(value)[:100]!r} is not a sha256 digest")


def hex_of(digest: str) -> str:
    """Return the 64 hex digits of a digest that ``require_digest`` accepts."""
    return digest.removeprefix("sha256:")


def _diff_ids(document: dict[str, object], limits: Limits) -> tuple[str, ...]:
    rootfs = field_of(document, "rootfs")
    listed = field_of(rootfs, "diff_ids") if isinstance(rootfs, dict) else None
    if listed is None:
        listed = []  # Go leaves the empty list of an image without layers out
    if not isinstance(listed, list) or not isinstance(rootfs, dict):
        raise ContentError("image config: rootfs.diff_ids is not a list")
    if len(listed) > limits.max_layers:
        raise LimitExceeded(f"an image of {len(listed)} layers: Docker runs at most {limits.max_layers}")
    return tuple(require_digest(item, "image config: rootfs.diff_ids") for item in listed)
