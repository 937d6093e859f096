"""The search for deflate streams in a file: one fixed rule, the same for bases and targets, in cloud and device.

gzip members are taken from the start of the file on; then local zip headers are looked for at every byte, so that
neither a zip's directory nor its declared sizes are ever believed, and zips stored in zips are found as well. Only a
stream that inflates to its end counts. Memory is a few pieces, whatever is in the file; the work on streams that
break off is bounded too, because thousands of headers can point into one long stream that fails at its end.

Source: docs/formats/patch.md, the section on folds; RFC 1951, RFC 1952; PKWARE APPNOTE 6.3, sections 4.3.7 and 4.4.4.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from imagedelta.delta.deflate.folds import MAX_PLAIN_BYTES, PIECE_BYTES, RAW_DEFLATE, ReadAt
from imagedelta.errors import Truncated

_LOCAL_HEADER = struct.Struct("<4x2x2H2x2x4x4x4x2H")
"""Flags, method, bytes of name, bytes of extra field; not the mark, version, time, date, CRC-32 and sizes."""
_LOCAL_MARK = b"PK\x03\x04"
_DEFLATED = 8
_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13

_GZIP_MARK = b"\x1f\x8b\x08"
_GZIP_FIXED, _GZIP_TRAILER = 10, 8
_GZIP_XFL, _GZIP_LEVELS = 8, {2: 9, 4: 1}
_ZIP_LEVELS = (6, 9, 2, 1)
"""Normal, maximum, fast, super fast: bits 1 and 2 of the flags."""
_FHCRC, _FEXTRA, _FNAME, _FCOMMENT, _RESERVED = 2, 4, 8, 16, 0xE0
_MAX_GZIP_HEADER = 64 * 1024

_FIRST_FEED = 4 * 1024
"""Most members are small: the bytes fed after a stream's end are copied for nothing. What is fed at once, and how much
is asked for, decides what a stream that breaks off costs, so both are part of the format."""
_KEPT_BYTES = 1024 * 1024
_BROKEN_BYTES, _BROKEN_FACTOR = 16 * 1024 * 1024, 4


class SearchAbandoned(Exception):
    """The file asks for more work or room than it is worth: it is used as it is. Never leaves this package."""


@dataclass(frozen=True, slots=True)
class DeflateStream:
    """A stream that inflates to its end, at least to one byte."""

    start: int
    packed: int
    plain: int
    name: int
    """CRC-32 of the member's name; 0 for gzip."""
    level: int
    """What the header says of it, in zlib's levels: often a default, never a proof, and no part of the format."""
    kept: bytes | None
    """The plain bytes, where they are few; else they are inflated once more when needed."""


class FileBytes:
    """A file read front to back, mostly: one piece is kept, so that small steps cost no reads."""

    def __init__(self, read_at: ReadAt, size: int) -> None:
        self.size = size
        self._read_at = read_at
        self._start = 0
        self._piece = b""

    def some(self, offset: int, most: int) -> bytes:
        """Return 1 to ``most`` bytes from ``offset`` on; none at the end of the file."""
        at = self._load(offset, 1)
        return self._piece[at : at + most]

    def exactly(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes, at most a piece; fewer where the file ends before."""
        at = self._load(offset, length)
        return self._piece[at : at + length]

    def find(self, mark: bytes, offset: int) -> int:
        """Return where ``mark`` comes next, or -1."""
        while offset + len(mark) <= self.size:
            at = self._load(offset, len(mark))
            found = self._piece.find(mark, at)
            if found >= 0:
                return self._start + found
            offset = self._start + len(self._piece) - len(mark) + 1
        return -1

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from ``start`` up to ``end``."""
        while start < end:
            data = self.some(start, end - start)
            yield data
            start += len(data)

    def has(self, offset: int, data: bytes) -> bool:
        """Whether exactly ``data`` is at ``offset``."""
        at = 0
        while at < len(data):
            there = self.some(offset + at, len(data) - at)
            if not there or data[at : at + len(there)] != there:
                return False
            at += len(there)
        return True

    def _load(self, offset: int, length: int) -> int:
        """Load a piece unless ``length`` bytes from ``offset`` are loaded; return where they start in the piece."""
        length = max(0, min(length, self.size - offset))
        if not self._start <= offset <= offset + length <= self._start + len(self._piece):
            wanted = max(0, min(PIECE_BYTES, self.size - offset))
            self._start, self._piece = offset, self._read_at(offset, wanted) if wanted else b""
            if len(self._piece) != wanted:
                raise Truncated(f"a file of {self.size} bytes ended at {offset + len(self._piece)}")
        return offset - self._start


class Inflating:
    """The plain bytes of the deflate stream at ``start``, in pieces; then how it ended."""

    def __init__(self, file: FileBytes, start: int) -> None:
        self.fed = 0
        """Packed bytes given to zlib so far."""
        self.packed: int | None = None
        """Packed bytes of the stream, once it has inflated to its end; stays ``None`` if it breaks off."""
        self._file = file
        self._start = start

    def __iter__(self) -> Iterator[bytes]:
        inflater = zlib.decompressobj(RAW_DEFLATE)
        feed = _FIRST_FEED
        while not inflater.eof:
            packed = inflater.unconsumed_tail
            if not packed:
                packed = self._file.exactly(self._start + self.fed, feed)
                self.fed += len(packed)
                feed = min(2 * feed, PIECE_BYTES)
            try:
                plain = inflater.decompress(packed, PIECE_BYTES)
            except zlib.error:
                return
            if plain:
                yield plain
            elif not packed:
                return  # the file ends inside the stream
        self.packed = self.fed - len(inflater.unused_data)


class StreamSearch:
    """Every deflate stream of a file, in order."""

    def __init__(self, file: FileBytes) -> None:
        self._file = file
        self._patience = _BROKEN_BYTES + _BROKEN_FACTOR * file.size

    def __iter__(self) -> Iterator[DeflateStream]:
        """Yield the streams.

        Raises:
            SearchAbandoned: A stream goes over ``MAX_PLAIN_BYTES``, or too much work went into streams that break off.
        """
        position = 0
        for stream in self._gzip_members():
            yield stream
            position = stream.start + stream.packed
        while (header := self._file.find(_LOCAL_MARK, position)) >= 0:
            found = self._zip_member(header)
            if found is None:
                position = header + len(_LOCAL_MARK)
            else:
                yield found
                position = found.start + found.packed

    def _gzip_members(self) -> Iterator[DeflateStream]:
        header = 0
        while (start := _gzip_stream_start(self._file, header)) is not None:
            level = _GZIP_LEVELS.get(self._file.exactly(header + _GZIP_XFL, 1)[0], 6)
            stream = self._inflate(start, 0, level)
            if stream is None:
                return
            yield stream
            header = start + stream.packed + _GZIP_TRAILER

    def _zip_member(self, header: int) -> DeflateStream | None:
        fixed = self._file.exactly(header, _LOCAL_HEADER.size)
        if len(fixed) < _LOCAL_HEADER.size:
            return None
        flags, method, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(fixed)
        if method != _DEFLATED or flags & _ENCRYPTED:
            return None
        name = header + _LOCAL_HEADER.size
        start = name + name_bytes + extra_bytes
        if start >= self._file.size:
            return None
        return self._inflate(start, zlib.crc32(self._file.exactly(name, name_bytes)), _ZIP_LEVELS[flags >> 1 & 3])

    def _inflate(self, start: int, name: int, level: int) -> DeflateStream | None:
        inflating = Inflating(self._file, start)
        kept: list[bytes] = []
        plain = 0
        for piece in inflating:
            plain += len(piece)
            if plain > MAX_PLAIN_BYTES:
                raise SearchAbandoned
            if plain <= _KEPT_BYTES:
                kept.append(piece)
            else:
                kept.clear()
        if inflating.packed is None or not plain:
            self._charge(inflating.fed + plain)
            return None
        few = b"".join(kept) if plain <= _KEPT_BYTES else None
        return DeflateStream(start, inflating.packed, plain, name, level, few)

    def _charge(self, work: int) -> None:
        self._patience -= work
        if self._patience < 0:
            raise SearchAbandoned


def plain_pieces(file: FileBytes, stream: DeflateStream) -> Iterator[bytes]:
    """Yield the plain bytes of a stream."""
    if stream.kept is not None:
        yield stream.kept
    else:
        yield from Inflating(file, stream.start)


def _gzip_stream_start(file: FileBytes, header: int) -> int | None:
    """Return where the deflate stream starts of the gzip member at ``header``; ``None`` if there is none."""
    data = file.exactly(header, _MAX_GZIP_HEADER)
    if len(data) <= _GZIP_FIXED or not data.startswith(_GZIP_MARK):
        return None
    flags, at = data[3], _GZIP_FIXED
    if flags & _RESERVED:
        return None
    if flags & _FEXTRA:
        at += 2 + int.from_bytes(data[at : at + 2], "little")
    for text in (_FNAME, _FCOMMENT):
        if flags & text:
            at = data.find(b"\0", at) + 1
            if not at:
                return None
    if flags & _FHCRC:
        at += 2
    return header + at if at < len(data) else None
