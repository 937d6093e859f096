"""Which files of an image its signature holds, and of which of them a sketch, within the bytes it may have.

A file is kept when ``priority_of`` is above the image's threshold, and since the priority depends on the file
alone, two images keep the same ones of the files they share. The bytes left out are made up for by weighing
(priority sampling: Duffield, Lund, Thorup, "Priority sampling for estimation of arbitrary subset sums").
"""

from __future__ import annotations

from collections.abc import Sequence

from imagedelta.signatures.size_code import decode_size, encode_size
from imagedelta.signatures.sketch import SMALLEST
from imagedelta.signatures.summary import SKETCH_BYTES, FileColumns, Row, Sketch

SKETCHED_FROM = encode_size(SMALLEST)
"""Smaller files have no sketch in the file index."""
_KEY_SPAN = float(1 << 32)

SketchedRow = tuple[Row, Sketch]


def priority_of(size: int, key: int) -> float:
    """Return the sampling priority of a file: its size over a number in (0, 1] that its name decides."""
    return size * _KEY_SPAN / (key + 1)


def sample(files: Sequence[SketchedRow], room: int) -> tuple[float, FileColumns]:
    """Choose what fits into ``room`` bytes: rows, of which sketches may take a third, then sketches of the largest.

    Returns:
        The priority above which all files are kept, 0.0 when none is left out; and the columns.
    """
    sketchable = sum(row.size_code >= SKETCHED_FROM for row, _ in files)
    for_sketches = min(sketchable, room // 3 // SKETCH_BYTES)
    threshold, kept = _highest(files, (room - for_sketches * SKETCH_BYTES) // FileColumns.ROW_BYTES)
    left = room - len(kept) * FileColumns.ROW_BYTES
    return threshold, FileColumns.of(kept, _sketched_from([row.size_code for row, _ in kept], left // SKETCH_BYTES))


def _sketched_from(codes: Sequence[int], room: int) -> int:
    """Return the smallest size code from which at most ``room`` files have a sketch."""
    ordered = sorted((code for code in codes if code >= SKETCHED_FROM), reverse=True)
    return SKETCHED_FROM if len(ordered) <= room else ordered[room] + 1


def _highest(files: Sequence[SketchedRow], room: int) -> tuple[float, Sequence[SketchedRow]]:
    """Keep the ``room`` files of highest priority, and say above which priority all are kept."""
    if len(files) <= room:
        return 0.0, files
    by_priority = sorted(files, key=_priority, reverse=True)
    threshold = _priority(by_priority[room])
    return threshold, [file for file in by_priority[:room] if _priority(file) > threshold]


def _priority(file: SketchedRow) -> float:
    row, _ = file
    return priority_of(decode_size(row.size_code), row.key)
