"""What predicting the references of one delta may take of a device.

Source: docs/formats/patch.md, sections 5 and 9.
"""

from __future__ import annotations

from dataclasses import dataclass

from imagedelta.delta.predict.kinds import Kind
from imagedelta.errors import LimitExceeded
from imagedelta.limits import MIB

MAX_BASE_FACTOR = 4
"""A base is at most so many times as large as what is made of it: some kinds read all of it."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most of one delta, by the memory class of the patch."""

    controls: int
    """They take 32 bytes each, and what follows from them as much again."""
    clr_bytes: int
    """Of a base with references of .NET, which is in memory twice."""
    tables_bytes: int | None = None
    """Of a base with tables of an ELF file; ``None`` for any. They are read part by part: what stays in memory are 8
    bytes for each 256 of the table of unwinding."""

    def check(self, kinds: Kind, length: int, base_size: int) -> None:
        """Refuse what would take a device more work or memory than it is worth.

        Raises:
            LimitExceeded: The base is too large for what is made of it, or for its kind.
        """
        most = MAX_BASE_FACTOR * length
        if kinds & Kind.CLR:
            most = min(most, self.clr_bytes)
        if kinds & Kind.TABLES and self.tables_bytes is not None:
            most = min(most, self.tables_bytes)
        if base_size > most:
            raise LimitExceeded(f"a predicted delta of {length} bytes from {base_size}")

    def allow(self, kinds: Kind, length: int, base_size: int) -> bool:
        """Whether ``check`` passes."""
        try:
            self.check(kinds, length, base_size)
        except LimitExceeded:
            return False
        return True


LARGE = Bounds(controls=1 << 17, clr_bytes=12 * MIB)
SMALL = Bounds(controls=1 << 15, clr_bytes=3 * MIB, tables_bytes=4 * MIB)
"""For patches of the small memory class: a quarter."""


def bounds_of(*, is_small: bool) -> Bounds:
    """Return the bounds of a memory class."""
    return SMALL if is_small else LARGE
