"""The structure of a layer: every byte of its tar that is not file data, kept in its file index.

Headers, pax and GNU extension bodies, padding and end marks pack to a few bytes per member. With them at hand
a patch is planned, and its tar headers are coded, without reading the layer.

The bytes are cut into *runs*: one before each member's data, one behind the last. Runs longer than
``LONG_STRUCTURE`` are no tar headers of a sane layer and are not kept. The others are joined and packed in
frames of ``FRAME_BYTES``, which are unpacked one at a time, when something in them is asked for.

Source: docs/formats/index.md, section 5.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable

import zstandard

from imagedelta.errors import ContentError
from imagedelta.limits import KIB, MIB, Limits

LONG_STRUCTURE = 64 * KIB
"""Runs of more bytes are not kept."""
FRAME_BYTES = MIB
"""Structure in each frame but the last."""
_LEVEL = 9
_FRAMES_AT_HAND = 2  # two layers' worth of headers are often walked at once: from and to
_INDEX_SHARE = 4  # packed structure takes at most this part of an index, so that columns always fit


class NotStructure(LookupError):
    """A range that holds file data, or structure that was not kept: read the layer instead."""


class Spans:
    """Which ranges of a tar are kept, and where in the joined structure each begins."""

    __slots__ = ("_places", "_starts", "total")

    def __init__(self, data: Iterable[tuple[int, int]], layer_size: int) -> None:
        """Args:
        data: Offset and size of every member's data in the order of the tar, empty data included.
        layer_size: Bytes of the tar.
        """
        self._starts = array("Q")
        self._places = array("Q")
        self.total = 0
        end, kept_to = 0, -1
        for offset, size in (*data, (layer_size, 0)):
            if 0 < offset - end <= LONG_STRUCTURE:
                if end != kept_to:
                    self._starts.append(end)
                    self._places.append(self.total)
                self.total += offset - end
                kept_to = offset
            end = offset + size
        self._places.append(self.total)

    def place(self, offset: int, length: int) -> int:
        """Return where in the joined structure a range of the tar is.

        Raises:
            NotStructure: Not all of the range is kept structure.
        """
        span = bisect_right(self._starts, offset) - 1
        if span >= 0 and length >= 0:
            place = self._places[span] + offset - self._starts[span]
            if place + length <= self._places[span + 1]:
                return place
        raise NotStructure(f"{length} bytes at {offset} are not all kept structure")


class Structure:
    """The kept structure of one layer. Never changes, so threads may share it."""

    __slots__ = ("_at_hand", "_spans", "frames")

    def __init__(self, frames: Iterable[bytes], spans: Spans) -> None:
        """Args:
        frames: zstd frames that unpack to ``spans.total`` bytes, ``FRAME_BYTES`` each but the last.
        spans: Made of the members whose structure this is.
        """
        self.frames = tuple(frames)
        self._spans = spans
        self._at_hand: tuple[tuple[int, bytes], ...] = ()

    @property
    def total(self) -> int:
        """Bytes kept, unpacked."""
        return self._spans.total

    def read_at(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes of the tar from ``offset``.

        Raises:
            NotStructure: Some of them are file data, were not kept, or are outside the tar.
            ContentError: The frame that holds them is damaged.
        """
        place = self._spans.place(offset, length)
        parts = []
        while length:
            number, start = divmod(place, FRAME_BYTES)
            part = self._frame(number)[start : start + length]
            parts.append(part)
            place += len(part)
            length -= len(part)
        return b"".join(parts)

    def _frame(self, number: int) -> bytes:
        """Unpack a frame, or find it among the last ones; the tuple is replaced whole, so no lock is needed."""
        at_hand = self._at_hand
        for known, data in at_hand:
            if known == number:
                return data
        size = min(FRAME_BYTES, self.total - number * FRAME_BYTES)
        data = unpack_frame(self.frames[number], size)
        self._at_hand = ((number, data), *at_hand[: _FRAMES_AT_HAND - 1])
        return data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Structure) and self.frames == other.frames

    def __hash__(self) -> int:
        return hash(self.frames)


NO_STRUCTURE = Structure((), Spans((), 0))
"""Of an index that was made without its layer, or of a layer whose structure is over the limits."""


class StructureWriter:
    """Takes the bytes of a tar in order and keeps the structure among them, in bounded memory."""

    def __init__(self, limits: Limits) -> None:
        """Args:
        limits: ``max_structure_bytes`` and ``max_index_bytes``; of a layer with more structure none is kept.
        """
        self._most = limits.max_structure_bytes
        self._most_packed = limits.max_index_bytes // _INDEX_SHARE
        self._packer = zstandard.ZstdCompressor(level=_LEVEL)
        self._run = bytearray()
        self._run_length = 0
        self._joined = bytearray()
        self._frames: list[bytes] = []
        self._total = 0
        self._packed = 0

    def add(self, piece: bytes | memoryview) -> None:
        """Take the next bytes; whether they are structure is said by ``end_run``."""
        self._run_length += len(piece)
        if self._run_length <= LONG_STRUCTURE:
            self._run += piece

    def end_run(self, data: int) -> None:
        """End a run; the last ``data`` bytes added turned out to be a file's."""
        length = self._run_length - data
        if length <= LONG_STRUCTURE:
            self._keep(length)
        self._run.clear()
        self._run_length = 0

    def finish(self, spans: Spans) -> Structure:
        """End the last run; ``spans`` are those of the members whose ends were told."""
        self.end_run(0)
        if self._joined:
            self._pack()
        return Structure(self._frames, spans) if self._is_within_limits() else NO_STRUCTURE

    def _keep(self, length: int) -> None:
        self._total += length
        if not self._is_within_limits():
            self._frames.clear()
            self._joined.clear()
            return
        self._joined += memoryview(self._run)[:length]
        if len(self._joined) >= FRAME_BYTES:
            self._pack()

    def _pack(self) -> None:
        frame = self._packer.compress(memoryview(self._joined)[:FRAME_BYTES])
        self._frames.append(frame)
        self._packed += len(frame)
        del self._joined[:FRAME_BYTES]

    def _is_within_limits(self) -> bool:
        return self._total <= self._most and self._packed <= self._most_packed


def check_frame(packed: bytes, size: int) -> None:
    """Check that a zstd frame states the size it must have; nothing is unpacked.

    Raises:
        ContentError: It states another size, or none, or is no frame.
    """
    try:
        if zstandard.frame_content_size(packed) == size:
            return
    except zstandard.ZstdError as error:
        raise ContentError(f"file index: {error}") from None
    raise ContentError(f"file index: a frame does not have the {size} bytes announced")


def unpack_frame(packed: bytes, size: int) -> bytes:
    """Unpack one zstd frame of exactly ``size`` bytes, which the caller has checked against the limits.

    Raises:
        ContentError: It is damaged, states another size, or is followed by anything.
    """
    check_frame(packed, size)
    try:
        return zstandard.ZstdDecompressor().decompress(packed, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ContentError(f"file index: {error}") from None
