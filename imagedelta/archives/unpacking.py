"""Packed bytes to plain bytes, in pieces and within bounds: gzip and zstd as image builders write them.

Not here: what the plain bytes are, and whether they are the right ones (imagedelta.archives.layer_stream).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO, Protocol, cast

import zstandard

from imagedelta.errors import ContentError, LimitExceeded, Truncated, UnsupportedFormat
from imagedelta.limits import MIB, Limits

PIECE = MIB
"""Bytes per read and per piece: a read may be a request to a far away store."""
_GZIP_MEMBER = 16 + zlib.MAX_WBITS
_MAGICS = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\0": "xz",
    b"BZh": "bzip2",
    b"PK\x03\x04": "zip",
}
_SKIPPABLE_ZSTD = tuple(bytes([0x50 + n, 0x2A, 0x4D, 0x18]) for n in range(16))
MAGIC_BYTES = 6


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
    return next((name for magic, name in _MAGICS.items() if prefix.startswith(magic)), None)


def unpack(packed: Section, limits: Limits) -> Iterator[bytes]:
    """Yield the plain bytes of ``packed`` in pieces of at most 1 MiB, whatever its packing.

    Raises:
        LimitExceeded: They expand beyond ``max_image_bytes`` or the ratio of the limits.
        UnsupportedFormat: Packed with something else than gzip or zstd.
        ContentError: The packed bytes are damaged.
    """
    packing = packing_of(packed.read(MAGIC_BYTES))
    packed.position = 0
    if packing is None:
        pieces = iter(lambda: packed.read(PIECE), b"")
    elif packing == "gzip":
        pieces = _gunzip(packed)
    elif packing == "zstd":
        pieces = _unzstd(packed, limits)
    else:
        raise UnsupportedFormat(f"packed with {packing}; known are gzip, zstd and plain tar")
    return _bounded(pieces, packed, limits)


def _bounded(pieces: Iterator[bytes], packed: Section, limits: Limits) -> Iterator[bytes]:
    produced = 0
    for piece in pieces:
        produced += len(piece)
        if produced > limits.max_image_bytes:
            raise LimitExceeded(f"unpacks to more than {limits.max_image_bytes} bytes")
        if produced > limits.expansion_allowance + limits.max_expansion_ratio * packed.position:
            raise LimitExceeded(
                f"{packed.position} packed bytes expand to more than {produced} "
                f"(over {limits.max_expansion_ratio} to 1): an archive bomb"
            )
        yield piece


def _gunzip(packed: Readable) -> Iterator[bytes]:
    """Unpack all members of a gzip file; zero padding after the last one is allowed, as gzip(1) does."""
    pending = b""
    while pending := pending or packed.read(PIECE):
        unpacker = zlib.decompressobj(_GZIP_MEMBER)
        while not unpacker.eof:
            pending = pending or packed.read(PIECE)
            ended = not pending
            try:
                piece = unpacker.decompress(pending, PIECE)
            except zlib.error as error:
                raise ContentError(f"damaged gzip data: {error}") from None
            pending = unpacker.unconsumed_tail
            if piece:
                yield piece
            elif ended:  # nothing to read and nothing held back
                raise Truncated("the gzip data ends early")
        pending = _after_padding(unpacker.unused_data, packed)


def _after_padding(rest: bytes, packed: Readable) -> bytes:
    while not (stripped := rest.lstrip(b"\0")):
        rest = packed.read(PIECE)
        if not rest:
            return b""
    return stripped


def _unzstd(packed: Readable, limits: Limits) -> Iterator[bytes]:
    """Unpack all frames; a cut last frame is found by the digest, since the library does not tell."""
    unpacker = zstandard.ZstdDecompressor(max_window_size=limits.max_zstd_window_bytes)
    source = cast(BinaryIO, packed)  # it only ever calls read
    with unpacker.stream_reader(source, read_size=PIECE, read_across_frames=True, closefd=False) as reader:
        while piece := _read_zstd(reader):
            yield piece


def _read_zstd(reader: zstandard.ZstdDecompressionReader) -> bytes:
    try:
        return reader.read(PIECE)
    except zstandard.ZstdError as error:
        raise ContentError(f"damaged zstd data, or a window over the limit: {error}") from None
