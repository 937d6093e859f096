"""Where a target file's bytes may come from in the sources: the same content, or a file it resembles.

Its base is its old version, as ranking took it (imagedelta.signatures.old_versions). A file that has none may still
have one of its name in a folder of another name: the one whose folders are the same as far down as possible.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, takewhile
from operator import itemgetter

from imagedelta.delta.content import Extent, LayerContent
from imagedelta.delta.format.tar_walk import walk_headers
from imagedelta.signatures.index import FileEntry
from imagedelta.signatures.old_versions import COMMON_VALUE, Namesakes, closeness_by_content
from imagedelta.signatures.signature import row_of
from imagedelta.signatures.summary import Row
from imagedelta.signatures.variable_names import VARIABLE

_LEAST_ALIKE = 2
"""Values that two sketches share by more than chance."""


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
        self._files: list[tuple[Row, SourceMember]] = []
        """The members with data; the following name them by their place here."""
        self._by_key: defaultdict[int, list[int]] = defaultdict(list)
        self._by_sketch: defaultdict[int, list[int]] = defaultdict(list)
        self._namesakes: dict[int, tuple[Namesakes, list[int]]] = {}
        self._below_folder: dict[tuple[bytes, tuple[bytes, ...]], list[int]] = {}
        for layer in layers:
            counted = 0
            for member in _members(layer, most):
                self._add(member)
                counted = member.place + 1
            most -= counted

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
        row = row_of(entry)
        return self._namesake(row) or self._alike(entry, row) or self._of_another_folder(entry.path, row)

    def _add(self, member: SourceMember) -> None:
        entry = member.entry
        self._by_path.setdefault(entry.path, member)
        if not entry.size:
            return
        self._by_content.setdefault((entry.digest, entry.size), member)
        if entry.timeless:
            self._by_timeless.setdefault((entry.timeless, entry.size), member)
        row = row_of(entry)
        self._by_key[row.key].append(len(self._files))
        for value in entry.sketch:
            self._by_sketch[value].append(len(self._files))
        self._files.append((row, member))

    def _namesake(self, row: Row) -> SourceMember | None:
        if row.key not in self._namesakes:
            places = self._by_key.get(row.key, [])
            self._namesakes[row.key] = Namesakes(list(map(self._row, places))), places
        namesakes, places = self._namesakes[row.key]
        closest = namesakes.closest(row)
        return self._files[places[closest[1]]][1] if closest else None

    def _alike(self, entry: FileEntry, row: Row) -> SourceMember | None:
        """Return the member that shares most values of the content sketch."""
        places = (self._by_sketch.get(value, ()) for value in entry.sketch)
        shared = Counter(place for found in places if len(found) <= COMMON_VALUE for place in found)
        alike = (
            (closeness_by_content(row, self._row(place), count), place)
            for place, count in shared.items()
            if count >= _LEAST_ALIKE
        )
        best = min(alike, default=None)
        return self._files[best[1]][1] if best else None

    def _of_another_folder(self, path: bytes, row: Row) -> SourceMember | None:
        """Return the member of that name whose folders are the same as far down as possible; of those, by size."""
        name, folders = _name_and_folders(path)
        at = bisect_left(self._by_name, (name, folders), key=itemgetter(0, 1))
        beside = [found for other, found, _ in self._by_name[max(0, at - 1) : at + 1] if other == name]
        if not beside:
            return None
        depth = max(_common_length(found, folders) for found in beside)
        below = self._below(name, folders[:depth])
        after = bisect_left(below, row.size_code, key=self._size_code)
        near = below[max(0, after - 1) : after + 1]
        return self._files[min(near, key=lambda place: abs(self._size_code(place) - row.size_code))][1]

    def _below(self, name: bytes, folders: list[bytes]) -> list[int]:
        """Return the files of a name anywhere below a folder, by size."""
        wanted = name, tuple(folders)
        if wanted not in self._below_folder:
            depth = len(folders)

            def start(named: tuple[bytes, list[bytes], int]) -> tuple[bytes, list[bytes]]:
                return named[0], named[1][:depth]

            first = bisect_left(self._by_name, (name, folders), key=start)
            end = bisect_right(self._by_name, (name, folders), first, key=start)
            places = (place for _, _, place in self._by_name[first:end])
            self._below_folder[wanted] = sorted(places, key=lambda place: (self._size_code(place), place))
        return self._below_folder[wanted]

    @cached_property
    def _by_name(self) -> list[tuple[bytes, list[bytes], int]]:
        """The files in the order of their names and folders: what shares folders is side by side."""
        named = ((*_name_and_folders(member.entry.path), place) for place, (_, member) in enumerate(self._files))
        return sorted(named)

    def _row(self, place: int) -> Row:
        return self._files[place][0]

    def _size_code(self, place: int) -> int:
        return self._files[place][0].size_code


def _members(layer: LayerContent, most: int) -> Iterator[SourceMember]:
    """Yield the members of a layer that the walk of both sides finds among its first ``most`` headers."""
    entries = {entry.offset: entry for entry in layer.index.entries}
    for place, header in enumerate(islice(walk_headers(layer.headers, layer.index.size), max(0, most))):
        entry = entries.get(header.data_offset)
        if entry is not None and entry.size == header.size:
            yield SourceMember(layer, place, entry)


def distinct_layers(images: Iterable[Sequence[LayerContent]]) -> list[LayerContent]:
    """Return the layers of images, uppermost of the first image first, each once."""
    layers: dict[str, LayerContent] = {}
    for image in images:
        for layer in reversed(image):
            layers.setdefault(layer.index.diff_id, layer)
    return list(layers.values())


def same_name(one: bytes, other: bytes) -> bool:
    """Whether two paths end in one name, digits aside: then one file is likely to be a version of the other."""
    return _name_and_folders(one)[0] == _name_and_folders(other)[0]


def _name_and_folders(path: bytes) -> tuple[bytes, list[bytes]]:
    """Return the last part of a path and the others, without what changes from version to version."""
    *folders, name = VARIABLE.sub(b"#", path).split(b"/")
    return name, folders


def _common_length(one: Sequence[bytes], other: Sequence[bytes]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
