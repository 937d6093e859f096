"""The old bytes of a delta with each reference as it should be in the new file: what differences are added to.

The controls of the item say what moved, and the start of the new file, which is never predicted, where its segments
lie now. Both sides compute the same, so a reference that only moved costs nothing.

Source: docs/formats/patch.md, section 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Protocol

from imagedelta.delta.predict.elf_image import read_elf
from imagedelta.delta.predict.shifts import Shifts, Stretch
from imagedelta.delta.predict.x86_64 import Field, X8664
from imagedelta.limits import KIB, MIB

START_BYTES = 4 * KIB
"""Of the new file, which are never predicted: the segments of both files are read from so many bytes."""
PART_BYTES = 64 * KIB
"""A match is predicted in parts of so many bytes."""
MAX_BYTES = 12 * MIB
"""Of a base, and of what an item makes of it."""
MAX_CONTROLS = 200_000


class Kind(IntEnum):
    """How an item's references are predicted."""

    NONE = 0
    X86_64 = 1


class References(Protocol):
    """The references of one old file."""

    def fields(self, data: bytes, part: Stretch) -> Iterator[Field]:
        """Yield the fields wholly within a part of a match, in rising order; no two overlap."""
        ...


def references(kind: Kind, old_start: bytes, new_start: bytes, shifts: Shifts) -> References | None:
    """Return the references of a file; None where its kind does not fit it, and nothing is predicted."""
    if kind is Kind.NONE:
        return None
    old, new = read_elf(old_start[:START_BYTES]), read_elf(new_start[:START_BYTES])
    return X8664(old, new, shifts) if old and new else None


def predicted(data: bytes, part: Stretch, found: References | None) -> bytes:
    """Return the old bytes of a part with its references predicted."""
    if found is None:
        return data
    out = bytearray(data)
    for offset, width, value in found.fields(data, part):
        at = offset - part.old
        out[at : at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, "little")
    return bytes(out)


def parts(match: Stretch) -> Iterator[tuple[Stretch, bool]]:
    """Yield the parts of a match, and whether they are predicted: not where they are in the start of the new file."""
    old, new, left = match
    while left:
        in_start = new < START_BYTES
        size = min(left, START_BYTES - new if in_start else PART_BYTES)
        yield Stretch(old, new, size), not in_start
        old, new, left = old + size, new + size, left - size
