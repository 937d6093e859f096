"""Text of changed files, coded against the text it was made from: frames of LZMA2 behind their old text.

Files join a frame until old and new text fill the dictionary. Frames are coded side by side with the rest of the build.
What is in memory is the new text of the frame that grows and of a few that are coded; old text is read again when its
frame is coded, and coded frames go to a scratch file.

Source: docs/formats/patch.md, section 5.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, takewhile
from typing import BinaryIO

from imagedelta import leb128
from imagedelta.delta.content import Extent
from imagedelta.delta.encode import dictionary_lzma
from imagedelta.delta.encode.job_queue import Job, JobQueue
from imagedelta.delta.encode.stream_coding import Coded
from imagedelta.delta.format.coders import LEAST_FRAME_BYTES, LZMA2_DICTIONARY, MIN_DICTIONARY, Params, coder
from imagedelta.delta.format.header import PatchStream
from imagedelta.delta.format.profiles import Profile
from imagedelta.delta.format.roles import Role
from imagedelta.limits import MIB

_ENCODER_FACTOR = 12
_BYTES_UNDER_WAY = 64 * MIB
"""New text of the frames that wait for the coder or are in it."""


@dataclass(frozen=True, slots=True)
class _File:
    path: bytes
    base: int
    old: Extent
    new: bytes

    @property
    def size(self) -> int:
        return self.old.size + len(self.new)


class OldTextStream:
    """Takes files while items are written, and codes them in frames."""

    def __init__(self, profile: Profile, queue: JobQueue, out: BinaryIO) -> None:
        """Args:
        out: Takes the coded frames.
        """
        self._limit = profile.old_text_bytes
        self._queue = queue
        self._out = out
        self._files: list[_File] = []
        self._size = 0
        self._under_way: deque[Future[bytes]] = deque()
        self._bases = bytearray()
        self._expected_base = 0
        self._dictionary_bytes = MIN_DICTIONARY
        self._new_bytes = 0

    def add(self, path: bytes, base: int, old: Extent, new: bytes) -> None:
        """Append a file: ``old`` is the data of source member ``base``."""
        file = _File(path, base, old, new)
        if self._size + file.size > self._limit and sum(len(file.new) for file in self._files) >= LEAST_FRAME_BYTES:
            self._close(_cut(self._files))
        self._files.append(file)
        self._size += file.size

    def finish(self) -> bool:
        """Give the last frame to the coder; return whether there is any."""
        if self._files:
            self._close(len(self._files))
        return self._new_bytes > 0

    @property
    def bases(self) -> bytes:
        """The raw stream that says which members are the old text of each frame."""
        return bytes(self._bases)

    @property
    def memory_bytes(self) -> int:
        """What the decoder takes."""
        return coder(LZMA2_DICTIONARY).memory(self._params)

    def coded(self) -> Coded:
        """Return the stream, once every frame is coded."""
        while self._under_way:
            self._take()
        stream = PatchStream(Role.OLD_TEXT, LZMA2_DICTIONARY, self._params, self._new_bytes, self._out.tell())
        self._out.seek(0)
        return Coded(stream, self._out)

    @property
    def _params(self) -> Params:
        return Params(dictionary_bytes=self._dictionary_bytes)

    def _close(self, count: int) -> None:
        """Code the first ``count`` files as a frame."""
        frame, rest = self._files[:count], self._files[count:]
        old = _old_text(frame, self._limit)
        new = b"".join(file.new for file in frame)
        dictionary = max(MIN_DICTIONARY, min(self._limit, sum(extent.size for extent in old.values()) + len(new)))
        while len(self._under_way) >= max(1, _BYTES_UNDER_WAY // self._limit):
            self._take()
        job = Job(partial(_code, tuple(old.values()), new, dictionary), _ENCODER_FACTOR * dictionary)
        self._under_way.append(self._queue.submit(job))
        self._write_bases(old)
        self._dictionary_bytes = max(self._dictionary_bytes, dictionary)
        self._new_bytes += len(new)
        self._files, self._size = rest, sum(file.size for file in rest)

    def _take(self) -> None:
        self._out.write(self._under_way.popleft().result())

    def _write_bases(self, old: Mapping[int, Extent]) -> None:
        self._bases += leb128.encode(len(old))
        for base in old:
            self._bases += leb128.encode(leb128.zigzag(base - self._expected_base))
            self._expected_base = base + 1


def _old_text(frame: Sequence[_File], limit: int) -> dict[int, Extent]:
    """Return the old text of a frame, as far as there is room for it, each member once."""
    old: dict[int, Extent] = {}
    for file in frame:
        if file.base not in old and file.old.size <= limit:
            old[file.base] = file.old
            limit -= file.old.size
    return old


def _code(old: Sequence[Extent], new: bytes, dictionary_bytes: int) -> bytes:
    return dictionary_lzma.compress(b"".join(extent.whole() for extent in old), new, dictionary_bytes)


def _cut(files: Sequence[_File]) -> int:
    """Return after how many files the frame ends best: behind its middle, where the least of the path is shared.

    Files of one package repeat each other, and what lies in another frame cannot be pointed to.
    """
    total = sum(file.size for file in files)
    best, least, size, new = len(files), None, 0, 0
    for place, (file, following) in enumerate(pairwise(files), 1):
        size += file.size
        new += len(file.new)
        shared = _common_folders(file.path, following.path)
        if 2 * size >= total and new >= LEAST_FRAME_BYTES and (least is None or shared < least):
            best, least = place, shared
    return best


def _common_folders(one: bytes, other: bytes) -> int:
    folders = zip(one.split(b"/"), other.split(b"/"), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], folders))
