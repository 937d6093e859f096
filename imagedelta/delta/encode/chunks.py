"""Chunks: the files of a build that must be carried, cut into parts of its work that are done apart.

Which files share a chunk changes nothing in the patch. A chunk is made in two steps: first methods are chosen, which
reads little and tells the memory that the second step takes, then the pieces are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from imagedelta.delta.content import Extent, LayerContent
from imagedelta.delta.encode.bases import same_name
from imagedelta.delta.encode.methods import ChangedFile, Encoding, Method, choose
from imagedelta.delta.encode.pieces import end_file, write_file
from imagedelta.delta.encode.plan import FilePlan, PatchPlan
from imagedelta.limits import MIB

CHUNK_BYTES = 2 * MIB
"""Old and new bytes of a chunk; a larger file, or window of one, is a chunk of its own."""


@dataclass(frozen=True, slots=True)
class Work:
    """A window of a file; most files have one."""

    file: ChangedFile
    window: int

    @property
    def new_bytes(self) -> int:
        """Bytes of the target, about."""
        return self.file.new.size // self.file.windows

    @property
    def bytes(self) -> int:
        """Bytes of target and source, about."""
        return (self.file.new.size + (self.file.old.size if self.file.old else 0)) // self.file.windows

    @property
    def ends_file(self) -> bool:
        """Whether this is the last window of its file."""
        return self.window + 1 == self.file.windows


@dataclass(frozen=True, slots=True)
class Chunk:
    """Work that is done in one go."""

    works: Sequence[Work]

    @property
    def new_bytes(self) -> int:
        """Bytes of the target, about."""
        return sum(work.new_bytes for work in self.works)

    def choose(self) -> ChosenChunk:
        """Choose the method of each file."""
        return ChosenChunk([(choose(work.file, work.window), work.ends_file) for work in self.works])


@dataclass(frozen=True, slots=True)
class ChosenChunk:
    """A chunk whose methods are known."""

    methods: Sequence[tuple[Method | None, bool]]
    """And whether the file ends there."""

    def memory(self) -> int:
        """Return about how many bytes making it takes."""
        return max((method.memory() for method, _ in self.methods if method), default=0)

    def make(self, out: BinaryIO) -> None:
        """Write the pieces."""
        for method, ends_file in self.methods:
            if method:
                write_file(method.pieces(), out)
            if ends_file:
                end_file(out)


def cut(plan: PatchPlan, encoding: Encoding) -> Sequence[Chunk]:
    """Return all work of a plan in chunks, in the order of the patch."""
    chunks: list[list[Work]] = []
    room = 0
    for work in _works(plan, encoding):
        if not chunks or work.bytes > room:
            chunks.append([])
            room = CHUNK_BYTES
        chunks[-1].append(work)
        room -= work.bytes
    return [Chunk(works) for works in chunks]


def _works(plan: PatchPlan, encoding: Encoding) -> Iterable[Work]:
    for layer, file_plan in plan.diffed():
        file = changed_file(plan, layer, file_plan, encoding)
        for window in range(file.windows):
            yield Work(file, window)


def changed_file(plan: PatchPlan, layer: LayerContent, file: FilePlan, encoding: Encoding) -> ChangedFile:
    """Return where the bytes of a file and of its base are."""
    new = Extent(layer.reader, file.entry.offset, file.entry.size)
    if file.base is None:
        return ChangedFile(encoding, new)
    is_version = same_name(file.entry.path, file.base.entry.path)
    return ChangedFile(encoding, new, file.base.data, plan.number(file.base), is_version)
