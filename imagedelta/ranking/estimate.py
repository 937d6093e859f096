"""About how many bytes a patch between two images will have, from their signatures alone.

A file that the source has costs nothing. A changed one costs a part of its packed size, the less the more of its
content the source's version shares (imagedelta.ranking.changes). Everything else is sent packed. Headers of the
members of new layers come on top. docs/ranking.md has the figures.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property

from imagedelta.ranking.changes import FileFacts, OldVersion, changed_bytes
from imagedelta.signatures.file_kind import FileKind
from imagedelta.signatures.sampling import priority_of
from imagedelta.signatures.signature import Signature
from imagedelta.signatures.size_code import decode_size
from imagedelta.signatures.summary import SKETCH_BYTES

FIXED_BYTES = 450
"""The head of a patch with its config and the tables of its streams."""
_NEW_HEADER_BYTES, _KNOWN_HEADER_BYTES = 8.0, 0.05
_STAMP_BYTES = 0.75
"""Of the new time in a compiled Python file: a rebuilt layer has one in each."""
_MOST_FILES = 8_000
"""Files of a target that are looked at; of more, the ones of highest priority stand for the others."""
_LARGEST, _SPREAD = 250, 150
"""Missing files whose predecessors are looked up: so many of the largest, and so many spread over the rest, which
stand for it."""
_NEAR = 4
"""Predecessors of one name that are tried."""
_RENAMED = 5
"""Files without a predecessor of their name, largest first, for which one is looked for by content."""
_SEARCHED, _LEAST_ALIKE = 2, 3
"""Numbers of a sketch that are searched for, and that must be the same: one or two are by chance."""
_KINDS = {kind.value: kind for kind in FileKind}


class Source:
    """A possible source. Its rows stay as they are stored, sorted, so nothing is built per source."""

    def __init__(self, signature: Signature) -> None:
        self.threshold = signature.threshold
        self.layers = frozenset(layer.diff_id for layer in signature.layers)
        self.files = signature.files

    def predecessors(self, file: FileFacts) -> range:
        """Return the rows of files with the same name, of many those nearest in size."""
        keys = self.files.keys
        first = bisect_left(keys, file.key)
        if first == len(keys) or keys[first] != file.key:
            return range(0)
        last = bisect_right(keys, file.key, first)
        if last - first > _NEAR:  # chunks/1.json to chunks/9999.json: the rows are sorted by size
            middle = bisect_left(self.files.sizes, file.size_code, first, last)
            first, last = max(first, middle - _NEAR // 2), min(last, middle + _NEAR // 2)
        return range(first, last)

    def alike(self, file: FileFacts) -> Sequence[int]:
        """Return the rows of files that share much of this one's content, whatever they are called."""
        rows = set()
        for value in sorted(file.sketch)[:_SEARCHED]:
            wanted = value.to_bytes(2, sys.byteorder)
            at = self._sketch_bytes.find(wanted)
            while at >= 0:
                if at % 2 == 0:
                    rows.add(bisect_right(self._sketch_places, at // SKETCH_BYTES) - 1)
                at = self._sketch_bytes.find(wanted, at + 1)
        sketches = ((row, self.files.sketch(row, self._sketch_places)) for row in sorted(rows))
        return [row for row, sketch in sketches if len(file.sketch.intersection(sketch)) >= _LEAST_ALIKE]

    def old_version(self, row: int) -> OldVersion:
        """Return what is known of a file."""
        files = self.files
        return OldVersion(files.paths[row], decode_size(files.sizes[row]), files.sketch(row, self._sketch_places))

    @cached_property
    def _sketch_places(self) -> Sequence[int]:
        return self.files.sketch_places()

    @cached_property
    def _sketch_bytes(self) -> bytes:
        return self.files.sketches.tobytes()


class Target:
    """An image to be sent, compared with one set of sources after the other."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._views: dict[float, _View] = {}
        self._members = sum(layer.members for layer in signature.layers)
        self._modules = signature.files.kinds.count(FileKind.BYTECODE)
        self._least_threshold = _threshold_for(signature, _MOST_FILES)

    def estimate(self, sources: Sequence[Source]) -> int:
        """Return the estimated bytes of a patch that may use all of ``sources``; none: a full patch."""
        view = self._view(max((source.threshold for source in sources), default=0.0))
        new = sum(
            layer.members for layer in self._signature.layers if not any(layer.diff_id in s.layers for s in sources)
        )
        stamps = _STAMP_BYTES * self._modules * new / max(1, self._members)
        return round(FIXED_BYTES + _KNOWN_HEADER_BYTES * new + stamps + view.bytes_from(sources))

    def _view(self, threshold: float) -> _View:
        """Return the target as both sides' samples allow; coarse steps, so that few views serve all sources."""
        if threshold > self._least_threshold:
            threshold = 2.0 ** math.ceil(math.log2(threshold))
        else:
            threshold = self._least_threshold
        if threshold not in self._views:
            self._views[threshold] = _View(self._signature, threshold)
        return self._views[threshold]


class _View:
    """The target's files above a threshold, each weighted for the ones below it, largest first."""

    def __init__(self, signature: Signature, threshold: float) -> None:
        files = sorted(file_facts(signature, threshold), key=lambda item: -item[1].literal_bytes)
        self._files = [file for _, file in files]
        self._wholes = [file.literal_bytes + file.weight * _NEW_HEADER_BYTES for file in self._files]
        self._places = {content: place for place, (content, _) in enumerate(files)}
        self._contents = frozenset(self._places)
        self._costs: dict[tuple[int, int], float] = {}
        """Of changes that were looked at: many sources have the same old version."""

    def bytes_from(self, sources: Sequence[Source]) -> float:
        """Return the bytes of all files that no source has, each as a change of its best predecessor, if any."""
        missing = self._contents.difference(*(source.files.contents for source in sources))
        places = sorted(map(self._places.__getitem__, missing))
        largest, rest = places[:_LARGEST], places[_LARGEST:]
        total = self._bytes_of(largest, sources, renamed=_RENAMED)
        if rest:
            step = math.ceil(len(rest) / _SPREAD)
            spread = rest[step // 2 :: step]
            total += self._bytes_of(spread, sources) / self._whole_bytes_of(spread) * self._whole_bytes_of(rest)
        return total

    def _bytes_of(self, places: Sequence[int], sources: Sequence[Source], renamed: int = 0) -> float:
        """Return what files cost; for so many without a predecessor by name one is looked for by content."""
        total = 0.0
        for place in places:
            file = self._files[place]
            found = [(source, row) for source in sources for row in source.predecessors(file)]
            if not found and renamed and file.sketch:
                renamed -= 1
                found = [(source, row) for source in sources for row in source.alike(file)]
            total += min([self._change(place, source, row) for source, row in found], default=self._wholes[place])
        return total

    def _whole_bytes_of(self, places: Sequence[int]) -> float:
        return sum(map(self._wholes.__getitem__, places))

    def _change(self, place: int, source: Source, row: int) -> float:
        change = place, source.files.contents[row]
        if change not in self._costs:
            self._costs[change] = changed_bytes(self._files[place], source.old_version(row))
        return self._costs[change]


def file_facts(signature: Signature, threshold: float) -> Iterator[tuple[int, FileFacts]]:
    """Yield content and facts of the files above a threshold."""
    columns = signature.files
    places = columns.sketch_places()
    for row, (key, code, path, content, kind) in enumerate(columns.rows()):
        size = decode_size(code)
        if priority_of(size, key) > threshold:
            weight = max(1.0, threshold / size)
            sketch = frozenset(columns.sketch(row, places))
            yield content, FileFacts(key, path, code, size, _KINDS.get(kind, FileKind.OTHER), weight, sketch)


def _threshold_for(signature: Signature, most: int) -> float:
    """Return the priority above which there are ``most`` files, at least the signature's own threshold."""
    columns = signature.files
    if len(columns) <= most:
        return signature.threshold
    priorities = (priority_of(decode_size(code), key) for key, code in zip(columns.keys, columns.sizes, strict=True))
    return sorted(priorities, reverse=True)[most]
