"""What a patch does with each layer and file, decided from the indexes alone: no file data is read here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from imagedelta.delta.bases import SourceFile, SourceFiles
from imagedelta.delta.content import ImageContent, LayerContent
from imagedelta.signatures.index import FileEntry


class Way(Enum):
    """How the bytes of a file come about."""

    SOURCE = "the same content is in a source"
    KEPT = "the same content came earlier in this patch"
    CHANGED = "a source has a file like it"
    NEW = "nothing is like it"


@dataclass(frozen=True, slots=True)
class FilePlan:
    """One file of a rebuilt layer."""

    entry: FileEntry
    way: Way
    base: SourceFile | None
    keep: bool
    """The same content comes again later in this patch."""


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """One layer that the patch rebuilds."""

    layer: LayerContent
    files: tuple[FilePlan, ...]


@dataclass(frozen=True, slots=True)
class PatchPlan:
    """Everything a patch does."""

    rebuilt: tuple[LayerPlan, ...]
    whole: frozenset[str]
    """diff_ids that a source has."""

    @property
    def rebuilt_bytes(self) -> int:
        """Uncompressed size of the rebuilt layers."""
        return sum(plan.layer.index.size for plan in self.rebuilt)

    @property
    def new_bytes(self) -> int:
        """Size of the files that nothing in a source is like."""
        return sum(file.entry.size for plan in self.rebuilt for file in plan.files if file.way is Way.NEW)


def plan_patch(target: ImageContent, sources: Sequence[ImageContent]) -> PatchPlan:
    """Decide how to make ``target``; deterministic."""
    whole = frozenset(target.diff_ids) & {diff_id for source in sources for diff_id in source.diff_ids}
    layers = {layer.index.diff_id: layer for layer in target.layers if layer.index.diff_id not in whole}
    files = SourceFiles(sources)
    again = _repeated(layers.values(), files)
    seen: set[tuple[bytes, int]] = set()
    rebuilt = tuple(LayerPlan(layer, tuple(_plan_files(layer, files, again, seen))) for layer in layers.values())
    return PatchPlan(rebuilt, whole)


def _repeated(layers: Iterable[LayerContent], files: SourceFiles) -> set[tuple[bytes, int]]:
    counts = Counter(
        (entry.digest, entry.size)
        for layer in layers
        for entry in layer.index.entries
        if entry.size and not files.same_content(entry)
    )
    return {content for content, count in counts.items() if count > 1}


def _plan_files(
    layer: LayerContent, files: SourceFiles, again: set[tuple[bytes, int]], seen: set[tuple[bytes, int]]
) -> Iterator[FilePlan]:
    for entry in layer.index.entries:
        content = (entry.digest, entry.size)
        if not entry.size:
            continue
        same = files.same_content(entry)
        if same:
            yield FilePlan(entry, Way.SOURCE, same, keep=False)
        elif content in seen:
            yield FilePlan(entry, Way.KEPT, None, keep=False)
        else:
            if content in again:
                seen.add(content)
            base = files.like(entry)
            yield FilePlan(entry, Way.CHANGED if base else Way.NEW, base, keep=content in again)
