"""Files over 8 GiB, which octal size fields cannot state: shown on layers whose long zeros are nowhere held.

Sizes in base 256 are shown here. Sizes in pax records behave the same whatever they are: test_tar_kinds.py shows them.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from imagedelta.archives import image_from_config
from imagedelta.delta import ImageContent, LayerContent, apply_patch
from imagedelta.delta.encode import build_patch, verify_patch
from imagedelta.delta.encode.remembering import Memory
from imagedelta.delta.format.items import ItemReader, Way
from imagedelta.limits import GIB, MIB
from imagedelta.signatures.index import FileEntry, LayerIndex
from tests.unit.delta.raw_tars import END, a_file, a_header, base_256

HUGE = 9 * GIB
PIECE = 64 * MIB


@dataclass(frozen=True)
class HoledLayer:
    """A tar of a head, ``HUGE`` zeros and a tail, of which only head and tail are held."""

    head: bytes
    tail: bytes

    @property
    def size(self) -> int:
        return len(self.head) + HUGE + len(self.tail)

    def read_at(self, offset: int, length: int) -> bytes:
        assert 0 <= offset <= offset + length <= self.size
        assert length <= PIECE, "nobody holds a huge file"
        end, tail_at = offset + length, len(self.head) + HUGE
        zeros = max(0, min(end, tail_at) - max(offset, len(self.head)))
        return self.head[offset:end] + bytes(zeros) + self.tail[max(0, offset - tail_at) : max(0, end - tail_at)]

    def pieces(self) -> Iterator[bytes]:
        return (self.read_at(at, min(PIECE, self.size - at)) for at in range(0, self.size, PIECE))


def a_layer(build: int) -> HoledLayer:
    head = a_header(b"data/huge", size_field=base_256(HUGE, 12), mtime=build)
    return HoledLayer(head, a_file(b"version", b"build %d" % build, mtime=build) + END)


def made_up(build: int) -> str:
    return f"sha256:{build:064x}"


def an_image(layer: HoledLayer, diff_id: str) -> ImageContent:
    """Return the image with the index that registering its layer gives, but for the digests of so many zeros."""
    huge = FileEntry(b"data/huge", "file", 0, 512, HUGE, bytes(32))
    version = layer.tail[512:].split(b"\0")[0]
    at = 512 + HUGE
    small = FileEntry(b"version", "file", at, at + 512, len(version), hashlib.sha256(version).digest())
    config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    image = image_from_config(json.dumps(config).encode())
    content = LayerContent(LayerIndex(diff_id, layer.size, (huge, small)), layer)
    return ImageContent(image.image_id, image.config, (content,))


class HashingSink:
    """Holds nothing of a layer but how much came, and whether it was committed."""

    def __init__(self) -> None:
        self.written = 0
        self.committed: list[str] = []

    def has(self, diff_id: str) -> bool:
        return False

    def begin(self, diff_id: str, size: int) -> HashingSink:
        return self

    def write(self, data: bytes) -> None:
        self.written += len(data)

    def commit(self, diff_id: str) -> None:
        self.committed.append(diff_id)

    def abort(self, diff_id: str) -> None:
        raise AssertionError(diff_id)


def test_an_unchanged_file_of_9_gib_costs_one_item_and_none_of_its_bytes(tmp_path, monkeypatch):
    reads = Memory(limit=0)
    target, source = (reads.image(an_image(a_layer(build), made_up(build))) for build in (2, 1))
    patch, seen, read = io.BytesIO(), [], ItemReader.read

    build_patch(target, [source], patch, scratch=tmp_path)
    patch.seek(0)
    monkeypatch.setattr(ItemReader, "read", lambda self: seen.append(read(self)) or seen[-1])
    verify_patch(patch, target, [source])

    assert (seen[0].item.way, seen[0].item.length) == (Way.SAME, HUGE)
    assert len(patch.getvalue()) < 400
    assert reads.bytes_read < 20_000


@pytest.mark.long
def test_a_file_of_9_gib_is_made_byte_for_byte(tmp_path):
    layer, digest = a_layer(2), hashlib.sha256()
    for piece in layer.pieces():
        digest.update(piece)
    target, source = an_image(layer, "sha256:" + digest.hexdigest()), an_image(a_layer(1), made_up(1))
    patch, sink = io.BytesIO(), HashingSink()
    build_patch(target, [source], patch, scratch=tmp_path)
    patch.seek(0)

    apply_patch(
        patch, {made_up(1): source.layers[0].reader}.__getitem__, {source.image_id: source.config}.__getitem__, sink
    )

    assert (sink.written, sink.committed) == (layer.size, list(target.diff_ids))
