"""The parts of a signature: one record per layer, and columns with one number per file.

Columns of fixed width instead of one object per file: two hundred signatures are compared in a second.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar, NamedTuple

from imagedelta.signatures.sketch import MOST_VALUES


class Row(NamedTuple):
    """What is known of a file. In this order rows are sorted, so that namesakes are found by bisection."""

    key: int
    """``name_key`` of its path, 32 bits."""
    size_code: int
    """``encode_size`` of its size, 16 bits."""
    form: int
    """``form_hash`` of its path: in signatures the low 16 bits, for planning all 64."""
    path: int
    """``path_hash`` of its path, likewise."""
    tail: int
    """``tail_hash`` of its path: in signatures the low 8 bits."""
    content: int
    """``content_hash``, 32 bits: equal for files that cost next to nothing as a change of each other."""
    kind: int
    """``FileKind`` of its path, 8 bits."""


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

    TYPECODES: ClassVar[str] = "IHHHBIB"
    ROW_BYTES: ClassVar[int] = 16

    keys: array[int]
    sizes: array[int]
    forms: array[int]
    paths: array[int]
    tails: array[int]
    contents: array[int]
    kinds: array[int]
    sketched_from: int
    """Rows of this size code or a larger one have a sketch."""
    sketches: array[int]
    """Of those rows, in their order: eight numbers of 16 bits, 0 where a file's sketch has fewer values."""

    def __len__(self) -> int:
        return len(self.keys)

    def numbers(self) -> tuple[array[int], ...]:
        """The columns of one number per row, in the order of storage."""
        return self.keys, self.sizes, self.forms, self.paths, self.tails, self.contents, self.kinds

    def rows(self, first: int = 0, end: int | None = None) -> Iterator[Row]:
        """The rows from ``first`` to before ``end``, in the same order."""
        return map(Row._make, zip(*(column[first:end] for column in self.numbers()), strict=True))

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
        keys, sizes, forms, paths, tails, contents, kinds = map(array, FileColumns.TYPECODES, rows)
        sketches = array("H")
        for row, sketch in ordered:
            if row.size_code >= sketched_from:
                sketches.extend((*sketch, *(0,) * (MOST_VALUES - len(sketch))))
        return FileColumns(keys, sizes, forms, paths, tails, contents, kinds, sketched_from, sketches)
