"""Chunks: the files of a build that must be carried, cut into parts of its work that are done apart.

Which files share a chunk changes nothing in the patch. A chunk is made in two steps: first methods are chosen, which
reads little and tells the memory that the second step takes, then the pieces are made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from imagedelta.delta.content import BytesReader, Extent, LayerContent
from imagedelta.delta.encode.bases import same_name
from imagedelta.delta.encode.methods import ChangedFile, Encoding, Method, choose
from imagedelta.delta.encode.pieces import end_file, write_file
from imagedelta.delta.encode.plan import FilePlan, PatchPlan
from imagedelta.delta.encode.windows import window_count
from imagedelta.limits import MIB

CHUNK_BYTES = 2 * MIB
"""Old and new bytes of a chunk; a larger file, or window of one, is a chunk of its own."""


@dataclass(frozen=True, slots=True)
class Work:
    """A window of a file; most files have one. A build may have a million, so what else is needed is made later."""

    layer: LayerContent
    file: FilePlan
    window: int
    windows: int

    @property
    def new_bytes(self) -> int:
        """Bytes of the target, about."""
        return self.file.entry.size // self.windows

    @property
    def bytes(self) -> int:
        """Bytes of target and source, about."""
        old = self.file.base.entry.size if self.file.base else 0
        return (self.file.entry.size + old) // self.windows

    @property
    def ends_file(self) -> bool:
        """Whether this is the last window of its file."""
        return self.window + 1 == self.windows


class ChangedFiles:
    """The files of a plan that must be carried; several threads may ask."""

    def __init__(self, plan: PatchPlan, encoding: Encoding) -> None:
        self._plan = plan
        self._encoding = encoding
        self._cut: dict[tuple[str, int], ChangedFile] = {}

    def work(self) -> Iterator[Work]:
        """Yield all work, in the order of the patch."""
        for layer, file in self._plan.diffed():
            old = file.base.entry.size if file.base else 0
            windows = window_count(file.entry.size, old, self._encoding.profile)
            for window in range(windows):
                yield Work(layer, file, window, windows)

    def file(self, work: Work) -> ChangedFile:
        """Return the file of some work; all windows of a file share it."""
        file = changed_file(self._plan, work.layer, work.file, self._encoding)
        if work.windows == 1:
            return file
        return self._cut.setdefault((work.layer.index.diff_id, work.file.entry.offset), file)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Work that is done in one go."""

    files: ChangedFiles
    works: Sequence[Work]

    @property
    def new_bytes(self) -> int:
        """Bytes of the target, about."""
        return sum(work.new_bytes for work in self.works)

    def choose(self) -> ChosenChunk:
        """Choose the method of each file."""
        return ChosenChunk([(choose(self.files.file(work), work.window), work.ends_file) for work in self.works])


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
    files = ChangedFiles(plan, encoding)
    chunks: list[list[Work]] = []
    room = 0
    for work in files.work():
        if not chunks or work.bytes > room:
            chunks.append([])
            room = CHUNK_BYTES
        chunks[-1].append(work)
        room -= work.bytes
    return [Chunk(files, works) for works in chunks]


def changed_file(plan: PatchPlan, layer: LayerContent, file: FilePlan, encoding: Encoding) -> ChangedFile:
    """Return where the bytes of a file and of its base are."""
    new = Extent(layer.reader, file.entry.offset, file.entry.size)
    if file.blanked is not None:
        new = Extent(BytesReader(file.blanked), 0, file.entry.size)
    if file.base is None:
        return ChangedFile(encoding, new)
    is_version = same_name(file.entry.path, file.base.entry.path)
    return ChangedFile(encoding, new, file.base.data, plan.number(file.base), is_version)
