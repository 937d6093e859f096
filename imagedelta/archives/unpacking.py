"""Packed bytes to plain bytes, in pieces and within bounds: gzip, zstd, xz and bzip2, as Docker takes them.

There is no bound on how well bytes are packed: a preallocated database or a log of a high user ID is gigabytes of
zeros in a real image. What bounds them is the most that an image may be, its digest, and the disk they go to.
Not here: what the plain bytes are, and whether they are the right ones (imagedelta.archives.layer_stream).
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol, cast

import zstandard

from imagedelta.errors import ContentError, LimitExceeded, Truncated, UnsupportedFormat
from imagedelta.limits import KIB, MIB, Limits, over_limit

PIECE = MIB
"""Bytes per read and per piece: a read may be a request to a far away store."""
_LEAST_FEED, _FEED = KIB, 64 * KIB
"""Bytes given to an unpacker at once. What it does not use is copied back, with eStargz after every few kilobytes, so
they are few after a short stream, and twice as many each time that all are used."""
_XZ_OVERHEAD = MIB
"""What an xz decoder needs beside its dictionary, rounded up."""
_GZIP_MEMBER = 16 + zlib.MAX_WBITS
_MAGICS = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\0": "xz",
    b"BZh": "bzip2",
    b"PK\x03\x04": "zip",
}
_BZIP2_HEADER = 10
_BZIP2_BLOCKS = (b"\x31\x41\x59\x26\x53\x59", b"\x17\x72\x45\x38\x50\x90")
"""What follows ``BZh`` and a digit: a file in a layer may have a name that starts so."""
_SKIPPABLE_ZSTD = tuple(bytes([0x50 + n, 0x2A, 0x4D, 0x18]) for n in range(16))
_SMALL = 64 * KIB
MAGIC_BYTES = _BZIP2_HEADER


class Readable(Protocol):
    """Anything with ``read``."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes; none at the end."""


class Section:
    """A stretch of a seekable stream as a stream of its own.

    It seeks before each read, so sections of one stream can be read in turns, but not from two threads.
    """

    def __init__(self, stream: BinaryIO, offset: int, length: int, *, owned: bool = False) -> None:
        """``owned``: closing the section closes the stream."""
        self._stream = stream
        self._owned = owned
        self._offset = offset
        self.length = length
        self.position = 0

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes; none at the section's end.

        Raises:
            Truncated: The stream ends before the section does.
        """
        size = min(size, self.length - self.position)
        if size <= 0:
            return b""
        self._stream.seek(self._offset + self.position)
        data = self._stream.read(size)
        if not data:
            raise Truncated(f"the archive ends {self.length - self.position} bytes early")
        self.position += len(data)
        return data

    def close(self) -> None:
        """Close the stream if it is this section's own."""
        if self._owned:
            self._stream.close()


def packing_of(prefix: bytes) -> str | None:
    """Name the packing that the first ``MAGIC_BYTES`` show; ``None`` for plain bytes."""
    if prefix.startswith(_SKIPPABLE_ZSTD):
        return "zstd"
    packing = next((name for magic, name in _MAGICS.items() if prefix.startswith(magic)), None)
    if packing == "bzip2" and prefix[4:_BZIP2_HEADER] not in _BZIP2_BLOCKS:
        return None
    return packing


def unpack(packed: Readable, limits: Limits) -> Iterator[bytes]:
    """Yield the plain bytes of ``packed``, read once from where it stands, in pieces of at most 1 MiB.

    Raises:
        LimitExceeded: They expand beyond ``max_image_bytes``, or unpacking needs more than ``max_window_bytes``.
        UnsupportedFormat: Packed with something that Docker does not read either.
        ContentError: The packed bytes are damaged.
    """
    prefix = b""
    while len(prefix) < MAGIC_BYTES and (more := packed.read(MAGIC_BYTES - len(prefix))):
        prefix += more
    return _bounded(_gathered(_pieces(_Rejoined(prefix, packed), packing_of(prefix), limits)), limits)


class _Rejoined:
    """A stream whose first bytes were read already."""

    def __init__(self, prefix: bytes, rest: Readable) -> None:
        self._prefix = prefix
        self._rest = rest

    def read(self, size: int, /) -> bytes:
        if not self._prefix:
            return self._rest.read(size)
        taken, self._prefix = self._prefix[:size], self._prefix[size:]
        return taken


def _pieces(packed: Readable, packing: str | None, limits: Limits) -> Iterator[bytes]:
    if packing is None:
        return iter(lambda: packed.read(PIECE), b"")
    if packing == "gzip":
        return _unpack_streams(packed, _Gzip, packing)
    if packing == "bzip2":
        return _unpack_streams(packed, bz2.BZ2Decompressor, packing)
    if packing == "xz":
        return _unxz(packed, limits)
    if packing == "zstd":
        return _unzstd(packed, limits)
    raise UnsupportedFormat(f"packed with {packing}, which Docker does not read either", code="content.packed")


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Join small pieces: a layer may be packed as a gzip member per file, and each piece costs whoever takes it."""
    small = bytearray()
    for piece in pieces:
        if len(piece) < _SMALL:
            small += piece
        if small and (len(piece) >= _SMALL or len(small) >= _SMALL):
            yield bytes(small)
            small.clear()
        if len(piece) >= _SMALL:
            yield piece
    if small:
        yield bytes(small)


def _bounded(pieces: Iterator[bytes], limits: Limits) -> Iterator[bytes]:
    produced = 0
    for piece in pieces:
        produced += len(piece)
        if produced > limits.max_image_bytes:
            raise LimitExceeded(f"it unpacks to more than the {limits.max_image_bytes} bytes that an image may have")
        yield piece


class _Stream(Protocol):
    """One compressed stream of a file that may hold several, as bz2 and lzma have it."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


class _Gzip:
    """One member of a gzip file."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(_GZIP_MEMBER)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail or data, max_length)


class _Feed:
    """Packed bytes in small slices; the end of the last one can be given back."""

    def __init__(self, packed: Readable) -> None:
        self._packed = packed
        self._piece = b""
        self._at = 0
        self._size = _FEED

    def take(self) -> bytes:
        """Return the next bytes, none at the end."""
        if self._at == len(self._piece):
            self._piece, self._at = self._packed.read(PIECE), 0
        taken = self._piece[self._at : self._at + self._size]
        self._at += len(taken)
        self._size = min(2 * self._size, _FEED)
        return taken

    def give_back(self, count: int) -> None:
        """Return to where ``count`` bytes of the last slice are still to come."""
        self._at -= count
        if count:
            self._size = _LEAST_FEED

    def ends_after_padding(self) -> bool:
        """Pass over zeros, which tapes and xz leave between streams; tell whether nothing follows them."""
        while taken := self.take():
            rest = taken.lstrip(b"\0")
            if rest:
                self.give_back(len(rest))
                return False
        return True


def _unpack_streams(packed: Readable, start: Callable[[], _Stream], packing: str) -> Iterator[bytes]:
    """Unpack all streams of a file, one after the other; zeros between and after them are passed over."""
    feed = _Feed(packed)
    while not feed.ends_after_padding():
        stream = start()
        while not stream.eof:
            data = feed.take() if stream.needs_input else b""
            ended = stream.needs_input and not data
            piece = _decompress(stream, data, packing)
            if piece:
                yield piece
            elif ended and not stream.eof:
                raise Truncated(f"the {packing} data ends early")
        feed.give_back(len(stream.unused_data))


def _decompress(stream: _Stream, data: bytes, packing: str) -> bytes:
    try:
        return stream.decompress(data, PIECE)
    except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
        raise ContentError(f"the {packing} data is damaged: {error}") from None


def _unxz(packed: Readable, limits: Limits) -> Iterator[bytes]:
    def start() -> _Stream:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, limits.max_window_bytes + _XZ_OVERHEAD)

    try:
        yield from _unpack_streams(packed, start, "xz")
    except ContentError as error:
        if "emory" in str(error):  # liblzma tells no other way
            raise over_limit("unpacking xz needs a larger dictionary", "window-bytes", limits) from None
        raise


def _unzstd(packed: Readable, limits: Limits) -> Iterator[bytes]:
    """Unpack all frames; a cut last frame is found by the digest, since the library does not tell."""
    unpacker = zstandard.ZstdDecompressor(max_window_size=limits.max_window_bytes)
    source = cast(BinaryIO, packed)  # it only ever calls read
    with unpacker.stream_reader(source, read_size=PIECE, read_across_frames=True, closefd=False) as reader:
        while piece := _read_zstd(reader, limits):
            yield piece


def _read_zstd(reader: zstandard.ZstdDecompressionReader, limits: Limits) -> bytes:
    try:
        return reader.read(PIECE)
    except zstandard.ZstdError as error:
        if "too much memory" in str(error):
            raise over_limit("a zstd frame needs a larger window", "window-bytes", limits) from None
        raise ContentError(f"the zstd data is damaged: {error}") from None
