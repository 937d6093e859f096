"""Text of changed files, coded against the text it was made from: frames of LZMA2 behind their old text.

Files join a frame until old and new text fill the dictionary. Frames are coded side by side with the rest.

Source: docs/formats/patch.md, section 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import pairwise, takewhile

from imagedelta.delta.encode import primed_lzma
from imagedelta.delta.encode.crew import Crew
from imagedelta.delta.encode.stream_coding import Coded
from imagedelta.delta.format import numbers
from imagedelta.delta.format.coders import LEAST_FRAME_BYTES, LZMA2_PRIMED, MIN_DICTIONARY, Params, coder
from imagedelta.delta.format.header import PatchStream
from imagedelta.delta.format.profiles import Profile
from imagedelta.delta.format.roles import Role

_ENCODER_FACTOR = 12


@dataclass(frozen=True, slots=True)
class _File:
    path: bytes
    member: int
    old: bytes
    new: bytes

    @property
    def size(self) -> int:
        return len(self.old) + len(self.new)


@dataclass(frozen=True, slots=True)
class Frames:
    """All frames of the stream."""

    params: Params
    primes: bytes
    """The raw PRIMES stream."""
    new_bytes: int
    parts: Sequence[Future[bytes]]

    @property
    def memory_bytes(self) -> int:
        """What the decoder takes."""
        return coder(LZMA2_PRIMED).memory(self.params)

    def coded(self) -> Coded:
        """Return the coded stream, as soon as every frame is done."""
        coded = b"".join(part.result() for part in self.parts)
        return Coded(PatchStream(Role.OLD_TEXT, LZMA2_PRIMED, self.params, self.new_bytes, len(coded)), BytesIO(coded))


class OldText:
    """Collects the stream while items are written."""

    def __init__(self, profile: Profile, crew: Crew) -> None:
        self._limit = profile.old_text_bytes
        self._crew = crew
        self._files: list[_File] = []
        self._size = 0
        self._done: list[tuple[list[int], Future[bytes]]] = []
        self._dictionary_bytes = MIN_DICTIONARY
        self._new_bytes = 0

    def add(self, path: bytes, member: int, old: bytes, new: bytes) -> None:
        """Append a file: ``old`` is the data of source member ``member``."""
        file = _File(path, member, old, new)
        if self._size + file.size > self._limit and sum(len(file.new) for file in self._files) >= LEAST_FRAME_BYTES:
            self._close(_cut(self._files))
        self._files.append(file)
        self._size += file.size

    def finish(self) -> Frames | None:
        """Return the frames, some of which are still being coded; ``None`` when no file was added."""
        if self._files:
            self._close(len(self._files))
        if not self._done:
            return None
        params = Params(dictionary_bytes=self._dictionary_bytes)
        return Frames(params, self._primes(), self._new_bytes, [future for _, future in self._done])

    def _close(self, count: int) -> None:
        """Code the first ``count`` files as a frame."""
        frame, rest = self._files[:count], self._files[count:]
        new = b"".join(file.new for file in frame)
        old: dict[int, bytes] = {}
        room = self._limit
        for file in frame:
            if file.member not in old and len(file.old) <= room:
                old[file.member] = file.old
                room -= len(file.old)
        dictionary = max(MIN_DICTIONARY, min(self._limit, sum(map(len, old.values())) + len(new)))
        self._dictionary_bytes = max(self._dictionary_bytes, dictionary)
        job = partial(primed_lzma.compress, b"".join(old.values()), new, dictionary)
        self._done.append((list(old), self._crew.submit(job, _ENCODER_FACTOR * dictionary)))
        self._new_bytes += len(new)
        self._files, self._size = rest, sum(file.size for file in rest)

    def _primes(self) -> bytes:
        out = bytearray()
        expected = 0
        for members, _ in self._done:
            out += numbers.encode(len(members))
            for member in members:
                out += numbers.encode(numbers.zigzag(member - expected))
                expected = member + 1
        return bytes(out)


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
    parts = zip(one.split(b"/"), other.split(b"/"), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], parts))
