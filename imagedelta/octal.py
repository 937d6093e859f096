"""Octal digits, as the headers of tars have them. How a field pads them differs from reader to reader."""

from __future__ import annotations


def octal(digits: bytes) -> int | None:
    """Return the number that the digits write; ``None`` where there are none, or anything else."""
    return int(digits, 8) if digits and not digits.strip(b"01234567") else None
