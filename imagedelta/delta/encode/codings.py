"""The codings of raw streams that code any segment by itself, so that segments make one stream when joined.

Source: docs/formats/patch.md, section 5; docs/adr/0009, 0019 and 0043.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

from imagedelta.delta.content import Extent
from imagedelta.delta.encode.samples import sample
from imagedelta.delta.format import mixing
from imagedelta.delta.format.coders import (
    CODE_FRAME,
    LZMA2,
    LZMA2_X86,
    MIN_DICTIONARY,
    MIXED_BYTES,
    MIXED_PROGRAMS,
    PLAIN_FRAME,
    PROGRAMS,
    Params,
    lzma2_filters,
    program_form,
)

_END_MARK = 1
"""Bytes at the end of an LZMA2 stream that say that it ends."""


class Segment(NamedTuple):
    """A part of a raw stream that is coded by itself."""

    raw: Extent
    start: int
    """Its place in the stream."""
    is_last: bool


@dataclass(frozen=True, slots=True)
class Lzma2:
    """A coder of LZMA2 and its tuning."""

    coder: int
    tuning: Mapping[str, int] = field(default_factory=dict)

    def filters(self, dictionary: int) -> list[dict[str, Any]]:
        """Return liblzma's filter chain for writing."""
        strongest: dict[str, Any] = {"preset": 9 | lzma.PRESET_EXTREME, **self.tuning}
        return lzma2_filters(dictionary, self.coder == LZMA2_X86, **strongest)

    def params(self, dictionary: int) -> Params:
        """Return what the stream table says beside the coder."""
        return Params(dictionary_bytes=dictionary)

    def pack(self, data: bytes, dictionary: int) -> bytes:
        """Return all of a stream, coded."""
        return lzma.compress(data, lzma.FORMAT_RAW, filters=self.filters(dictionary))

    def code(self, segment: Segment, dictionary: int, out: BinaryIO) -> None:
        """Append a segment, coded; only the last one has an end mark."""
        filters = self.filters(dictionary)
        if self.coder == LZMA2_X86:
            filters[0]["start_offset"] = segment.start
        packer = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=filters)
        for block in segment.raw.pieces(0, segment.raw.size):
            out.write(packer.compress(block))
        out.write(packer.flush() if segment.is_last else packer.flush()[:-_END_MARK])


@dataclass(frozen=True, slots=True)
class Programs:
    """A coder of programs, whose code and tables are brought into a form that packs better, and its tuning."""

    tuning: Mapping[str, int] = field(default_factory=dict)
    coder: int = PROGRAMS

    def params(self, dictionary: int) -> Params:
        """See ``Lzma2``."""
        return Params(dictionary_bytes=dictionary)

    def pack(self, data: bytes, dictionary: int) -> bytes:
        """See ``Lzma2``."""
        return min((self._frame(data, dictionary, has_code) for has_code in (False, True)), key=len)

    def code(self, segment: Segment, dictionary: int, out: BinaryIO) -> None:
        """Append a segment, a frame of its own; by a sample of it, whether it has code."""
        raw = segment.raw
        for block in self._blocks(raw.pieces(0, raw.size), dictionary, self.find_code(sample([raw]))):
            out.write(block)

    def find_code(self, data: bytes) -> bool:
        """Return whether code for x86-64 in these bytes is worth another form."""
        return self.pack(data, max(MIN_DICTIONARY, len(data)))[0] == CODE_FRAME

    def _frame(self, data: bytes, dictionary: int, has_code: bool) -> bytes:
        return b"".join(self._blocks(iter([data]), dictionary, has_code))

    def _blocks(self, pieces: Iterator[bytes], dictionary: int, has_code: bool) -> Iterator[bytes]:
        packer = lzma.LZMACompressor(
            lzma.FORMAT_RAW, filters=Lzma2(LZMA2_X86 if has_code else LZMA2, self.tuning).filters(dictionary)
        )
        yield bytes([CODE_FRAME if has_code else PLAIN_FRAME])
        for piece in program_form(pieces, has_code, undo=False):
            yield packer.compress(piece)
        yield packer.flush()


@dataclass(frozen=True, slots=True)
class Mixed:
    """The native coder of new bytes, and the size of its tables, which are its dictionary."""

    bits: int
    coder: int = MIXED_BYTES

    def params(self, dictionary: int) -> Params:
        """See ``Lzma2``."""
        return Params(bits=self.bits)

    def pack(self, data: bytes, dictionary: int) -> bytes:
        """See ``Lzma2``."""
        coded = b"".join(mixing.native().encode_bytes([data], self.bits))
        return mixing.frame_head(len(data), len(coded)) + coded

    def code(self, segment: Segment, dictionary: int, out: BinaryIO) -> None:
        """Append a segment, a frame of its own."""
        out.write(self.pack(segment.raw.whole(), dictionary))


@dataclass(frozen=True, slots=True)
class MixedPrograms:
    """The native coder of programs in the form that packs better, and the size of its tables."""

    bits: int
    coder: int = MIXED_PROGRAMS

    def params(self, dictionary: int) -> Params:
        """See ``Lzma2``."""
        return Params(bits=self.bits)

    def pack(self, data: bytes, dictionary: int) -> bytes:
        """See ``Lzma2``."""
        return b"".join(self._frame(iter([data]), len(data), Programs().find_code(data)))

    def code(self, segment: Segment, dictionary: int, out: BinaryIO) -> None:
        """Append a segment, a frame of its own; by a sample of it, whether it has code."""
        raw = segment.raw
        for block in self._frame(raw.pieces(0, raw.size), raw.size, Programs().find_code(sample([raw]))):
            out.write(block)

    def _frame(self, pieces: Iterator[bytes], size: int, has_code: bool) -> Iterator[bytes]:
        formed = program_form(pieces, has_code, undo=False)
        coded = b"".join(mixing.native().encode_bytes(formed, self.bits))
        yield bytes([CODE_FRAME if has_code else PLAIN_FRAME])
        yield mixing.frame_head(size, len(coded))
        yield coded


Coding = Lzma2 | Programs | Mixed | MixedPrograms


def mixed(bits: int, has_programs: bool) -> Mixed | MixedPrograms:
    """Return the native coder of a stream."""
    return MixedPrograms(bits) if has_programs else Mixed(bits)
