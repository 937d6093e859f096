"""A second reader of file indexes, written from docs/formats/index.md alone; it imports nothing of imagedelta.

Limits (rule 3) are not kept. zstd is a format of others: it takes the library.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import zstandard

KINDS = ("file", "hardlink", "symlink", "character", "block", "directory", "fifo", "other")
LONG_RUN, FRAME = 65_536, 1_048_576


@dataclass(frozen=True)
class IndexMember:
    path: bytes
    kind: str
    header: int
    offset: int
    size: int
    digest: bytes = b""
    timeless: bytes = b""
    stamp: int = 0
    sketch: tuple[int, ...] = ()


class Columns:
    """The unpacked columns, read from front to back."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        assert size <= len(self.data) - self.at
        self.at += size
        return self.data[self.at - size : self.at]

    def varint(self) -> int:
        value = 0
        for place in range(9):
            (byte,) = self.take(1)
            value |= (byte & 127) << 7 * place
            if byte < 128:
                return value
        raise AssertionError("a varint of more than 9 bytes")


class Index:
    """A file index and, unpacked when it is asked for, the structure of its layer."""

    def __init__(self, data: bytes) -> None:
        magic, version, diff_id, self.layer_size, count, unpacked, packed, structure = struct.unpack(
            "<4sB3x32sQQQQQ", data[:80]
        )
        assert (magic, version) == (b"IMDI", 2)
        self.diff_id = "sha256:" + diff_id.hex()
        sizes = [FRAME] * (structure // FRAME) + [structure % FRAME] * (structure % FRAME > 0)
        at = 80 + packed + 4 * len(sizes)
        assert at <= len(data)
        lengths = struct.unpack(f"<{len(sizes)}I", data[80 + packed : at])
        self.frames = []
        for size, length in zip(sizes, lengths, strict=True):
            self.frames.append((data[at : at + length], size))
            assert at + length <= len(data)
            assert zstandard.frame_content_size(self.frames[-1][0]) == size
            at += length
        assert at == len(data)
        self.members = list(self._members(Columns(unpack(data[80 : 80 + packed], unpacked)), count))
        self.kept = list(self._runs())
        assert structure in (0, sum(end - start for start, end in self.kept))

    def structure(self) -> dict[int, int]:
        """Return every stored byte of structure by its offset in the layer."""
        joined = b"".join(unpack(frame, size) for frame, size in self.frames)
        offsets = (offset for start, end in self.kept for offset in range(start, end))
        return dict(zip(offsets, joined, strict=True)) if joined else {}

    def _members(self, columns: Columns, count: int) -> Iterator[IndexMember]:
        kinds = [KINDS[kind] for kind in columns.take(count)]
        path_lengths, gaps, headers, sizes = ([columns.varint() for _ in kinds] for _ in range(4))
        paths = [columns.take(length) for length in path_lengths]
        files = [place for place, size in enumerate(sizes) if size]
        digests = [columns.take(32) for _ in files]
        extras = columns.take(len(files))
        assert all(extra & 15 <= 8 and extra < 32 for extra in extras)
        sketches = [struct.unpack(f"<{extra & 15}I", columns.take(4 * (extra & 15))) for extra in extras]
        assert all(list(sketch) == sorted(set(sketch)) for sketch in sketches)
        timeless = [columns.take(32) if extra & 16 else b"" for extra in extras]
        stamps = [int.from_bytes(columns.take(4 if extra & 16 else 0), "little") for extra in extras]
        assert columns.at == len(columns.data)
        facts = dict(zip(files, zip(digests, timeless, stamps, sketches, strict=True), strict=True))
        end = 0
        for place, kind in enumerate(kinds):
            start = end + gaps[place]
            end = start + headers[place] + sizes[place]
            assert end <= self.layer_size
            offset = start + headers[place]
            yield IndexMember(paths[place], kind, start, offset, sizes[place], *facts.get(place, ()))

    def _runs(self) -> Iterator[tuple[int, int]]:
        end = 0
        for member in self.members:
            if member.offset - end <= LONG_RUN:
                yield end, member.offset
            end = member.offset + member.size
        if self.layer_size - end <= LONG_RUN:
            yield end, self.layer_size


def unpack(frame: bytes, size: int) -> bytes:
    assert zstandard.frame_content_size(frame) == size
    return zstandard.ZstdDecompressor().decompress(frame, max_output_size=size, allow_extra_data=False)
