"""Numbered members of the source layers, on both sides: their headers, and where their data is.

A member's number counts the headers of all source layers that a patch names, layer after layer. A layer is
walked when one of its members is first asked for; what is kept of it is 16 bytes per member.

Source: docs/formats/patch.md, section 6.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import Protocol

from imagedelta.delta.format.tar_walk import BLOCK, ReadsAt, walk_headers
from imagedelta.errors import ContentError


class SizedLayer(ReadsAt, Protocol):
    """A source layer, or the headers of one."""

    @property
    def size(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a source layer."""

    layer: int
    """Number of its layer."""
    header: bytes
    """512 bytes."""
    offset: int
    """Of its data, in the layer's tar."""
    size: int
    """Bytes of its data."""


class References:
    """Looks members up by number."""

    def __init__(self, open_layer: Callable[[int], SizedLayer], counts: Sequence[int]) -> None:
        """Args:
        open_layer: Layer number → its headers at least.
        counts: How many members of each layer are numbered.
        """
        self._open_layer = open_layer
        self._starts = list(accumulate(counts, initial=0))
        self._places: dict[int, _Places] = {}

    def member(self, number: int) -> Member:
        """Return a member.

        Raises:
            ContentError: There is none of that number, or its layer has fewer members than stated.
        """
        if not 0 <= number < self._starts[-1]:
            raise ContentError(f"the patch names member {number} of {self._starts[-1]}")
        layer = bisect_right(self._starts, number) - 1
        places = self._layer_places(layer)
        place = number - self._starts[layer]
        header = self._open_layer(layer).read_at(places.offsets[place], BLOCK)
        size = places.sizes[place]
        # Up to the next header there is nothing but padding behind the data.
        return Member(layer, header, places.offsets[place + 1] - size - -size % BLOCK, size)

    def _layer_places(self, layer: int) -> _Places:
        if layer not in self._places:
            self._places[layer] = self._walk(layer, self._starts[layer + 1] - self._starts[layer])
        return self._places[layer]

    def _walk(self, layer: int, count: int) -> _Places:
        opened = self._open_layer(layer)
        places = _Places()
        for header in islice(walk_headers(opened, opened.size), count):
            places.offsets.append(header.end)
            places.sizes.append(header.size)
        if len(places.sizes) != count:
            raise ContentError(f"source layer {layer} has {len(places.sizes)} members, the patch counts {count}")
        return places


class _Places:
    """Where the members of a layer are."""

    def __init__(self) -> None:
        self.offsets = array("Q", [0])
        """Of their headers, and of what is behind the last."""
        self.sizes = array("Q")
        """Of their data."""
