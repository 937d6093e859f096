"""The bytes of a stored file index: a short plain header, columns in one zstd frame, structure in frames.

Source: docs/formats/index.md, which numbers the rules that the checks below enforce.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import zstandard

from imagedelta import leb128
from imagedelta.archives.tar_headers import KINDS
from imagedelta.errors import ContentError, LimitExceeded, Truncated, UnsupportedFormat
from imagedelta.limits import Limits
from imagedelta.signatures.sketch import MOST_VALUES
from imagedelta.signatures.structure import FRAME_BYTES, check_frame, unpack_frame

if TYPE_CHECKING:
    from imagedelta.signatures.index import FileEntry, LayerIndex

MAGIC = b"IMDI"
VERSION = 2
HEADER = struct.Struct("<4sB3x32sQQQQQ")
"""magic, version, diff_id, layer size, members, bytes of the columns unpacked and packed, bytes of structure."""
_NUMBER_BYTES = 9
"""Numbers of an index are below 2^63."""
_LEVEL = 6  # higher levels gain nothing on digests and paths, and take 40 MB
_TIMELESS = 0x10
"""Bit of a file's extras byte; below it the number of values in its sketch."""
_SKETCHES = tuple(struct.Struct(f"<{count}I") for count in range(MOST_VALUES + 1))
_STAMP = struct.Struct("<I")
_DIGEST_BYTES = 32
_Facts = tuple[bytes, bytes, int, tuple[int, ...]]
"""digest, timeless, stamp, sketch."""
_NO_FACTS: _Facts = (b"", b"", 0, ())
Row = tuple[bytes, str, int, int, int, bytes, bytes, int, tuple[int, ...]]
"""The fields of a FileEntry in their order."""


@dataclass(frozen=True, slots=True)
class StoredIndex:
    """A file index as it is stored, its sizes checked."""

    diff_id: str
    layer_size: int
    rows: Iterator[Row]
    """One per member; checked while they are read."""
    structure_bytes: int
    frames: tuple[bytes, ...]
    """Of the structure, packed."""


def encode(layer: LayerIndex) -> bytes:
    """See LayerIndex.to_bytes."""
    columns = b"".join(_columns(layer.entries))
    packed = zstandard.ZstdCompressor(level=_LEVEL).compress(columns)
    frames = layer.structure.frames
    diff_id = bytes.fromhex(layer.diff_id[7:])
    sizes = layer.size, len(layer.entries), len(columns), len(packed), layer.structure.total
    directory = struct.pack(f"<{len(frames)}I", *map(len, frames))
    return b"".join((HEADER.pack(MAGIC, VERSION, diff_id, *sizes), packed, directory, *frames))


def decode(data: bytes, limits: Limits) -> StoredIndex:
    """See LayerIndex.from_bytes, which checks the structure's size against the members."""
    if len(data) < HEADER.size:
        raise Truncated(f"file index of {len(data)} bytes")
    magic, version, diff_id, size, count, unpacked, packed, structure = HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise UnsupportedFormat(f"no file index of version {VERSION}: {magic!r}, version {version}")
    if unpacked > limits.max_index_bytes or count > limits.max_layer_files or size > limits.max_image_bytes:
        raise LimitExceeded(f"file index of {unpacked} bytes for {count} members of a layer of {size} bytes")
    if structure > limits.max_structure_bytes:
        raise LimitExceeded(f"file index with {structure} bytes of structure")
    frames = _frames(data, HEADER.size + packed, structure)
    columns = unpack_frame(data[HEADER.size : HEADER.size + packed], unpacked)
    return StoredIndex("sha256:" + diff_id.hex(), size, _rows(columns, count, size, limits), structure, frames)


def _frames(data: bytes, at: int, structure: int) -> tuple[bytes, ...]:
    """Cut the structure's frames out of the index; they are the last thing in it, and are not unpacked here."""
    count = -(-structure // FRAME_BYTES)
    first = at + 4 * count
    if first > len(data):
        raise Truncated(f"file index of {len(data)} bytes ends inside its columns or directory")
    sizes = struct.unpack_from(f"<{count}I", data, at)
    end = first + sum(sizes)
    if end > len(data):
        raise Truncated(f"file index of {len(data)} bytes ends inside its structure")
    if end < len(data):
        raise ContentError(f"file index followed by {len(data) - end} bytes")
    frames = tuple(_slices(data, first, sizes))
    for number, frame in enumerate(frames):
        check_frame(frame, min(FRAME_BYTES, structure - number * FRAME_BYTES))
    return frames


def _columns(entries: Sequence[FileEntry]) -> Iterable[bytes]:
    ends = [0, *(entry.offset + entry.size for entry in entries)]
    files = [entry for entry in entries if entry.size]
    yield bytes(KINDS.index(entry.kind) for entry in entries)
    yield leb128.encode_all(len(entry.path) for entry in entries)
    yield leb128.encode_all(entry.header_offset - end for entry, end in zip(entries, ends, strict=False))
    yield leb128.encode_all(entry.offset - entry.header_offset for entry in entries)
    yield leb128.encode_all(entry.size for entry in entries)
    yield b"".join(entry.path for entry in entries)
    yield b"".join(entry.digest for entry in files)
    yield bytes(len(entry.sketch) | (_TIMELESS if entry.timeless else 0) for entry in files)
    yield b"".join(_SKETCHES[len(entry.sketch)].pack(*entry.sketch) for entry in files)
    yield b"".join(entry.timeless for entry in files)
    yield b"".join(_STAMP.pack(entry.stamp) for entry in files if entry.timeless)


def _rows(columns: bytes, count: int, layer_size: int, limits: Limits) -> Iterator[Row]:
    if count > len(columns):
        raise Truncated(f"file index: {len(columns)} bytes of columns for {count} members")
    kinds = columns[:count]
    at = count
    numbers = []
    for _ in range(4):
        column, at = leb128.decode_all(columns, at, count, _NUMBER_BYTES)
        numbers.append(column)
    path_lengths, gaps, header_lengths, sizes = numbers
    if max(path_lengths, default=0) > limits.max_path_bytes:
        raise LimitExceeded(f"file index: a path of {max(path_lengths)} bytes")
    facts = _facts(columns, at + sum(path_lengths), sum(map(bool, sizes)))
    end = 0
    for kind, path, gap, header_length, size in zip(
        kinds, _slices(columns, at, path_lengths), gaps, header_lengths, sizes, strict=True
    ):
        start, end = end + gap, end + gap + header_length + size
        if kind >= len(KINDS) or end > layer_size:
            raise ContentError("file index: an unknown kind, or a member past the end of the layer")
        yield path, KINDS[kind], start, start + header_length, size, *(next(facts) if size else _NO_FACTS)


def _facts(columns: bytes, at: int, files: int) -> Iterator[_Facts]:
    """Check and read what is known of each file's data: the columns from the digests to the end."""
    extras_at = at + _DIGEST_BYTES * files
    sketches_at = extras_at + files
    if sketches_at > len(columns):
        raise Truncated(f"file index: {len(columns)} bytes of columns for {files} files")
    extras = columns[extras_at:sketches_at]
    if any(extra & ~_TIMELESS > MOST_VALUES for extra in extras):
        raise ContentError("file index: a file with extras that this version does not know")
    timeless_at = sketches_at + sum(_SKETCHES[extra & ~_TIMELESS].size for extra in extras)
    with_time = sum(1 for extra in extras if extra & _TIMELESS)
    stamps_at = timeless_at + _DIGEST_BYTES * with_time
    if stamps_at + _STAMP.size * with_time != len(columns):
        raise ContentError("file index: the columns do not fit their header")
    return _each_facts(columns, extras, at, sketches_at, timeless_at, stamps_at)


def _each_facts(
    columns: bytes, extras: bytes, digest_at: int, sketch_at: int, timeless_at: int, stamp_at: int
) -> Iterator[_Facts]:
    for extra in extras:
        digest = columns[digest_at : digest_at + _DIGEST_BYTES]
        digest_at += _DIGEST_BYTES
        numbers = _SKETCHES[extra & ~_TIMELESS]
        sketch = numbers.unpack_from(columns, sketch_at)
        sketch_at += numbers.size
        if any(value >= following for value, following in pairwise(sketch)):
            raise ContentError("file index: a sketch that does not ascend")
        if extra & _TIMELESS:
            timeless = columns[timeless_at : timeless_at + _DIGEST_BYTES]
            (stamp,) = _STAMP.unpack_from(columns, stamp_at)
            timeless_at += _DIGEST_BYTES
            stamp_at += _STAMP.size
            yield digest, timeless, stamp, sketch
        else:
            yield digest, b"", 0, sketch


def _slices(data: bytes, at: int, lengths: Iterable[int]) -> Iterable[bytes]:
    stops = accumulate(lengths, initial=at)
    start = next(stops)
    for stop in stops:
        yield data[start:stop]
        start = stop
