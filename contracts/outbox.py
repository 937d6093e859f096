"""Names in a device's outbox: containers and bundles, sorted by what is to be fetched first.

Source: docs/formats/bundle.md, section 5, "Names". Azure's container names: 3 to 63 lower-case letters, digits and
single dashes.
"""

from __future__ import annotations

import hashlib
import re

_UNFIT = re.compile(r"[^a-z0-9]+")
_DIGEST_LENGTH = 32
"""128 bits: two devices with one outbox would empty each other's, so that nobody may find two such ids."""
_SLUG_LENGTH = 63 - len("outbox--") - _DIGEST_LENGTH
SHARED = ".shared"
"""Ends the name of the file that stands for a shared bundle."""
_DIGITS = {"urgent": 1, "normal": 2, "background": 3}
_BUNDLE = re.compile(r"\d-(\d{12})-(.+)-(\d+)\.(?:bundle(?:\.chunks)?|shared)")


def outbox_container(device_id: str) -> str:
    """``outbox-<readable part>-<32 hex digits of the id's sha256>``, at most 63 characters.

    The readable part is for people; ids that differ in case or punctuation stay apart by the digits.
    """
    slug = _UNFIT.sub("-", device_id.lower()).strip("-")[:_SLUG_LENGTH].strip("-")
    digest = hashlib.sha256(device_id.encode()).hexdigest()[:_DIGEST_LENGTH]
    return "-".join(part for part in ("outbox", slug, digest) if part)


def priority_digit(priority: str) -> int:
    """1 is fetched first."""
    return _DIGITS.get(priority, 2)


def bundle_name(priority: int, number: int, transfer_id: str, attempt: int, *, shared: bool = False) -> str:
    """``<priority digit>-<number, 12 digits>-<transfer>-<attempt>``, and ``.bundle`` or ``.shared``.

    The chunk list of a composed bundle adds ``.chunks``.
    """
    return f"{priority}-{number:012d}-{transfer_id}-{attempt}{SHARED if shared else '.bundle'}"


def transfer_of(name: str) -> tuple[str, int] | None:
    """(transfer, attempt) of a bundle or chunk list by its name; None for anything else."""
    found = _BUNDLE.fullmatch(name)
    return (found[2], int(found[3])) if found else None


def number_of(name: str) -> int | None:
    """Of a bundle or chunk list by its name; None for anything else."""
    found = _BUNDLE.fullmatch(name)
    return int(found[1]) if found else None
