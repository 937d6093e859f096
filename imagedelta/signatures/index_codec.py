"""The bytes of a stored file index: columns, packed as one zstd frame behind a short plain header.

Source: docs/formats/index.md, which numbers the rules that the checks below enforce.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

import zstandard

from imagedelta.archives.tar_headers import KINDS
from imagedelta.errors import ContentError, LimitExceeded, Truncated, UnsupportedFormat
from imagedelta.limits import Limits
from imagedelta.signatures.varints import read_varints, write_varints

if TYPE_CHECKING:
    from imagedelta.signatures.index import LayerIndex

MAGIC = b"IMDI"
VERSION = 1
HEADER = struct.Struct("<4sB3x32sQQQ")
"""magic, version, diff_id, layer size, members, bytes of the unpacked columns."""
_LEVEL = 6  # higher levels gain nothing on digests and paths, and take 40 MB
Row = tuple[bytes, str, int, int, int, bytes]
"""The fields of a FileEntry in their order."""


def encode(layer: LayerIndex) -> bytes:
    """See LayerIndex.to_bytes."""
    columns = b"".join(_columns(layer))
    header = HEADER.pack(MAGIC, VERSION, bytes.fromhex(layer.diff_id[7:]), layer.size, len(layer.entries), len(columns))
    packer = zstandard.ZstdCompressor(level=_LEVEL)
    return header + packer.compress(columns)


def decode(data: bytes, limits: Limits) -> tuple[str, int, Iterator[Row]]:
    """Return diff_id, layer size and one row per member; see LayerIndex.from_bytes.

    The rows are checked while they are read.
    """
    if len(data) < HEADER.size:
        raise Truncated(f"file index of {len(data)} bytes")
    magic, version, diff_id, size, count, unpacked = HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise UnsupportedFormat(f"no file index of version {VERSION}: {magic!r}, version {version}")
    if unpacked > limits.max_index_bytes or count > limits.max_layer_files or size > limits.max_image_bytes:
        raise LimitExceeded(f"file index of {unpacked} bytes for {count} members of a layer of {size} bytes")
    rows = _rows(_unpack(data[HEADER.size :], unpacked), count, size, limits)
    return "sha256:" + diff_id.hex(), size, rows


def _columns(layer: LayerIndex) -> Iterable[bytes]:
    entries = layer.entries
    ends = [0, *(entry.offset + entry.size for entry in entries)]
    yield bytes(KINDS.index(entry.kind) for entry in entries)
    yield write_varints(len(entry.path) for entry in entries)
    yield write_varints(entry.header_offset - end for entry, end in zip(entries, ends, strict=False))
    yield write_varints(entry.offset - entry.header_offset for entry in entries)
    yield write_varints(entry.size for entry in entries)
    yield b"".join(entry.path for entry in entries)
    yield b"".join(entry.digest for entry in entries)


def _unpack(packed: bytes, size: int) -> bytes:
    """Unpack the one frame of exactly ``size`` bytes, which the caller has held against the limits."""
    try:
        if zstandard.frame_content_size(packed) != size:
            raise ContentError(f"file index: its frame does not hold the {size} bytes announced")
        return zstandard.ZstdDecompressor().decompress(packed, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ContentError(f"file index: {error}") from None


def _rows(columns: bytes, count: int, layer_size: int, limits: Limits) -> Iterator[Row]:
    if count > len(columns):
        raise Truncated(f"file index: {len(columns)} bytes of columns for {count} members")
    kinds = columns[:count]
    at = count
    numbers = []
    for _ in range(4):
        column, at = read_varints(columns, at, count)
        numbers.append(column)
    path_lengths, gaps, header_lengths, sizes = numbers
    if max(path_lengths, default=0) > limits.max_path_bytes:
        raise LimitExceeded(f"file index: a path of {max(path_lengths)} bytes")
    digests_at = at + sum(path_lengths)
    if digests_at + 32 * sum(map(bool, sizes)) != len(columns):
        raise ContentError("file index: the columns do not fit their header")
    end = 0
    for kind, path, gap, header_length, size in zip(
        kinds, _slices(columns, at, path_lengths), gaps, header_lengths, sizes, strict=True
    ):
        start, end = end + gap, end + gap + header_length + size
        if kind >= len(KINDS) or end > layer_size:
            raise ContentError("file index: an unknown kind, or a member past the end of the layer")
        digest = columns[digests_at : digests_at + 32] if size else b""
        digests_at += len(digest)
        yield path, KINDS[kind], start, start + header_length, size, digest


def _slices(data: bytes, at: int, lengths: list[int]) -> Iterable[bytes]:
    stops = accumulate(lengths, initial=at)
    start = next(stops)
    for stop in stops:
        yield data[start:stop]
        start = stop
