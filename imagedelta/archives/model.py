"""What an image is to this project: exact config bytes, ordered layers, a platform, its names.

Not here: where an archive keeps the bytes (imagedelta.archives.docker_save, imagedelta.archives.oci).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from imagedelta.archives.json_reading import parse_object
from imagedelta.errors import ContentError, LimitExceeded
from imagedelta.limits import DEFAULT_LIMITS, Limits

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PLATFORM_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_IMPLIED_VARIANTS = {("arm64", "v8"), ("amd64", "v1")}


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
    """``os/architecture[/variant]``, e.g. ``linux/arm/v7``."""
    references: tuple[str, ...] = ()
    """Names the archive gives the image, e.g. ``app:1``; sorted, possibly none."""


def image_from_config(config: bytes, references: tuple[str, ...] = (), limits: Limits = DEFAULT_LIMITS) -> Image:
    """Read an image's identity, layers and platform from its config JSON.

    Raises:
        LimitExceeded: The config or its number of layers is over the limit.
        ContentError: It is no JSON, or names no layers, operating system or architecture.

    Source: OCI image-spec, config.md; Docker writes the same fields.
    """
    if len(config) > limits.max_config_bytes:
        raise LimitExceeded(f"image config of {len(config)} bytes, at most {limits.max_config_bytes}")
    document = parse_object(config, "image config")
    return Image(
        image_id=sha256_id(config),
        config=config,
        diff_ids=_diff_ids(document, limits),
        platform=platform_of(document, "image config"),
        references=tuple(sorted(set(references))),
    )


def platform_of(document: dict[str, object], what: str) -> str:
    """Return ``os/architecture[/variant]`` of a config, or of the ``platform`` in a descriptor.

    Raises:
        ContentError: One of the three is missing or odd; ``what`` names the document.
    """
    parts = [_platform_part(document, "os", what), _platform_part(document, "architecture", what)]
    if document.get("variant"):
        parts.append(_platform_part(document, "variant", what))
    if tuple(parts[1:]) in _IMPLIED_VARIANTS:
        parts.pop()  # containerd writes linux/arm64/v8 as linux/arm64: one platform, one name
    return "/".join(parts)


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
    rootfs = document.get("rootfs")
    listed = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if listed is None:
        listed = []  # Go leaves the empty list of an image without layers out
    if not isinstance(listed, list) or not isinstance(rootfs, dict):
        raise ContentError("image config: rootfs.diff_ids is not a list")
    if len(listed) > limits.max_layers:
        raise LimitExceeded(f"image config: {len(listed)} layers, at most {limits.max_layers}")
    return tuple(require_digest(item, "image config: rootfs.diff_ids") for item in listed)


def _platform_part(document: dict[str, object], field: str, what: str) -> str:
    value = document.get(field)
    if isinstance(value, str) and _PLATFORM_PART.fullmatch(value):
        return value
    raise ContentError(f"{what}: {field} is {str(value)[:100]!r}")
