"""What differences are added to: old bytes as they are, or as they should be in the new file.

Source: docs/formats/patch.md, sections 4 and 7a.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from imagedelta.delta.byte_sums import PIECE_BYTES
from imagedelta.delta.content import Extent
from imagedelta.delta.predict.shifts import Stretch
from imagedelta.delta.predict.site import Run
from imagedelta.delta.predict.tables import Table

PART_BYTES = PIECE_BYTES
"""A run is predicted in parts of so many bytes."""


class Part(NamedTuple):
    """A stretch of a match that is predicted at once, or not at all."""

    old: int
    length: int
    predicted: bool
    run: Run | None = None
    table: Table | None = None


class Predicted(NamedTuple):
    """Old bytes of a part as they should be in the new file, and where in them are numbers."""

    data: bytes
    words: Sequence[int]
    """Of 32 bits; ``longs`` of 64."""
    longs: Sequence[int]
    are_whole: bool = False
    """Whether each has a difference as one number, not byte by byte."""

    @property
    def numbers(self) -> list[int]:
        """Twice the place of each number, in ascending order, and 1 more for those of 64 bits."""
        return sorted([2 * at for at in self.words] + [2 * at + 1 for at in self.longs])


class Old(Protocol):
    """The old bytes of one delta, whose new bytes are made, and shown to it, from front to back."""

    @property
    def predicts(self) -> bool:
        """Whether there are any references to predict."""
        ...

    @property
    def waits(self) -> bool:
        """Whether the start of the new file is still to be shown, so that each part is made before the next."""
        ...

    def show(self, data: bytes) -> None:
        """Take the next bytes of the new file."""
        ...

    def parts(self, match: Stretch) -> Iterable[Part]:
        """Return the parts of a match; all bytes before it have been shown, and those of a part before the next."""
        ...

    def predicted(self, part: Part) -> Predicted:
        """Return what the old bytes of a part should be in the new file."""
        ...

    def together(self, parts: Sequence[Part]) -> Predicted:
        """Return what ``predicted`` does of several parts, as of one."""
        ...


class Unpredicted:
    """Old bytes as they are."""

    predicts = waits = False

    def __init__(self, base: Extent) -> None:
        self._base = base

    def show(self, data: bytes) -> None:
        """See ``Old``."""

    def parts(self, match: Stretch) -> Iterable[Part]:
        """See ``Old``."""
        return cut(match.old, match.old + match.length)

    def predicted(self, part: Part) -> Predicted:
        """See ``Old``."""
        return self.together([part])

    def together(self, parts: Sequence[Part]) -> Predicted:
        """See ``Old``."""
        return Predicted(read_parts(self._base, parts), (), ())


def read_parts(base: Extent, parts: Sequence[Part]) -> bytes:
    """Return the old bytes of parts, one after the other."""
    read = base.read_at
    return b"".join([read(part.old, part.length) for part in parts])


def cut(start: int, end: int, run: Run | None = None, table: Table | None = None) -> Iterator[Part]:
    """Yield the parts of a stretch of the old file."""
    for at in range(start, end, PART_BYTES):
        yield Part(at, min(PART_BYTES, end - at), True, run, table)
