"""Names in a device's outbox: containers and bundles, sorted by what is to be fetched first.

Source: docs/formats/bundle.md, "Names"; container names: 3 to 63 lower-case letters, digits and single dashes.
"""

from __future__ import annotations

import hashlib
import re

_UNFIT = re.compile(r"[^a-z0-9]+")
_SLUG_LENGTH = 32
_BUNDLE = re.compile(r"\d-\d{12}-(.+)-(\d+)\.bundle(?:\.chunks)?")


def outbox_container(device_id: str) -> str:
    """``outbox-<readable part>-<8 hex digits>``: ids that differ in case or punctuation stay apart."""
    slug = _UNFIT.sub("-", device_id.lower()).strip("-")[:_SLUG_LENGTH].strip("-")
    digest = hashlib.sha256(device_id.encode()).hexdigest()[:8]
    return "-".join(part for part in ("outbox", slug, digest) if part)


def bundle_name(priority: int, number: int, transfer_id: str, attempt: int) -> str:
    """``<priority digit>-<number, 12 digits>-<transfer>-<attempt>.bundle``; its chunk list adds ``.chunks``."""
    return f"{priority}-{number:012d}-{transfer_id}-{attempt}.bundle"


def transfer_of(name: str) -> tuple[str, int] | None:
    """(transfer, attempt) of a bundle or chunk list by its name; None for anything else."""
    found = _BUNDLE.fullmatch(name)
    return (found[1], int(found[2])) if found else None
