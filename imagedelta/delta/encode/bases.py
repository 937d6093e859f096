"""Where a target file's bytes may come from in the sources: the same content, or a file it resembles.

A base is chosen by path, then by name, then by path and name without digits (``libicu.so.72`` and
``libicu.so.76``), then by content; upper layers of the first source win, because they are what the source image
shows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from imagedelta.delta.content import Extent, LayerContent
from imagedelta.delta.format.tar_walk import walk_headers
from imagedelta.signatures.index import FileEntry
from imagedelta.signatures.variable_names import VARIABLE

_MAX_COMPARED = 64
"""Candidates of one name that are compared: ``index.js`` may occur thousands of times."""
_LEAST_ALIKE = 2
"""Values that two sketches share by more than chance."""
_COMMON_VALUE = 32
"""A sketch value in more files than that says nothing."""


@dataclass(frozen=True, slots=True)
class SourceMember:
    """A member of a source layer that a patch can name."""

    layer: LayerContent
    place: int
    """Counted through the headers of the layer."""
    entry: FileEntry

    @property
    def data(self) -> Extent:
        """Its bytes."""
        return Extent(self.layer.reader, self.entry.offset, self.entry.size)


class SourceMembers:
    """All members of all sources, findable by content, by name and by likeness."""

    def __init__(self, layers: Sequence[LayerContent], most: int) -> None:
        """Args:
        layers: Distinct source layers, best first: the order in which the patch names them.
        most: Members that may be numbered; the rest is not used.
        """
        self._by_content: dict[tuple[bytes, int], SourceMember] = {}
        self._by_timeless: dict[tuple[bytes, int], SourceMember] = {}
        self._by_path: dict[bytes, SourceMember] = {}
        self._by_name: defaultdict[bytes, list[SourceMember]] = defaultdict(list)
        self._by_path_form: defaultdict[bytes, list[SourceMember]] = defaultdict(list)
        self._by_name_form: defaultdict[bytes, list[SourceMember]] = defaultdict(list)
        self._by_sketch: defaultdict[int, list[SourceMember]] = defaultdict(list)
        for layer in layers:
            for member in _members(layer, most):
                self._add(member)
                most -= 1

    def same_path(self, entry: FileEntry) -> SourceMember | None:
        """Return the member of the same path that the source image shows."""
        return self._by_path.get(entry.path)

    def same_content(self, entry: FileEntry) -> SourceMember | None:
        """Return a member with the same data."""
        return self._by_content.get((entry.digest, entry.size))

    def same_timeless(self, entry: FileEntry) -> SourceMember | None:
        """Return a .pyc with the same data but for the time of its source."""
        return self._by_timeless.get((entry.timeless, entry.size)) if entry.timeless else None

    def like(self, entry: FileEntry) -> SourceMember | None:
        """Return the file most likely to be an earlier or later version of ``entry``."""
        found = self._by_path.get(entry.path)
        if found and found.entry.size:
            return found
        name = _name(entry.path)
        groups = (
            self._by_name.get(name),
            self._by_path_form.get(_form(entry.path)),
            self._by_name_form.get(_form(name)),
        )
        return next((_nearest(entry, group) for group in groups if group), None) or self._alike(entry)

    def _add(self, member: SourceMember) -> None:
        entry = member.entry
        self._by_path.setdefault(entry.path, member)
        if not entry.size:
            return
        self._by_content.setdefault((entry.digest, entry.size), member)
        if entry.timeless:
            self._by_timeless.setdefault((entry.timeless, entry.size), member)
        name = _name(entry.path)
        self._by_name[name].append(member)
        self._by_path_form[_form(entry.path)].append(member)
        self._by_name_form[_form(name)].append(member)
        for value in entry.sketch:
            self._by_sketch[value].append(member)

    def _alike(self, entry: FileEntry) -> SourceMember | None:
        """Return the member that shares most values of the content sketch, the first of equals."""
        shared: Counter[tuple[str, int]] = Counter()
        found: dict[tuple[str, int], SourceMember] = {}
        for value in entry.sketch:
            members = self._by_sketch.get(value, [])
            if len(members) > _COMMON_VALUE:
                continue
            for member in members:
                place = member.layer.index.diff_id, member.place
                shared[place] += 1
                found[place] = member
        best = min(shared, key=lambda place: (-shared[place], place), default=None)
        return found[best] if best is not None and shared[best] >= _LEAST_ALIKE else None


def _members(layer: LayerContent, most: int) -> Iterator[SourceMember]:
    """Yield the members of a layer that the walk of both sides finds among its first ``most`` headers."""
    entries = {entry.offset: entry for entry in layer.index.entries}
    for place, header in enumerate(islice(walk_headers(layer.headers, layer.index.size), max(0, most))):
        entry = entries.get(header.data_offset)
        if entry is not None and entry.size == header.size:
            yield SourceMember(layer, place, entry)


def _nearest(entry: FileEntry, candidates: Sequence[SourceMember]) -> SourceMember:
    """Return the candidate that shares most folder names, then the one nearest in size, then the first."""
    folders = set(entry.path.split(b"/"))

    def distance(member: SourceMember) -> tuple[int, int]:
        return -len(folders.intersection(member.entry.path.split(b"/"))), abs(member.entry.size - entry.size)

    return min(candidates[:_MAX_COMPARED], key=distance)


def distinct_layers(images: Iterable[Sequence[LayerContent]]) -> list[LayerContent]:
    """Return the layers of images, uppermost of the first image first, each once."""
    layers: dict[str, LayerContent] = {}
    for image in images:
        for layer in reversed(image):
            layers.setdefault(layer.index.diff_id, layer)
    return list(layers.values())


def same_name(one: bytes, other: bytes) -> bool:
    """Whether two paths end in one name, digits aside: then one file is likely to be a version of the other."""
    return _form(_name(one)) == _form(_name(other))


def _name(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]


def _form(path: bytes) -> bytes:
    return VARIABLE.sub(b"#", path)
