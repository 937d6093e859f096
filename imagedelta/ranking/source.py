"""A possible source of a patch: which of its files may be old versions of a target's."""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import cached_property

from imagedelta.ranking.changes import FileFacts, OldVersion
from imagedelta.signatures.signature import Signature
from imagedelta.signatures.size_code import decode_size
from imagedelta.signatures.summary import SKETCH_BYTES

_NEAR = 4
"""Predecessors of one name that are tried."""
_SEARCHED, _LEAST_ALIKE = 2, 3
"""Numbers of a sketch that are searched for, and that must be the same: one or two are by chance."""

_COMMON_VALUE = 64
"""Places of a sketch value, beyond which it is not looked at."""


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
        rows = {row for value in sorted(file.sketch)[:_SEARCHED] for row in self._rows_with(value)}
        sketches = ((row, self.files.sketch(row, self._sketch_places)) for row in sorted(rows))
        return [row for row, sketch in sketches if len(file.sketch.intersection(sketch)) >= _LEAST_ALIKE]

    def _rows_with(self, value: int) -> Sequence[int]:
        """Return the rows whose sketch has a value; none if it is in so many that it says nothing."""
        wanted = value.to_bytes(2, sys.byteorder)
        found: list[int] = []
        at = -1
        for _ in range(_COMMON_VALUE):
            at = self._sketch_bytes.find(wanted, at + 1)
            if at < 0:
                return found
            if at % 2 == 0:
                found.append(bisect_right(self._sketch_places, at // SKETCH_BYTES) - 1)
        return []

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
