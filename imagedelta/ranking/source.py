"""A possible source of a patch: which of its files is the old version of a target's."""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import cached_property

from imagedelta.ranking.changes import FileFacts, OldVersion
from imagedelta.signatures.old_versions import COMMON_VALUE, Closeness, Namesakes, closeness_by_content
from imagedelta.signatures.signature import Signature
from imagedelta.signatures.size_code import decode_size
from imagedelta.signatures.summary import SKETCH_BYTES

_SEARCHED, _LEAST_ALIKE = 2, 3
"""Numbers of a sketch that are searched for, and that must be the same: one or two of 16 bits are by chance."""


class Source:
    """A possible source. Its rows stay as they are stored, sorted, so little is built per source."""

    def __init__(self, signature: Signature) -> None:
        self.threshold = signature.threshold
        self.layers = frozenset(layer.diff_id for layer in signature.layers)
        self.files = signature.files
        self._namesakes: dict[int, tuple[int, Namesakes | None]] = {}
        """By key: the first row, and all of them."""

    def namesake(self, file: FileFacts) -> OldVersion | None:
        """Return the old version of a file by its name."""
        first, namesakes = self._namesakes_of(file.row.key)
        found = namesakes.closest(file.row) if namesakes else None
        return self._old_version(found[0], first + found[1]) if found else None

    def alike(self, file: FileFacts) -> OldVersion | None:
        """Return the file that shares most of this one's content, whatever it is called."""
        rows = {row for value in sorted(file.sketch)[:_SEARCHED] for row in self._rows_with(value)}
        shared = {row: len(file.sketch.intersection(self.files.sketch(row, self._sketch_places))) for row in rows}
        found = (
            (closeness_by_content(file.row, next(self.files.rows(row, row + 1)), count), row)
            for row, count in shared.items()
            if count >= _LEAST_ALIKE
        )
        best = min(found, default=None)
        return self._old_version(*best) if best else None

    def _namesakes_of(self, key: int) -> tuple[int, Namesakes | None]:
        if key not in self._namesakes:
            first = bisect_left(self.files.keys, key)
            end = bisect_right(self.files.keys, key, first)
            self._namesakes[key] = first, Namesakes(list(self.files.rows(first, end))) if first < end else None
        return self._namesakes[key]

    def _rows_with(self, value: int) -> Sequence[int]:
        """Return the rows whose sketch has a value; none if it is in so many that it says nothing."""
        wanted = value.to_bytes(2, sys.byteorder)
        found: list[int] = []
        at = -1
        for _ in range(COMMON_VALUE):
            at = self._sketch_bytes.find(wanted, at + 1)
            if at < 0:
                return found
            if at % 2 == 0:
                found.append(bisect_right(self._sketch_places, at // SKETCH_BYTES) - 1)
        return []

    def _old_version(self, closeness: Closeness, row: int) -> OldVersion:
        size = decode_size(closeness.size_code)
        return OldVersion(closeness, size, self.files.sketch(row, self._sketch_places))

    @cached_property
    def _sketch_places(self) -> Sequence[int]:
        return self.files.sketch_places()

    @cached_property
    def _sketch_bytes(self) -> bytes:
        return self.files.sketches.tobytes()
