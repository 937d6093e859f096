"""Coders of a patch's streams: number → how to read a stream, and how much memory that takes.

A stronger coder is one more entry in ``CODERS`` and a profile that uses it; the container does not change.
Decoding is bounded: output is produced in pieces of about ``PIECE_BYTES``, and the parameters, which come from
outside, are checked before anything is allocated.

Source: docs/formats/patch.md, section 5; docs/formats/context-mixing.md; xz-utils 5.4 (LZMA2, BCJ x86); RFC 7932
(Brotli).
"""

from __future__ import annotations

import lzma
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import brotli

from imagedelta import leb128
from imagedelta.delta.format import mixing
from imagedelta.delta.format.code_operands import with_operands
from imagedelta.delta.format.dictionary_reading import decoder_behind
from imagedelta.delta.format.table_columns import MAX_TABLES_BYTES, with_tables
from imagedelta.errors import ContentError, LimitExceeded, UnsupportedFormat
from imagedelta.limits import KIB, MIB

PIECE_BYTES = 64 * KIB
MIN_DICTIONARY, MAX_DICTIONARY = 4096, 1 << 30
MIN_WINDOW_LOG, MAX_WINDOW_LOG = 10, 24
_LZMA_EXTRA = 256 * KIB
_BROTLI_EXTRA = MIB
PROGRAMS_BYTES = 4 * MAX_TABLES_BYTES
"""What bringing a frame of programs into its own form takes."""
LEAST_FRAME_BYTES = MIB
"""A frame before the last makes at least so many bytes, so that what begins anew with it stays in proportion."""

RAW, LZMA2, LZMA2_X86, BROTLI, LZMA2_DICTIONARY, MIXED_DIFFERENCES, MIXED_BYTES, PROGRAMS, MIXED_PROGRAMS = range(9)
PLAIN_FRAME, CODE_FRAME = range(2)
"""First byte of a frame of programs: whether there is code for x86-64 in it."""
NATIVE_CODERS = frozenset({MIXED_DIFFERENCES, MIXED_BYTES, MIXED_PROGRAMS})
"""They take the package imagedelta-native."""

NextDictionary = Callable[[int], Iterator[bytes]]
"""Most bytes → the old text of the next frame, in pieces."""


class StreamReader(Protocol):
    """Decompressor of one stream."""

    def pieces(self, coded: BinaryIO) -> Iterator[bytes]:
        """Yield the raw bytes; raises ContentError where the coded ones are damaged or go on after the end."""
        ...


@dataclass(frozen=True, slots=True)
class Params:
    """Parameters of a stream. Those a coder does not use stay 0."""

    dictionary_bytes: int = 0
    """LZMA2."""
    window_log: int = 0
    """Brotli."""
    bits: int = 0
    """Context mixing: two to the power of so many buckets for each context."""


@dataclass(frozen=True, slots=True)
class Coder:
    """How a kind of stream is read, and its parameters written."""

    name: str
    write_params: Callable[[Params], bytes]
    read_params: Callable[[Callable[[], int]], Params]
    """Takes a function that reads the next number of the parameters."""
    memory: Callable[[Params], int]
    """Bytes that reading takes."""
    reader: Callable[[Params, NextDictionary], StreamReader]


def coder(number: int) -> Coder:
    """Return coder ``number``.

    Raises:
        UnsupportedFormat: This version does not know it.
    """
    if number not in CODERS:
        raise UnsupportedFormat(f"patch stream coder {number}")
    return CODERS[number]


def lzma2_filters(dictionary_bytes: int, x86: bool, **tuning: Any) -> list[dict[str, Any]]:
    """Return liblzma's filter chain for writing (with ``tuning``) and reading (without)."""
    lzma2 = {"id": lzma.FILTER_LZMA2, "dict_size": dictionary_bytes, **tuning}
    return [{"id": lzma.FILTER_X86}, lzma2] if x86 else [lzma2]


class _RawReader:
    def pieces(self, coded: BinaryIO) -> Iterator[bytes]:
        while piece := coded.read(PIECE_BYTES):
            yield piece


class _LzmaReader:
    def __init__(self, params: Params, x86: bool) -> None:
        self._filters = lzma2_filters(params.dictionary_bytes, x86)

    def pieces(self, coded: BinaryIO) -> Iterator[bytes]:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=self._filters)
        yield from _decoded(decoder, b"", coded)
        if decoder.unused_data or coded.read(1):
            raise ContentError("an LZMA2 stream goes on after its end mark")


class _ProgramsReader:
    """Frames of LZMA2 whose code and tables are in a form that packs better."""

    def __init__(self, params: Params) -> None:
        self._dictionary_bytes = params.dictionary_bytes

    def pieces(self, coded: BinaryIO) -> Iterator[bytes]:
        feed = coded.read(PIECE_BYTES)
        while feed:
            has_code = _has_code(feed)
            filters = lzma2_filters(self._dictionary_bytes, x86=has_code)
            decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
            made = 0
            for piece in program_form(_decoded(decoder, feed[1:], coded), has_code, undo=True):
                made += len(piece)
                yield piece
            feed = decoder.unused_data or coded.read(PIECE_BYTES)
            if feed and made < LEAST_FRAME_BYTES:
                raise ContentError(f"a frame of programs makes {made} bytes, at least {LEAST_FRAME_BYTES} are due")


class _MixedProgramsReader:
    """Frames of context mixing whose code and tables are in a form that packs better."""

    def __init__(self, params: Params) -> None:
        self._bits = params.bits

    def pieces(self, coded: BinaryIO) -> Iterator[bytes]:
        for kind, pieces in mixing.frames(coded, self._bits, before=1):
            yield from program_form(pieces, _has_code(kind), undo=True)


def _has_code(frame: bytes) -> bool:
    if frame[0] not in (PLAIN_FRAME, CODE_FRAME):
        raise ContentError(f"a frame of programs of kind {frame[0]}")
    return frame[0] == CODE_FRAME


def program_form(pieces: Iterator[bytes], has_code: bool, *, undo: bool) -> Iterator[bytes]:
    """Yield a frame of programs in the form that packs better, or back from it; pieces that are not empty."""
    filters = [with_tables, with_operands] if has_code else [with_tables]
    for each in reversed(filters) if undo else filters:
        pieces = each(pieces, undo=undo)
    return filter(None, pieces)


class _DictionaryReader:
    """Frames of LZMA2, each behind its own old text."""

    def __init__(self, params: Params, next_dictionary: NextDictionary) -> None:
        self._dictionary_bytes = params.dictionary_bytes
        self._next_dictionary = next_dictionary

    def pieces(self, coded: BinaryIO) -> Iterator[bytes]:
        feed = coded.read(PIECE_BYTES)
        while feed:
            decoder = decoder_behind(self._next_dictionary(self._dictionary_bytes), self._dictionary_bytes)
            made = 0
            for piece in _decoded(decoder, feed, coded):
                made += len(piece)
                yield piece
            feed = decoder.unused_data or coded.read(PIECE_BYTES)
            if feed and made < LEAST_FRAME_BYTES:
                raise ContentError(f"a frame of old text makes {made} bytes, at least {LEAST_FRAME_BYTES} are due")


def _decoded(decoder: lzma.LZMADecompressor, feed: bytes, coded: BinaryIO) -> Iterator[bytes]:
    while not decoder.eof:
        if decoder.needs_input and not feed:
            feed = coded.read(PIECE_BYTES)
            if not feed:
                raise ContentError("an LZMA2 stream ends without its end mark")
        try:
            piece = decoder.decompress(feed, PIECE_BYTES)
        except (lzma.LZMAError, EOFError) as error:
            raise ContentError(f"damaged LZMA2 stream: {error}") from error
        feed = b""
        if piece:
            yield piece


class _MixedBytesReader:
    def __init__(self, params: Params) -> None:
        self._bits = params.bits

    def pieces(self, coded: BinaryIO) -> Iterator[bytes]:
        return mixing.read_frames(coded, self._bits)


class _NoReader:
    """Of differences that are made beside old bytes (decode.differences): there are no bytes without these."""

    def pieces(self, coded: BinaryIO) -> Iterator[bytes]:
        raise ContentError("differences coded beside old bytes have none here")


class _BrotliReader:
    def __init__(self, params: Params) -> None:
        self._window_log = params.window_log

    def pieces(self, coded: BinaryIO) -> Iterator[bytes]:
        decoder = brotli.Decompressor()
        feed = coded.read(PIECE_BYTES)
        self._check_window(feed)
        try:
            while not decoder.is_finished():
                piece = decoder.process(feed, output_buffer_limit=PIECE_BYTES)
                feed = b""
                if piece:
                    yield piece
                elif decoder.can_accept_more_data():
                    feed = coded.read(PIECE_BYTES)
                    if not feed:
                        raise ContentError("a Brotli stream ends before its last block")
        except brotli.error as error:
            raise ContentError(f"damaged Brotli stream: {error}") from error
        if coded.read(1):
            raise ContentError("a Brotli stream goes on after its last block")

    def _check_window(self, start: bytes) -> None:
        """Check the window that the stream itself states against that of the table (RFC 7932, section 9.1)."""
        stated = _brotli_window(start[0]) if start else 0
        if stated > self._window_log:
            raise LimitExceeded(f"a Brotli stream of window {stated}, stated is {self._window_log}")


def _brotli_window(first: int) -> int:
    if not first & 1:
        return 16
    if first >> 1 & 7:
        return 17 + (first >> 1 & 7)
    return {0: 17, 1: 99}.get(first >> 4 & 7, 8 + (first >> 4 & 7))  # 1 stands for a large window, over 24


def _checked(value: int, low: int, high: int, what: str) -> int:
    if not low <= value <= high:
        raise LimitExceeded(f"patch stream: {what} {value}, allowed are {low} to {high}")
    return value


def _read_dictionary(number: Callable[[], int]) -> Params:
    return Params(dictionary_bytes=_checked(number(), MIN_DICTIONARY, MAX_DICTIONARY, "dictionary size"))


def _read_window(number: Callable[[], int]) -> Params:
    return Params(window_log=_checked(number(), MIN_WINDOW_LOG, MAX_WINDOW_LOG, "window log"))


def _read_bits(number: Callable[[], int]) -> Params:
    return Params(bits=_checked(number(), mixing.LEAST_BITS, mixing.MOST_BITS, "table size"))


def _mixing_coder(name: str, reader: Callable[[Params, NextDictionary], StreamReader], extra_bytes: int = 0) -> Coder:
    return Coder(
        name=name,
        write_params=lambda params: leb128.encode(params.bits),
        read_params=_read_bits,
        memory=lambda params: mixing.memory_bytes(params.bits) + extra_bytes,
        reader=reader,
    )


def _lzma_coder(
    name: str, reader: Callable[[Params, NextDictionary], StreamReader], extra_bytes: int = _LZMA_EXTRA
) -> Coder:
    return Coder(
        name=name,
        write_params=lambda params: leb128.encode(params.dictionary_bytes),
        read_params=_read_dictionary,
        memory=lambda params: params.dictionary_bytes + extra_bytes,
        reader=reader,
    )


CODERS: dict[int, Coder] = {
    RAW: Coder(
        name="raw",
        write_params=lambda params: b"",
        read_params=lambda number: Params(),
        memory=lambda params: PIECE_BYTES,
        reader=lambda params, next_dictionary: _RawReader(),
    ),
    LZMA2: _lzma_coder("lzma2", lambda params, next_dictionary: _LzmaReader(params, x86=False)),
    LZMA2_X86: _lzma_coder("x86+lzma2", lambda params, next_dictionary: _LzmaReader(params, x86=True)),
    BROTLI: Coder(
        name="brotli",
        write_params=lambda params: leb128.encode(params.window_log),
        read_params=_read_window,
        memory=lambda params: (1 << params.window_log) + _BROTLI_EXTRA,
        reader=lambda params, next_dictionary: _BrotliReader(params),
    ),
    LZMA2_DICTIONARY: _lzma_coder("old-text+lzma2", _DictionaryReader),
    MIXED_DIFFERENCES: _mixing_coder("mixing beside old bytes", lambda params, next_dictionary: _NoReader()),
    PROGRAMS: _lzma_coder(
        "programs+lzma2", lambda params, next_dictionary: _ProgramsReader(params), _LZMA_EXTRA + PROGRAMS_BYTES
    ),
    MIXED_BYTES: _mixing_coder("mixing", lambda params, next_dictionary: _MixedBytesReader(params)),
    MIXED_PROGRAMS: _mixing_coder(
        "programs+mixing", lambda params, next_dictionary: _MixedProgramsReader(params), PROGRAMS_BYTES
    ),
}
