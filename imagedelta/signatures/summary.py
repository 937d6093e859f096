"""The parts of a signature: one record per layer, and columns with one number per file.

Columns of fixed width instead of one object per file: two hundred signatures are compared in a second.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

from imagedelta.signatures.sketch import MOST_VALUES

Row = tuple[int, int, int, int, int]
"""key, size code, path, content, kind: sorted like this, a file's predecessors are found by bisection."""
Sketch = tuple[int, ...]
"""Low 16 bits of each value of a file's sketch."""
SKETCH_BYTES = 2 * MOST_VALUES


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """One layer, so that a layer which both images have costs nothing."""

    diff_id: str
    size: int
    """Bytes of the uncompressed tar."""
    members: int
    """Members of the tar: each has a header that a patch must carry when the layer is new."""


@dataclass(frozen=True, slots=True)
class FileColumns:
    """One row per distinct file content, sorted by row; sketches of the larger files."""

    TYPECODES: ClassVar[str] = "IHHIB"
    ROW_BYTES: ClassVar[int] = 13

    keys: array[int]
    """``name_key`` of its path, 32 bits."""
    sizes: array[int]
    """``encode_size`` of its size, 16 bits."""
    paths: array[int]
    """``path_hash`` of its path, 16 bits."""
    contents: array[int]
    """``content_hash``, 32 bits: equal for files that cost next to nothing as a change of each other."""
    kinds: array[int]
    """``FileKind`` of its path."""
    sketched_from: int
    """Rows of this size code or a larger one have a sketch."""
    sketches: array[int]
    """Of those rows, in their order: eight numbers of 16 bits, 0 where a file's sketch has fewer values."""

    def __len__(self) -> int:
        return len(self.keys)

    def numbers(self) -> tuple[array[int], ...]:
        """The columns of one number per row, in the order of storage."""
        return self.keys, self.sizes, self.paths, self.contents, self.kinds

    def rows(self) -> Iterator[Row]:
        """One tuple per file, in the same order."""
        return zip(self.keys, self.sizes, self.paths, self.contents, self.kinds, strict=True)

    def sketch_places(self) -> Sequence[int]:
        """Return for each row which of the sketches is its own, and one more: how many there are."""
        return array("I", accumulate(map(self.sketched_from.__le__, self.sizes), initial=0))

    def sketch(self, row: int, places: Sequence[int]) -> Sketch:
        """Return a row's sketch without its zeros; empty when it has none."""
        first, last = MOST_VALUES * places[row], MOST_VALUES * places[row + 1]
        return tuple(filter(None, self.sketches[first:last]))

    @staticmethod
    def of(files: Iterable[tuple[Row, Sketch]], sketched_from: int) -> FileColumns:
        """Make columns of these rows, sorting them."""
        ordered = sorted(files)
        rows = zip(*(row for row, _ in ordered), strict=True) if ordered else ((),) * len(FileColumns.TYPECODES)
        keys, sizes, paths, contents, kinds = map(array, FileColumns.TYPECODES, rows)
        sketches = array("H")
        for row, sketch in ordered:
            if row[1] >= sketched_from:
                sketches.extend((*sketch, *(0,) * (MOST_VALUES - len(sketch))))
        return FileColumns(keys, sizes, paths, contents, kinds, sketched_from, sketches)
