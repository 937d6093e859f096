"""``bundle.json``: what a bundle is for, as canonical JSON.

Fields that hold their neutral value ("", 0, [] or the default) are left out, because every byte of a bundle
is paid for; unknown fields are refused, because the seal vouches for every field to be obeyed.

Source: docs/formats/bundle.md, section 3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

from imagedelta.bundles.canonical import canonical_bytes, read_canonical
from imagedelta.errors import ContentError, LimitExceeded, UnsupportedFormat

VERSION = 1
CHUNK_BYTES = 1024 * 1024
MAX_JSON_BYTES = 16 * 1024
MAX_SOURCES = 16
MAX_TEXT = 255
MAX_ATTEMPT = 1_000_000
"""Of reports too (contracts.messages): what a head may say, every message can carry."""
TRANSFER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
"""It becomes part of file names."""
_MAX_NUMBER = 2**63 - 1
_HEX_DIGEST = re.compile(r"[0-9a-f]{64}")
_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleHead:
    """Everything the seal covers.

    A bundle is addressed to one attempt of one transfer of one device, or for any device: then it has no such fields.
    """

    version: int = VERSION
    bundle_id: str = ""
    device_id: str = ""
    transfer_id: str = ""
    attempt: int = 0
    number: int = 0
    """Grows with every bundle of a device; a device refuses numbers below the highest ``floor`` it saw."""
    floor: int = 0
    target_image_id: str
    source_image_ids: tuple[str, ...] = ()
    """Empty for a full bundle."""
    reference: str = ""
    """The friendly ``name:tag`` that the rebuilt image gets."""
    platform: str
    patch_sha256: str
    """64 hex digits."""
    patch_bytes: int
    chunk_bytes: int = CHUNK_BYTES
    chunks_sha256: str = ""
    """Digest of the chunk list beside the bundle (64 hex digits); "" when there is none."""
    memory_bytes: int = 0
    """What the patch's decoders need on the device."""
    full_bytes: int = 0
    """What the image would weigh without a source: for people, reports and statistics."""
    priority: int = 0

    @property
    def is_for_any_device(self) -> bool:
        """Whether it may be carried to whichever device has its sources; it belongs to no transfer then."""
        return not self.device_id

    def to_bytes(self) -> bytes:
        """Return the canonical JSON.

        Raises:
            ContentError: A field is out of its bounds.
        """
        _check(self)
        return canonical_bytes({wire: value for name, wire in _WIRE.items() if (value := self._wire(name))})

    def _wire(self, name: str) -> Any:
        value = getattr(self, name)
        if name == "chunk_bytes" and value == CHUNK_BYTES:
            return None
        return list(value) if isinstance(value, tuple) else value


def head_from_bytes(data: bytes) -> BundleHead:
    """Read ``bundle.json``.

    Raises:
        LimitExceeded: It is over 16 KiB.
        UnsupportedFormat: Another version, or a field this version does not know.
        ContentError: Not canonical, a field is missing or out of its bounds.
    """
    if len(data) > MAX_JSON_BYTES:
        raise LimitExceeded(f"bundle.json of {len(data)} bytes, at most {MAX_JSON_BYTES}")
    document = read_canonical(data, "bundle.json")
    if document.get("version") != VERSION:
        raise UnsupportedFormat(f"bundle version {str(document.get('version'))[:40]}")
    known = {wire: name for name, wire in _WIRE.items()}
    values: dict[str, Any] = {}
    for wire, value in document.items():
        if wire not in known:
            raise UnsupportedFormat(f"bundle.json: unknown field {wire[:60]!r}")
        values[known[wire]] = tuple(value) if isinstance(value, list) else value
    missing = [_WIRE[name] for name in _REQUIRED if name not in values]
    if missing:
        raise ContentError(f"bundle.json: {', '.join(missing)} missing")
    head = BundleHead(**values)
    if head.to_bytes() != data:
        raise ContentError("bundle.json: a field holds its neutral value instead of being left out")
    return head


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


_WIRE = {field.name: _camel(field.name) for field in fields(BundleHead)}
_REQUIRED = ("target_image_id", "platform", "patch_sha256", "patch_bytes")
_TEXTS = ("bundle_id", "device_id", "transfer_id", "reference", "platform")
_NUMBERS = (
    "version",
    "attempt",
    "number",
    "floor",
    "patch_bytes",
    "chunk_bytes",
    "memory_bytes",
    "full_bytes",
    "priority",
)


_ADDRESS = ("bundle_id", "device_id", "transfer_id", "attempt", "number")


def _check(head: BundleHead) -> None:
    for name in _TEXTS:
        _check_text(name, getattr(head, name))
    for name in _NUMBERS:
        _check_number(name, getattr(head, name))
    given = [bool(getattr(head, name)) for name in _ADDRESS]
    if any(given) != all(given) or (head.floor and not all(given)):
        raise ContentError(
            f"bundle.json: {', '.join(_WIRE[name] for name in _ADDRESS)} are given together or not at all"
        )
    if head.attempt > MAX_ATTEMPT:
        raise LimitExceeded(f"bundle.json: attempt {head.attempt}, at most {MAX_ATTEMPT}")
    if head.transfer_id:
        _check_pattern("transferId", head.transfer_id, TRANSFER_ID)
    if head.patch_bytes == 0 or head.chunk_bytes == 0:
        raise ContentError("bundle.json: patchBytes and chunkBytes are at least 1")
    if not isinstance(head.source_image_ids, tuple):
        raise ContentError("bundle.json: sourceImageIds is not a list")
    if len(head.source_image_ids) > MAX_SOURCES:
        raise LimitExceeded(f"bundle.json: {len(head.source_image_ids)} sources, at most {MAX_SOURCES}")
    for image_id in (head.target_image_id, *head.source_image_ids):
        _check_pattern("an image ID", image_id, _IMAGE_ID)
    _check_pattern("patchSha256", head.patch_sha256, _HEX_DIGEST)
    if head.chunks_sha256 != "":
        _check_pattern("chunksSha256", head.chunks_sha256, _HEX_DIGEST)


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str) or len(value) > MAX_TEXT or any(ord(c) < 32 or ord(c) == 127 for c in value):
        raise ContentError(f"bundle.json: {_WIRE[name]} is not a plain text of at most {MAX_TEXT} characters")


def _check_number(name: str, value: object) -> None:
    if type(value) is not int or not 0 <= value <= _MAX_NUMBER:
        raise ContentError(f"bundle.json: {_WIRE[name]} is not an integer from 0 to 2^63 - 1")


def _check_pattern(what: str, value: object, pattern: re.Pattern[str]) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ContentError(f"bundle.json: {what} is {str(value)[:80]!r}")
