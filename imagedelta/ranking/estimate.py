"""About how many bytes a patch between two images will have, from their signatures alone.

A file that the source has costs nothing. A changed one costs a part of its packed size that grows with the
difference in size, since a rebuild or a patch release seldom changes a file's size much. Everything else is
sent packed. Headers of the members of new layers come on top.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from imagedelta.signatures.file_cost import SCALE
from imagedelta.signatures.signature import Signature, priority_of
from imagedelta.signatures.size_code import decode_size

FIXED_BYTES = 1000
"""Config, patch header, seal and the zip around it."""
_NEW_HEADER_BYTES, _KNOWN_HEADER_BYTES = 8.0, 0.05
_LEAST_DELTA, _DELTA_PER_GROWTH, _MOST_DELTA = 0.02, 6.0, 0.85
_OTHER_PATH = 0.02
_PACKED_COST, _PACKED_DELTA = 0.8, 0.95
"""Files that are packed already (zip, png) change everywhere at once."""
_EXAMINED = 2000
"""Missing files, largest first, whose predecessor is looked up; the rest is taken to save as much on average."""


class Source:
    """A possible source, its hashes made ready for set arithmetic."""

    def __init__(self, signature: Signature) -> None:
        self.threshold = signature.threshold
        self.layers = frozenset(layer.diff_id for layer in signature.layers)
        self.contents = frozenset(signature.files.contents)
        self._files = signature.files

    def versions_of(self, keys: set[int]) -> Iterator[tuple[int, int, int]]:
        """Yield (key, path, size) of the source's files with one of these keys."""
        files = self._files
        for key, path, code in zip(files.keys, files.paths, files.sizes, strict=True):
            if key in keys:
                yield key, path, decode_size(code)


class Target:
    """An image to be sent, compared with one set of sources after the other."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._views: dict[float, _View] = {}

    def estimate(self, sources: Sequence[Source]) -> int:
        """Return the estimated bytes of a patch that may use all of ``sources``; none: a full patch."""
        view = self._view(max((source.threshold for source in sources), default=0.0))
        missing = view.contents.difference(*(source.contents for source in sources))
        return round(FIXED_BYTES + self._headers(sources) + view.cost(missing, sources))

    def _headers(self, sources: Sequence[Source]) -> float:
        new = (layer for layer in self._signature.layers if all(layer.diff_id not in s.layers for s in sources))
        return _KNOWN_HEADER_BYTES * sum(layer.members for layer in new)

    def _view(self, threshold: float) -> _View:
        """Return the target as both sides' samples allow; coarse steps, so that few views serve all sources."""
        if threshold > self._signature.threshold:
            threshold = 2.0 ** math.ceil(math.log2(threshold))
        else:
            threshold = self._signature.threshold
        if threshold not in self._views:
            self._views[threshold] = _View(self._signature, threshold)
        return self._views[threshold]


@dataclass(frozen=True, slots=True)
class _File:
    key: int
    path: int
    size: int
    cost: float
    literal: float
    """Bytes when sent whole, with its header; of the files it stands for, too, in a sample."""

    def part_from(self, path: int, size: int) -> float:
        """Return what part of ``literal`` it costs as a change of that version."""
        if self.cost > _PACKED_COST:
            part = _PACKED_DELTA
        else:
            growth = abs(size - self.size) / max(size, self.size)
            part = min(_MOST_DELTA, _LEAST_DELTA + _DELTA_PER_GROWTH * growth)
        return part if path == self.path else part + _OTHER_PATH


class _View:
    """The target's files above a threshold, each weighted for the ones below it."""

    def __init__(self, signature: Signature, threshold: float) -> None:
        files: dict[int, _File] = {}
        keys, contents, paths, sizes, costs = signature.files.all()
        for key, content, path, code, cost in zip(keys, contents, paths, sizes, costs, strict=True):
            size = decode_size(code)
            if priority_of(size, key) > threshold:
                weight = max(1.0, threshold / size)
                literal = weight * (size * cost / SCALE + _NEW_HEADER_BYTES)
                files[content] = _File(key, path, size, cost / SCALE, literal)
        self._largest_first = sorted(files.items(), key=lambda item: -item[1].literal)
        self._literals = {content: file.literal for content, file in files.items()}
        self.contents = frozenset(files)

    def cost(self, missing: frozenset[int], sources: Sequence[Source]) -> float:
        """Return the bytes for the missing files, each as a change of its best predecessor, if any."""
        literal = math.fsum(map(self._literals.__getitem__, missing))
        largest = islice((file for content, file in self._largest_first if content in missing), _EXAMINED)
        files = list(largest) if sources else []
        if not files:
            return literal
        versions = _Versions(sources, {file.key for file in files})
        parts = [versions.best_part(file) for file in files]
        examined = math.fsum(file.literal for file in files)
        changed = math.fsum(file.literal * part for file, part in zip(files, parts, strict=True))
        return changed + (literal - examined) * math.fsum(parts) / len(parts)


class _Versions:
    """Files of the sources by name, to find those most like a changed one without trying all.

    Thousands of files can share a name key (``chunks/1.json`` to ``chunks/9999.json``).
    """

    def __init__(self, sources: Sequence[Source], keys: set[int]) -> None:
        self._by_path: dict[tuple[int, int], int] = {}
        self._by_size: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for source in sources:
            for key, path, size in source.versions_of(keys):
                self._by_path[key, path] = size
                self._by_size[key].append((size, path))
        for versions in self._by_size.values():
            versions.sort()

    def best_part(self, file: _File) -> float:
        """Return what part of the file must be sent, given its best predecessor; 1.0 without any."""
        same = self._by_path.get((file.key, file.path))
        if same is not None:
            return file.part_from(file.path, same)
        versions = self._by_size.get(file.key)
        if not versions:
            return 1.0
        at = bisect(versions, (file.size, file.path))
        return min(file.part_from(path, size) for size, path in versions[max(0, at - 1) : at + 1])
