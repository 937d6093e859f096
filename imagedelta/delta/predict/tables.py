"""Stretches of a program whose references are found by their form, not sought."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Places(NamedTuple):
    """Where in a part numbers are that were predicted."""

    words: Sequence[int] = ()
    """Of 32 bits; ``longs`` of 64."""
    longs: Sequence[int] = ()


class Table(Protocol):
    """A stretch of the old file; its parts lie wholly in it."""

    start: int
    end: int

    def predict(
        self, data: bytes, out: bytearray, start: int, site_difference: int, *, with_sizes: bool = True
    ) -> Places:
        """Predict the references that lie wholly in a part.

        Args:
            data: The old bytes of the part.
            out: The same bytes; references are overwritten.
            start: Where the part begins in the old file.
            site_difference: New address less old of the bytes of the part.
            with_sizes: Whether also numbers that are no references, but what lies between two places.
        """
        ...


class NoReferences:
    """A stretch in which nothing is sought."""

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end

    def predict(
        self, data: bytes, out: bytearray, start: int, site_difference: int, *, with_sizes: bool = True
    ) -> Places:
        """See ``Table``."""
        return Places()
