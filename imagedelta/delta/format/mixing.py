"""The native coder, which is optional: context mixing of differences beside their old bytes, and of new bytes.

Source: docs/formats/context-mixing.md, docs/adr/0039.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import BinaryIO, NamedTuple, cast

from imagedelta import leb128
from imagedelta.delta.format.mixing_self_test import codes_as_stated
from imagedelta.errors import ContentError, Truncated, UnsupportedFormat
from imagedelta.limits import KIB, MIB
from imagedelta.slices import SliceReader

LEAST_BITS, MOST_BITS = 8, 15
SPAN_BYTES = 64 * KIB
"""Differences are coded beside at most so many old bytes at once."""
LEAST_FRAME_BYTES = MIB
"""A frame before the last makes at least so many bytes, so that starting anew stays in proportion."""
_FIXED_BYTES = 4 * MIB
_BUCKET_BYTES = 14 * 64
_FRAME_HEAD = 2 * leb128.MAX_BYTES
_PIECE_BYTES = 16 * KIB


def memory_bytes(bits: int) -> int:
    """Return what a decoder takes that has 2 to the power of ``bits`` buckets for each context."""
    return _FIXED_BYTES + (_BUCKET_BYTES << bits)


def bits_within(memory: int) -> int:
    """Return the largest tables whose decoder takes no more; 0 where even the smallest take more."""
    fitting = [bits for bits in range(LEAST_BITS, MOST_BITS + 1) if memory_bytes(bits) <= memory]
    return fitting[-1] if fitting else 0


def native_is_there() -> bool:
    """Whether the package imagedelta-native can be imported, and makes what the format says."""
    try:
        native()
    except UnsupportedFormat:
        return False
    return True


def native() -> ModuleType:
    """Return the package.

    Raises:
        UnsupportedFormat: "patch.native": it is not there, broken, or of another version.
    """
    try:
        import imagedelta_native
    except Exception as error:  # half a package may fail in any way
        raise UnsupportedFormat("this takes the package imagedelta-native", code="patch.native") from error
    if not codes_as_stated(imagedelta_native):
        raise UnsupportedFormat("imagedelta-native is broken, or of another version", code="patch.native")
    return imagedelta_native


def read_frames(coded: BinaryIO, bits: int) -> Iterator[bytes]:
    """Yield the new bytes of a stream of frames.

    Raises:
        ContentError: A frame is damaged, or short and not the last.
    """
    for _, pieces in frames(coded, bits):
        yield from pieces


def frames(coded: BinaryIO, bits: int, before: int = 0) -> Iterator[tuple[bytes, Iterator[bytes]]]:
    """Yield what is before the head of each frame, and its new bytes, which are taken before the next.

    Args:
        before: So many bytes.

    Raises:
        ContentError: See ``read_frames``.
    """
    at, made = 0, LEAST_FRAME_BYTES
    while True:
        coded.seek(at)
        head = coded.read(before + _FRAME_HEAD)
        if not head:
            return
        if made < LEAST_FRAME_BYTES:
            raise ContentError(f"a frame of new bytes makes {made}, at least {LEAST_FRAME_BYTES} are due")
        raw_bytes, coded_bytes, size = _frame_head(head[before:])
        at += before + size
        yield head[:before], _read_frame(cast(BinaryIO, SliceReader(coded, at, coded_bytes)), raw_bytes, bits)
        at, made = at + coded_bytes, raw_bytes


def frame_head(raw_bytes: int, coded_bytes: int) -> bytes:
    """Return what is before the coded bytes of a frame."""
    return leb128.encode(raw_bytes) + leb128.encode(coded_bytes)


def _frame_head(head: bytes) -> tuple[int, int, int]:
    try:
        raw_bytes, at = leb128.decode(head, 0)
        coded_bytes, at = leb128.decode(head, at)
    except Truncated as error:
        raise ContentError("a stream of new bytes ends inside the head of a frame") from error
    if not raw_bytes:
        raise ContentError("a frame of new bytes makes nothing")
    return raw_bytes, coded_bytes, at


def _read_frame(coded: BinaryIO, raw_bytes: int, bits: int) -> Iterator[bytes]:
    with undamaged():
        decoder = native().BytesDecoder(coded.read, bits)
    while raw_bytes:
        with undamaged():
            piece: bytes = decoder.make(min(raw_bytes, _PIECE_BYTES))
        raw_bytes -= len(piece)
        yield piece
    with undamaged():
        decoder.finish()


@contextmanager
def undamaged() -> Iterator[None]:
    """Turn what the package says of damage into ours."""
    try:
        yield
    except native().Damaged as error:
        raise ContentError(f"damaged stream of context mixing: {error}") from error


class OldSpan(NamedTuple):
    """What differences are coded beside."""

    old: bytes
    numbers: Sequence[int] = ()
    """Where in it numbers are: twice the place, and 1 more for those of 64 bits, which else have 32."""
    place: int = 0
    """In the new file."""


def spans(parts: Iterable[tuple[bytes, Sequence[int]]], place: int) -> Iterator[OldSpan]:
    """Cut parts that follow each other, each with its numbers, into spans; an empty part ends one.

    Args:
        place: Of the first in the new file.
    """
    old, numbers = bytearray(), array("I")
    for data, places in parts:
        start = 2 * len(old)
        numbers.extend([start + at for at in places] if start else places)
        old += data
        while len(old) >= SPAN_BYTES or (old and not data):
            cut = bisect_left(numbers, 2 * SPAN_BYTES)
            yield OldSpan(bytes(old[:SPAN_BYTES]), numbers[:cut], place)
            place += min(len(old), SPAN_BYTES)
            del old[:SPAN_BYTES]
            numbers = array("I", [at - 2 * SPAN_BYTES for at in numbers[cut:]])
    if old:
        yield OldSpan(bytes(old), numbers, place)


class MixedDifferences:
    """The differences of a patch, made beside the old bytes that they are added to."""

    def __init__(self, coded: BinaryIO, raw_bytes: int, bits: int) -> None:
        self._left = raw_bytes
        with undamaged():
            self._decoder = native().ResidualDecoder(coded.read, bits)

    def beside(self, span: OldSpan) -> bytes:
        """Return the differences of the next span of old bytes.

        Raises:
            Truncated: The head states fewer.
            ContentError: They are damaged.
        """
        self._left -= len(span.old)
        if self._left < 0:
            raise Truncated("patch stream DIFF ends before the patch does")
        with undamaged():
            return cast(bytes, self._decoder.span(*span))

    def finish(self) -> None:
        """Check that all were used.

        Raises:
            ContentError: The patch has more.
        """
        if self._left:
            raise ContentError("patch stream DIFF has more than the patch uses")
        with undamaged():
            self._decoder.finish()
