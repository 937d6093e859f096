"""What a patch does with each layer and file, decided from the indexes alone: no file data is read here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate

from imagedelta.delta.content import ImageContent, LayerContent
from imagedelta.delta.encode.bases import SourceMember, SourceMembers, distinct_layers
from imagedelta.delta.format.header import MAX_MEMBERS
from imagedelta.delta.format.listed import NO_MARKS, Mark
from imagedelta.signatures.index import FileEntry


class Choice(Enum):
    """How the bytes of a file come about."""

    SOURCE = "the same content is in a source"
    STAMPED = "the same content is in a source, with another time in its head"
    KEPT = "the same content came earlier in this patch"
    CHANGED = "a source has a file like it"
    NEW = "nothing is like it"


@dataclass(frozen=True, slots=True)
class FilePlan:
    """One member of a rebuilt layer."""

    entry: FileEntry
    choice: Choice | None
    """``None`` for a member without data."""
    base: SourceMember | None
    reference: SourceMember | None
    """Whose header the member's own resembles."""
    keep: bool = False
    """The same content comes again later in this patch."""
    marks: Mark = NO_MARKS
    """Of a file whose digests are listed, or that lists them."""
    fills: bytes = b""
    """The list of digests in the file, as it goes into the patch."""
    blanked: bytes | None = None
    """What is coded instead of the file: other digests are where some will be filled in."""

    @property
    def is_diffed(self) -> bool:
        """Whether its data must be read."""
        return self.choice in (Choice.CHANGED, Choice.NEW)


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
    source_layers: tuple[LayerContent, ...]
    """In the order in which the patch names them."""
    member_counts: tuple[int, ...]
    """Of each source layer: the members that may be named."""
    first_numbers: Mapping[str, int]
    """diff_id of a source layer → number of its first member."""

    def number(self, member: SourceMember) -> int:
        """Return the number by which the patch names a member."""
        return self.first_numbers[member.layer.index.diff_id] + member.place

    @property
    def new_bytes(self) -> int:
        """Size of the files that nothing in a source is like."""
        return self._bytes_of(Choice.NEW)

    @property
    def changed_bytes(self) -> int:
        """Size of the files that are made from others."""
        return self._bytes_of(Choice.CHANGED)

    def _bytes_of(self, choice: Choice) -> int:
        return sum(file.entry.size for plan in self.rebuilt for file in plan.files if file.choice is choice)

    @property
    def diffed_bytes(self) -> int:
        """Size of the files whose data must be read, and of what they are made from."""
        return sum(file.entry.size + (file.base.entry.size if file.base else 0) for _, file in self.diffed())

    def diffed(self) -> Iterator[tuple[LayerContent, FilePlan]]:
        """Yield the files whose data must be read, in the order of the patch."""
        for plan in self.rebuilt:
            for file in plan.files:
                if file.is_diffed:
                    yield plan.layer, file


def plan_patch(target: ImageContent, sources: Sequence[ImageContent]) -> PatchPlan:
    """Decide how to make ``target``; deterministic."""
    source_layers = distinct_layers([source.layers for source in sources])
    whole = frozenset(target.diff_ids) & {layer.index.diff_id for layer in source_layers}
    layers = {layer.index.diff_id: layer for layer in target.layers if layer.index.diff_id not in whole}
    members = SourceMembers(source_layers if layers else [], MAX_MEMBERS)
    planner = _Planner(members, _repeated(layers.values(), members))
    rebuilt = [LayerPlan(layer, tuple(map(planner.plan, layer.index.entries))) for layer in layers.values()]
    return _with_used_layers(rebuilt, whole, source_layers)


def _with_used_layers(
    rebuilt: Sequence[LayerPlan], whole: frozenset[str], source_layers: Sequence[LayerContent]
) -> PatchPlan:
    """Number the members of the layers that are used, up to the last one that is: each costs memory or bytes."""
    counts: dict[str, int] = dict.fromkeys(whole, 0)
    for member in _named(rebuilt):
        diff_id = member.layer.index.diff_id
        counts[diff_id] = max(counts.get(diff_id, 0), member.place + 1)
    used = [layer for layer in source_layers if layer.index.diff_id in counts]
    used_counts = [counts[layer.index.diff_id] for layer in used]
    starts = accumulate(used_counts, initial=0)
    numbers = {layer.index.diff_id: start for layer, start in zip(used, starts, strict=False)}
    return PatchPlan(tuple(rebuilt), whole, tuple(used), tuple(used_counts), numbers)


def _named(rebuilt: Iterable[LayerPlan]) -> Iterator[SourceMember]:
    for plan in rebuilt:
        for file in plan.files:
            yield from (member for member in (file.base, file.reference) if member)


def _repeated(layers: Iterable[LayerContent], members: SourceMembers) -> set[tuple[bytes, int]]:
    counts = Counter(
        (entry.digest, entry.size)
        for layer in layers
        for entry in layer.index.entries
        if entry.size and not members.same_content(entry) and not members.same_timeless(entry)
    )
    return {content for content, count in counts.items() if count > 1}


class _Planner:
    def __init__(self, members: SourceMembers, again: set[tuple[bytes, int]]) -> None:
        self._members = members
        self._again = again
        self._seen: set[tuple[bytes, int]] = set()

    def plan(self, entry: FileEntry) -> FilePlan:
        members = self._members
        here = members.same_path(entry)
        if not entry.size:
            return FilePlan(entry, None, None, here)
        if here and (here.entry.digest, here.entry.size) == (entry.digest, entry.size):
            return FilePlan(entry, Choice.SOURCE, here, here)
        same = members.same_content(entry)
        if same:
            return FilePlan(entry, Choice.SOURCE, same, here or same)
        timeless = members.same_timeless(entry)
        if timeless:
            if here and (here.entry.timeless, here.entry.size) == (entry.timeless, entry.size):
                timeless = here
            return FilePlan(entry, Choice.STAMPED, timeless, here or timeless)
        return self._changed(entry, here)

    def _changed(self, entry: FileEntry, here: SourceMember | None) -> FilePlan:
        content = (entry.digest, entry.size)
        base = self._members.like(entry)
        reference = here or base
        if content in self._seen:
            return FilePlan(entry, Choice.KEPT, None, reference)
        keep = content in self._again
        if keep:
            self._seen.add(content)
        return FilePlan(entry, Choice.CHANGED if base else Choice.NEW, base, reference, keep)
