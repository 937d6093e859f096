"""Parts of matches that are predicted and subtracted together, as there are hundreds of thousands of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from imagedelta.delta.byte_sums import PIECE_BYTES
from imagedelta.delta.content import Extent
from imagedelta.delta.predict import differences
from imagedelta.delta.predict.old import Old, Part
from imagedelta.delta.predict.shifts import Stretch


class Place(NamedTuple):
    """A part of a match, and where its bytes are in the new file."""

    at: int
    part: Part


class Group(NamedTuple):
    """Parts of at most ``PIECE_BYTES``, all of them predicted or none."""

    places: list[Place]

    @property
    def parts(self) -> list[Part]:
        """Without their places."""
        return [place.part for place in self.places]

    def new_bytes(self, new: Extent) -> bytes:
        """Return what the parts are in the new file."""
        return b"".join([new.read_at(at, part.length) for at, part in self.places])

    def cut(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield of bytes of all parts those of each, and where they are in the new file."""
        start = 0
        for at, part in self.places:
            yield at, data[start : start + part.length]
            start += part.length


def places_of(old: Old, matches: Iterable[Stretch]) -> Iterator[Place]:
    """Yield the parts of matches with their places."""
    for match in matches:
        at = match.new
        for part in old.parts(match):
            yield Place(at, part)
            at += part.length


def grouped(places: Iterable[Place]) -> Iterator[Group]:
    """Yield parts in groups, in their order."""
    group: list[Place] = []
    size = 0
    for place in places:
        part = place.part
        if group and (size + part.length > PIECE_BYTES or part.predicted != group[0].part.predicted):
            yield Group(group)
            group, size = [], 0
        group.append(place)
        size += part.length
    if group:
        yield Group(group)


def differences_of(old: Old, places: Iterable[Place], new: Extent) -> Iterator[bytes]:
    """Yield the differences of parts, those of a group at once."""
    for group in grouped(places):
        yield differences.subtract(group.new_bytes(new), old.together(group.parts))
