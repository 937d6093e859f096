"""Differences with the old bytes that they are added to, for the coder that looks at both.

Old bytes that it does not look at, far inside of runs of zeros, are left out, so that a piece stays small.

Source: docs/formats/context-mixing.md, section 5.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from imagedelta.delta.format.mixing import memory_bytes, native

Span = tuple[bytes, bytes]
"""Differences, and as many old bytes."""
_SIZES = struct.Struct("<II")
"""Bytes of a span, and of its packed form."""
_RUN = 32
"""Zeros that are coded before the rest of a run is counted."""
_BEFORE, _BEHIND = 8, 4
"""How far from a byte that is coded the coder looks at old ones."""
_LONG_RUN = re.compile(rb"\0{%d,}" % (_RUN + _BEHIND + _BEFORE + 64))
_FASTEST = 1


def packed(spans: Iterable[Span]) -> bytes:
    """Return spans as a part of a piece."""
    out = bytearray()
    for differences, old in spans:
        data = zlib.compress(differences + _looked_at(differences, old), _FASTEST)
        out += _SIZES.pack(len(old), len(data)) + data
    return bytes(out)


def unpacked(data: bytes) -> Iterator[Span]:
    """Yield the spans of ``packed``."""
    at = 0
    while at < len(data):
        size, packed_bytes = _SIZES.unpack_from(data, at)
        at += _SIZES.size
        both = zlib.decompress(data[at : at + packed_bytes])
        yield both[:size], both[size:]
        at += packed_bytes


def _looked_at(differences: bytes, old: bytes) -> bytes:
    out = bytearray(old)
    for run in _LONG_RUN.finditer(differences):
        start, end = run.start() + _RUN + _BEHIND, run.end() - _BEFORE
        out[start:end] = bytes(end - start)
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
        for differences, old in unpacked(data):
            self._out.write(self._encoder.span(differences, old))
            self.raw_bytes += len(old)

    @property
    def memory_bytes(self) -> int:
        """What the decoder takes."""
        return memory_bytes(self.bits)

    def finish(self) -> int:
        """Return how many coded bytes there are."""
        self._out.write(self._encoder.finish())
        return self._out.tell()
