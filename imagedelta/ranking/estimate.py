"""About how many bytes a patch between two images will have, from their signatures alone.

A file that the source has costs nothing. A changed one costs a part of its packed size that grows with the
difference in size, since a rebuild or a patch release seldom changes a file's size much. Everything else is
sent packed. Headers of the members of new layers come on top. On the demo's four images (120 to 150 MB) the
estimates were 0.95 to 1.4 times the real patches, in their order.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from imagedelta.signatures.file_cost import SCALE
from imagedelta.signatures.signature import Signature, priority_of
from imagedelta.signatures.size_code import decode_size

FIXED_BYTES = 1000
"""Config, patch header, seal and the zip around it."""
_NEW_HEADER_BYTES, _KNOWN_HEADER_BYTES = 8.0, 0.05
_LEAST_DELTA, _DELTA_PER_GROWTH, _MOST_DELTA = 0.03, 6.0, 0.85
_OTHER_PATH = 0.02
_PACKED_COST, _PACKED_DELTA = 0.8, 0.95
"""Files that are packed already (zip, png) change everywhere at once."""
_EXAMINED = 500
"""Missing files, largest first, whose predecessor is looked up; the rest is taken to save as much on average."""
_NEAR = 4
"""Predecessors of one name that are tried."""


class Source:
    """A possible source. Its rows stay as they are stored, sorted, so nothing is built per source but a set."""

    def __init__(self, signature: Signature) -> None:
        self.threshold = signature.threshold
        self.layers = frozenset(layer.diff_id for layer in signature.layers)
        self.contents = frozenset(signature.files.contents)
        self._files = signature.files

    def best_part(self, file: _File) -> float:
        """Return what part of the file must be sent if this source has a predecessor of it, else 1.0."""
        keys, sizes, paths = self._files.keys, self._files.sizes, self._files.paths
        first = bisect_left(keys, file.key)
        if first == len(keys) or keys[first] != file.key:
            return 1.0
        last = bisect_right(keys, file.key, first)
        if last - first > _NEAR:  # chunks/1.json to chunks/9999.json: the rows are sorted by size
            middle = bisect_left(sizes, file.size_code, first, last)
            first, last = max(first, middle - _NEAR // 2), min(last, middle + _NEAR // 2)
        return min(file.part_from(paths[row], decode_size(sizes[row])) for row in range(first, last))


class Target:
    """An image to be sent, compared with one set of sources after the other."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._views: dict[float, _View] = {}

    def estimate(self, sources: Sequence[Source]) -> int:
        """Return the estimated bytes of a patch that may use all of ``sources``; none: a full patch."""
        view = self._view(max((source.threshold for source in sources), default=0.0))
        known = frozenset[int]().union(*(view.contents & source.contents for source in sources))
        return round(FIXED_BYTES + self._headers(sources) + view.cost_without(known, sources))

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
    size_code: int
    cost: float
    literal: float
    """Bytes when sent whole, with its header; of the files it stands for, too, in a sample."""

    def part_from(self, path: int, size: int) -> float:
        """Return what part of ``literal`` it costs as a change of that version."""
        if self.cost > _PACKED_COST:
            part = _PACKED_DELTA
        else:
            own = decode_size(self.size_code)
            growth = abs(size - own) / max(size, own)
            part = min(_MOST_DELTA, _LEAST_DELTA + _DELTA_PER_GROWTH * growth)
        return part if path == self.path else part + _OTHER_PATH


class _View:
    """The target's files above a threshold, each weighted for the ones below it."""

    def __init__(self, signature: Signature, threshold: float) -> None:
        files: dict[int, _File] = {}
        for key, code, path, content, cost in signature.files.rows():
            size = decode_size(code)
            if priority_of(size, key) > threshold:
                weight = max(1.0, threshold / size)
                literal = weight * (size * cost / SCALE + _NEW_HEADER_BYTES)
                files[content] = _File(key, path, code, cost / SCALE, literal)
        self._largest_first = sorted(files.items(), key=lambda item: -item[1].literal)
        self._literals = {content: file.literal for content, file in files.items()}
        self._total = sum(self._literals.values())
        self.contents = frozenset(files)

    def cost_without(self, known: frozenset[int], sources: Sequence[Source]) -> float:
        """Return the bytes for all files but the known ones, each as a change of its best predecessor, if any."""
        literal = self._literal_without(known)
        largest = islice((file for content, file in self._largest_first if content not in known), _EXAMINED)
        files = list(largest) if sources else []
        if not files:
            return literal
        parts = [min(source.best_part(file) for source in sources) for file in files]
        examined = sum(file.literal for file in files)
        changed = sum(file.literal * part for file, part in zip(files, parts, strict=True))
        return changed + (literal - examined) * sum(parts) / len(parts)

    def _literal_without(self, known: frozenset[int]) -> float:
        if 2 * len(known) < len(self.contents):
            return self._total - sum(map(self._literals.__getitem__, known))
        return sum(map(self._literals.__getitem__, self.contents - known))
