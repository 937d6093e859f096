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
from pathlib import Path
from typing import BinaryIO

from imagedelta.delta.encode.spools import spooled_file
from imagedelta.delta.format.mixing import OldSpan, native
from imagedelta.limits import MIB

Span = tuple[bytes, OldSpan]
"""Differences, and what they are coded beside."""
_HEAD = struct.Struct("<IIQI")
"""Bytes of a span, how many of them differ, its place, bytes of its packed form."""
_BLOCK = 4096
"""So many bytes are left out at once where all are zeros."""
_AROUND = 16
"""How far from a byte that is coded the coder looks at old ones, at most."""
_FASTEST = 1
_IN_MEMORY = MIB


def packed(spans: Iterable[Span]) -> bytes:
    """Return spans as a part of a piece."""
    out = bytearray()
    for differences, (old, numbers, place) in spans:
        steps = array("I", [b - a for a, b in pairwise([0, *numbers])])
        data = zlib.compress(differences + _looked_at(differences, old) + steps.tobytes(), _FASTEST)
        out += _HEAD.pack(len(old), len(old) - differences.count(0), place, len(data)) + data
    return bytes(out)


def unpacked(data: BinaryIO) -> Iterator[Span]:
    """Yield the spans of ``packed``, of several parts if they follow each other."""
    while head := data.read(_HEAD.size):
        size, _, place, packed_bytes = _HEAD.unpack(head)
        all_of_it = zlib.decompress(data.read(packed_bytes))
        steps = array("I", all_of_it[2 * size :])
        yield all_of_it[:size], OldSpan(all_of_it[size : 2 * size], list(accumulate(steps)), place)


def _looked_at(differences: bytes, old: bytes) -> bytes:
    out = bytearray(old)
    for at in range(0, len(old), _BLOCK):
        block = differences[at : at + _BLOCK]
        hidden = len(block) - 2 * _AROUND
        if hidden > 0 and block.count(0) == len(block):
            out[at + _AROUND : at + _AROUND + hidden] = bytes(hidden)
    return bytes(out)


class KeptDifferences:
    """All differences of a patch, kept until it is known how much memory what codes them may take.

    They are coded at once, as a model goes through them in their order.
    """

    def __init__(self, scratch: Path) -> None:
        """Args:
        scratch: Folder of the file that they are kept in.
        """
        self._spans = spooled_file(scratch, _IN_MEMORY)
        self.raw_bytes = 0
        self.changed_bytes = 0
        """Of ``raw_bytes``, those that are not zero."""

    def add(self, spans: bytes) -> None:
        """Append the packed spans of a piece."""
        self._spans.write(spans)
        at = 0
        while at < len(spans):
            size, changed, _, packed_bytes = _HEAD.unpack_from(spans, at)
            self.raw_bytes += size
            self.changed_bytes += changed
            at += _HEAD.size + packed_bytes

    def code(self, out: BinaryIO, bits: int) -> int:
        """Append them, coded with tables of this size; return how many coded bytes there are."""
        encoder, start = native().ResidualEncoder(bits), out.tell()
        self._spans.seek(0)
        for differences, span in unpacked(self._spans):
            out.write(encoder.span(differences, *span))
        out.write(encoder.finish())
        return out.tell() - start

    def close(self) -> None:
        """Remove what was kept."""
        self._spans.close()
