"""Differences with what they are coded beside, for the coder that looks at both.

Old bytes that it does not look at, far inside of blocks of zeros, are left out, so that a piece stays small.

Source: docs/formats/context-mixing.md, section 5.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise
from typing import BinaryIO

from imagedelta.delta.format.mixing import OldSpan, memory_bytes, native

Span = tuple[bytes, OldSpan]
"""Differences, and what they are coded beside."""
_HEAD = struct.Struct("<IQI")
"""Bytes of a span, its place, bytes of its packed form."""
_BLOCK = 4096
"""So many bytes are left out at once where all are zeros."""
_AROUND = 16
"""How far from a byte that is coded the coder looks at old ones, at most."""
_FASTEST = 1


def packed(spans: Iterable[Span]) -> bytes:
    """Return spans as a part of a piece."""
    out = bytearray()
    for differences, (old, numbers, place) in spans:
        steps = array("I", [b - a for a, b in pairwise([0, *numbers])])
        data = zlib.compress(differences + _looked_at(differences, old) + steps.tobytes(), _FASTEST)
        out += _HEAD.pack(len(old), place, len(data)) + data
    return bytes(out)


def unpacked(data: bytes) -> Iterator[Span]:
    """Yield the spans of ``packed``."""
    at = 0
    while at < len(data):
        size, place, packed_bytes = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        all_of_it = zlib.decompress(data[at : at + packed_bytes])
        steps = array("I", all_of_it[2 * size :])
        yield all_of_it[:size], OldSpan(all_of_it[size : 2 * size], list(accumulate(steps)), place)
        at += packed_bytes


def _looked_at(differences: bytes, old: bytes) -> bytes:
    out = bytearray(old)
    for at in range(0, len(old), _BLOCK):
        block = differences[at : at + _BLOCK]
        hidden = len(block) - 2 * _AROUND
        if hidden > 0 and block.count(0) == len(block):
            out[at + _AROUND : at + _AROUND + hidden] = bytes(hidden)
    return bytes(out)


class MixedCoding:
    """Codes all differences of a patch while its items are written: a model goes through them in their order."""

    def __init__(self, out: BinaryIO, bits: int) -> None:
        """Args:
        out: Takes the coded bytes.
        """
        self.bits = bits
        self._encoder = native().ResidualEncoder(self.bits)
        self._out = out
        self.raw_bytes = 0

    def add(self, data: bytes) -> None:
        """Append the spans of a piece."""
        for differences, span in unpacked(data):
            self._out.write(self._encoder.span(differences, *span))
            self.raw_bytes += len(span.old)

    @property
    def memory_bytes(self) -> int:
        """What the decoder takes."""
        return memory_bytes(self.bits)

    def finish(self) -> int:
        """Return how many coded bytes there are."""
        self._out.write(self._encoder.finish())
        return self._out.tell()
