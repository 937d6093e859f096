"""What a build keeps open and in memory does not grow with the image: as much as is stated, however much changes."""

from __future__ import annotations

import io
import random
from dataclasses import replace
from pathlib import Path

import pytest

from imagedelta.delta.content import BytesReader, Extent, LayerContent
from imagedelta.delta.encode import build, chunks, old_text, spools
from imagedelta.delta.encode.build import build_patch
from imagedelta.delta.encode.job_queue import JobQueue
from imagedelta.delta.encode.old_text import OldTextStream
from imagedelta.delta.format.profiles import V1_16M
from imagedelta.errors import ContentError
from imagedelta.limits import KIB, MIB
from tests.images import an_image
from tests.unit.delta.patches import content_of

SOME = an_image({f"f{number}": random.Random(number).randbytes(3000) for number in range(400)})
OLD = b"old text\n" * 7000
STREAMS = 2 * 31
"""A raw and a coded file for each stream of a patch."""


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def every_file_on_disk(monkeypatch):
    """Chunks of one file each, and nothing small enough to stay in memory."""
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1)
    monkeypatch.setattr(build, "_CHUNK_IN_MEMORY", 1)
    monkeypatch.setattr(spools, "_IN_MEMORY", 1)


def test_a_build_of_many_chunks_has_few_files_open(tmp_path, every_file_on_disk):
    before, seen = open_files(), []

    build_patch(content_of(SOME), [], io.BytesIO(), scratch=tmp_path, progress=lambda *_: seen.append(open_files()))

    assert len(seen) > 400
    assert max(seen) - before <= build.CHUNKS_UNDER_WAY + STREAMS
    assert open_files() == before


class Unreadable:
    """A layer that gives out so many bytes and no more."""

    def __init__(self, data: bytes, most: int) -> None:
        self._data = data
        self._left = most
        self.size = len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        self._left -= length
        if self._left < 0:
            raise ContentError("the storage is gone")
        return self._data[offset : offset + length]


def test_a_build_that_fails_midway_leaves_no_file_open(tmp_path, every_file_on_disk):
    whole, before = content_of(SOME), open_files()
    layer = LayerContent(whole.layers[0].index, Unreadable(SOME.layers[0], 600_000))
    broken = replace(whole, layers=(layer,))

    with pytest.raises(ContentError, match="the storage is gone"):
        build_patch(broken, [], io.BytesIO(), scratch=tmp_path)

    assert open_files() == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("files", [40, 160])
def test_no_more_text_waits_for_the_coder_than_stated(monkeypatch, files):
    """The coder is not asked to do anything: what the queue has not begun is what waits."""
    monkeypatch.setattr(old_text, "_code", lambda old, new, dictionary: b"x")
    monkeypatch.setattr(old_text, "_BYTES_UNDER_WAY", 8 * MIB)
    out = io.BytesIO()

    with JobQueue(1, 100) as queue:
        stream = OldTextStream(V1_16M, queue, out)
        waiting = []
        for number in range(files):
            old = Extent(BytesReader(OLD), 0, len(OLD))
            stream.add(b"lib/%d.js" % number, number, old, bytes(512 * KIB))
            waiting.append(len(stream._under_way))
        assert stream.finish()
        coded = stream.coded()

    assert max(waiting) == 2
    assert coded.stream.raw_bytes == files * 512 * KIB
