"""Coders of a patch's streams: number → how to write, read, and how much memory reading takes.

A stronger coder is one more entry in ``CODERS`` and a profile that uses it; the container does not change.
Decoding is bounded: output is produced in pieces of at most ``PIECE_BYTES`` (one zstd feed: 8 MiB), and the
parameters, which come from outside, are checked before anything is allocated.

Source: docs/formats/patch.md, section 5; xz-utils 5.4 (LZMA2, BCJ x86); RFC 8878 (Zstandard).
"""

from __future__ import annotations

import lzma
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import zstandard

from imagedelta.delta import numbers
from imagedelta.errors import ContentError, LimitExceeded, UnsupportedFormat

PIECE_BYTES = 64 * 1024
_FEED_BYTES = 256
"""A zstd block of 4 bytes can hold 128 KiB, so one feed gives at most 8 MiB."""
_MIN_DICTIONARY, MAX_DICTIONARY = 4096, 1 << 30
_MIN_WINDOW_LOG, _MAX_WINDOW_LOG = 10, 30
_LZMA_EXTRA = 256 * 1024
_ZSTD_EXTRA = 1024 * 1024
MAX_DICTIONARY_LAYERS = 127

RAW, LZMA2, LZMA2_X86, ZSTD, ZSTD_STRUCTURE = range(5)

Dictionary = Callable[[Sequence[int], int], bytes]
"""(source layer numbers, at most so many bytes) → the dictionary both sides can make."""


class StreamWriter(Protocol):
    """Compressor of one stream."""

    def compress(self, data: bytes) -> bytes: ...

    def flush(self) -> bytes: ...


class StreamReader(Protocol):
    """Decompressor of one stream."""

    def pieces(self, coded: BinaryIO) -> Iterator[bytes]:
        """Yield the raw bytes; raises ContentError where the coded ones are damaged or go on after the end."""
        ...


@dataclass(frozen=True, slots=True)
class Params:
    """Parameters of a stream. Those a coder does not use stay 0 or empty."""

    dictionary_bytes: int = 0
    """LZMA2: dictionary size; zstd with structure: most bytes of structure."""
    window_log: int = 0
    layers: tuple[int, ...] = ()
    """Numbers of the source layers whose structure is the dictionary."""


@dataclass(frozen=True, slots=True)
class Coder:
    """One way to code a stream."""

    name: str
    write_params: Callable[[Params], bytes]
    read_params: Callable[[Callable[[], int]], Params]
    """Takes a function that reads the next number of the parameters."""
    memory: Callable[[Params], int]
    """Bytes that reading takes."""
    reader: Callable[[Params, Dictionary], StreamReader]


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


def zstd_dictionary(data: bytes) -> zstandard.ZstdCompressionDict:
    """Return ``data`` as a dictionary without tables: content that matches may point into."""
    return zstandard.ZstdCompressionDict(data, dict_type=zstandard.DICT_TYPE_RAWCONTENT)


class _RawReader:
    def pieces(self, coded: BinaryIO) -> Iterator[bytes]:
        while piece := coded.read(PIECE_BYTES):
            yield piece


class _LzmaReader:
    def __init__(self, params: Params, x86: bool) -> None:
        self._filters = lzma2_filters(params.dictionary_bytes, x86)

    def pieces(self, coded: BinaryIO) -> Iterator[bytes]:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=self._filters)
        while not decoder.eof:
            feed = coded.read(PIECE_BYTES) if decoder.needs_input else b""
            if decoder.needs_input and not feed:
                raise ContentError("an LZMA2 stream ends without its end mark")
            try:
                piece = decoder.decompress(feed, PIECE_BYTES)
            except (lzma.LZMAError, EOFError) as error:
                raise ContentError(f"damaged LZMA2 stream: {error}") from error
            if piece:
                yield piece
        if decoder.unused_data or coded.read(1):
            raise ContentError("an LZMA2 stream goes on after its end mark")


class _ZstdReader:
    def __init__(self, params: Params, dictionary: bytes) -> None:
        self._window = 1 << params.window_log
        self._dictionary = dictionary

    def pieces(self, coded: BinaryIO) -> Iterator[bytes]:
        known = {"dict_data": zstd_dictionary(self._dictionary)} if self._dictionary else {}
        decoder = zstandard.ZstdDecompressor(
            max_window_size=self._window, format=zstandard.FORMAT_ZSTD1_MAGICLESS, **known
        ).decompressobj()
        while not decoder.eof:
            feed = coded.read(_FEED_BYTES)
            if not feed:
                raise ContentError("a zstd stream ends inside its frame")
            try:
                piece = decoder.decompress(feed)
            except zstandard.ZstdError as error:
                raise ContentError(f"damaged zstd stream: {error}") from error
            if piece:
                yield piece
        if decoder.unused_data or coded.read(1):
            raise ContentError("a zstd stream goes on after its frame")


def _checked(value: int, low: int, high: int, what: str) -> int:
    if not low <= value <= high:
        raise LimitExceeded(f"patch stream: {what} {value}, allowed are {low} to {high}")
    return value


def _read_lzma(number: Callable[[], int]) -> Params:
    return Params(dictionary_bytes=_checked(number(), _MIN_DICTIONARY, MAX_DICTIONARY, "dictionary size"))


def _read_zstd(number: Callable[[], int]) -> Params:
    return Params(window_log=_checked(number(), _MIN_WINDOW_LOG, _MAX_WINDOW_LOG, "window log"))


def _read_zstd_structure(number: Callable[[], int]) -> Params:
    window_log = _checked(number(), _MIN_WINDOW_LOG, _MAX_WINDOW_LOG, "window log")
    size = _checked(number(), 1, MAX_DICTIONARY, "dictionary size")
    count = _checked(number(), 1, MAX_DICTIONARY_LAYERS, "number of dictionary layers")
    return Params(size, window_log, tuple(number() for _ in range(count)))


def _write_zstd_structure(params: Params) -> bytes:
    values = (params.window_log, params.dictionary_bytes, len(params.layers), *params.layers)
    return b"".join(map(numbers.encode, values))


def _lzma_coder(name: str, x86: bool) -> Coder:
    return Coder(
        name=name,
        write_params=lambda params: numbers.encode(params.dictionary_bytes),
        read_params=_read_lzma,
        memory=lambda params: params.dictionary_bytes + _LZMA_EXTRA,
        reader=lambda params, dictionary: _LzmaReader(params, x86),
    )


CODERS: dict[int, Coder] = {
    RAW: Coder(
        name="raw",
        write_params=lambda params: b"",
        read_params=lambda number: Params(),
        memory=lambda params: PIECE_BYTES,
        reader=lambda params, dictionary: _RawReader(),
    ),
    LZMA2: _lzma_coder("lzma2", x86=False),
    LZMA2_X86: _lzma_coder("x86+lzma2", x86=True),
    ZSTD: Coder(
        name="zstd",
        write_params=lambda params: numbers.encode(params.window_log),
        read_params=_read_zstd,
        memory=lambda params: (1 << params.window_log) + _ZSTD_EXTRA,
        reader=lambda params, dictionary: _ZstdReader(params, b""),
    ),
    ZSTD_STRUCTURE: Coder(
        name="zstd+structure",
        write_params=_write_zstd_structure,
        read_params=_read_zstd_structure,
        # The dictionary is held once as bytes here and once inside the decoder.
        memory=lambda params: (1 << params.window_log) + 2 * params.dictionary_bytes + _ZSTD_EXTRA,
        reader=lambda params, dictionary: _ZstdReader(params, dictionary(params.layers, params.dictionary_bytes)),
    ),
}
