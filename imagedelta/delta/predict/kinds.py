"""The kinds of references that are predicted in a delta: a set, chosen per file by what it costs.

Source: docs/formats/patch.md, section 7a.
"""

from __future__ import annotations

from enum import IntFlag

from imagedelta.errors import UnsupportedFormat


class Kind(IntFlag):
    """One kind of references each; none is a delta without predictions."""

    NONE = 0
    CODE = 1
    """x86-64: operands of calls and jumps, and those relative to the instruction."""
    ADDRESSES = 2
    """Numbers of 64 bits in data that are addresses."""
    TABLES = 4
    """ELF: symbols, and where functions lie for unwinding."""
    JUMPS = 8
    """Numbers of 32 bits in data: distances to code in ELF files, addresses in PE files."""
    CLR = 16
    """.NET: metadata, code and debugging information."""
    IMMEDIATES = 32
    """x86-64: operands of 32 bits that are addresses in programs at a fixed address, or numbers."""
    NUMBERS = 64
    """Differences of references are those of whole numbers, not of their bytes."""
    AARCH64 = 128
    """Code for aarch64 instead of x86-64: branches, and addresses by page."""


ALL = Kind(255)
MACHINE_CODE = Kind.CODE | Kind.AARCH64


def kinds_of(number: int) -> Kind:
    """Return the kinds of a number in a patch.

    Raises:
        UnsupportedFormat: This version does not know one of them.
    """
    if number & ~int(ALL):
        raise UnsupportedFormat(f"a delta with predictions of kinds {number:#x}")
    return Kind(number)
