"""The parts of a signature: one record per layer, and columns with one number per file.

Columns of fixed width instead of one object per file: two hundred signatures are compared in a second.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

Row = tuple[int, int, int, int, int]
"""key, size code, path, content, cost: sorted like this, a file's predecessors are found by bisection."""


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
    """One row per distinct file content, sorted by row."""

    TYPECODES: ClassVar[str] = "IHHIB"
    ROW_BYTES: ClassVar[int] = 13

    keys: array[int]
    """``name_key`` of its path, 32 bits."""
    sizes: array[int]
    """``encode_size`` of its size, 16 bits."""
    paths: array[int]
    """``path_hash`` of its path, 16 bits."""
    contents: array[int]
    """First four bytes of its SHA-256, as a little-endian number."""
    costs: array[int]
    """``literal_cost``: packed bytes per plain byte, in 255ths."""

    def __len__(self) -> int:
        return len(self.keys)

    def all(self) -> tuple[array[int], ...]:
        """The columns in the order of storage."""
        return self.keys, self.sizes, self.paths, self.contents, self.costs

    def rows(self) -> Iterator[Row]:
        """One tuple per file, in the same order."""
        return zip(self.keys, self.sizes, self.paths, self.contents, self.costs, strict=True)

    @staticmethod
    def of(rows: Iterable[Row]) -> FileColumns:
        """Make columns of these rows, sorting them."""
        columns = tuple(zip(*sorted(rows), strict=True)) or ((),) * len(FileColumns.TYPECODES)
        return FileColumns(*map(array, FileColumns.TYPECODES, columns))
