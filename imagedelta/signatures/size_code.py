"""File sizes in 16 bits: exact below 2048, then within 0.1 %, up to 2**63.

A floating-point number of 11 significant bits: ``code = (shift << 10) + (size >> shift)``.
"""

from __future__ import annotations

_SIGNIFICANT = 11


def encode_size(size: int) -> int:
    """Return the code of ``size`` (0 to 2**63 - 1), rounded down; larger sizes have larger codes."""
    shift = max(0, size.bit_length() - _SIGNIFICANT)
    return (shift << 10) + (size >> shift)


def decode_size(code: int) -> int:
    """Return the size that ``code`` stands for."""
    if code < 2048:
        return code
    return ((code & 1023) + 1024) << ((code >> 10) - 1)
