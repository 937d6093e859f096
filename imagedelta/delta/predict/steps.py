"""Functions of places or addresses that are constant between ``starts``: by how much each of them moved."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import NamedTuple

NOWHERE = -(1 << 63)
"""The value where something is not, or is not any more."""


class Steps(NamedTuple):
    """16 bytes of memory for each step."""

    starts: array[int]
    """Rising; a value holds from the start of the same index on, up to the next."""
    values: array[int]
    """The last holds before the first start, too: ``values[bisect_right(starts, place) - 1]`` needs no check."""

    def moved(self, place: int) -> int | None:
        """Return a place with its value added; None where it is nowhere."""
        value = self.values[bisect_right(self.starts, place) - 1]
        return None if value == NOWHERE else place + value

    def add(self, start: int, value: int) -> None:
        """Go on with a value from ``start`` on."""
        if not self.values or value != self.values[-1]:
            self.starts.append(start)
            self.values.append(value)


def no_steps() -> Steps:
    """Return a function to which steps are to be added."""
    return Steps(array("q"), array("q"))
