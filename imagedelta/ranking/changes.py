"""What a changed file costs: a part of its packed size that depends on how like its old version it is.

Two things tell versions that are nearly the same from others: how many values their sketches share, and how near
their sizes are. A library that was only rebuilt keeps its size, and its many differences pack to next to nothing,
even where every second stretch of bytes has one.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

from imagedelta.delta.format.profiles import SECOND_FORMAT
from imagedelta.signatures.file_kind import FileKind
from imagedelta.signatures.old_versions import Closeness
from imagedelta.signatures.summary import Row

_LITERAL = {
    FileKind.OTHER: 0.22,
    FileKind.NATIVE: 0.30,
    FileKind.MANAGED: 0.24,
    FileKind.TEXT: 0.17,
    FileKind.BYTECODE: 0.19,
    FileKind.PACKED: 0.95,
}
"""Packed bytes per plain byte of a new file: ``xz -1`` over 12 MB of each kind from /usr and site-packages of Debian
12, less the tenth that xz -9 over many files gains; .NET assemblies over whole images."""
_SIZE_CHANGES = (0.0, 0.005, 0.02, 0.08)
"""Difference of the sizes as a part of the larger one: up to the first one, the second one, and so on."""
_SHARED = (0.0, 0.19, 0.5, 0.81, 1.0)
"""How much of the content the old version shares; where it seems to be all, ``_ALIKE`` says more."""
_Parts = tuple[tuple[float, ...], ...]
_PARTS: _Parts = (
    (0.40, 0.240, 0.200, 0.045),
    (0.46, 0.300, 0.120, 0.050),
    (0.60, 0.250, 0.170, 0.075),
    (0.70, 0.500, 0.240, 0.110),
    (0.95, 0.750, 0.300, 0.180),
)
"""What part must be sent, by change of size, then by content shared: what a file's own streams pack to, divided by
what the whole file does. Means over the 1,800 files that changed in ten updates of .NET, Python and Node images and of
Debian packages, rounded towards their neighbours where a cell has few files."""
_NATIVE_PARTS: _Parts = (
    (0.17, 0.17, 0.18, 0.135),
    (0.17, 0.17, 0.18, 0.135),
    (0.60, 0.50, 0.35, 0.180),
    (0.80, 0.70, 0.50, 0.300),
    (0.95, 0.85, 0.65, 0.400),
)
"""Addresses change all over, whatever else does."""
_MANAGED_PARTS: _Parts = (
    (0.07, 0.065, 0.065, 0.045),
    (0.70, 0.600, 0.180, 0.100),
    (0.75, 0.600, 0.480, 0.240),
    (0.85, 0.720, 0.600, 0.550),
    (0.95, 0.850, 0.650, 0.600),
)
"""An assembly that was only rebuilt keeps its size, and its many differences pack to next to nothing."""
_PREDICTED_PARTS: _Parts = (
    (0.40, 0.240, 0.160, 0.020),
    (0.46, 0.300, 0.120, 0.030),
    *_PARTS[2:],
)
"""What is left of files of no known kind where references to what moved are predicted: programs, as a rule."""
_PREDICTED_NATIVE_PARTS: _Parts = (
    (0.06, 0.060, 0.060, 0.045),
    (0.10, 0.090, 0.080, 0.060),
    (0.50, 0.400, 0.250, 0.150),
    (0.75, 0.650, 0.450, 0.300),
    (0.95, 0.850, 0.600, 0.400),
)
"""Likewise."""
_PREDICTED_MANAGED_PARTS: _Parts = (
    (0.03, 0.003, 0.003, 0.009),
    (0.25, 0.120, 0.050, 0.030),
    (0.35, 0.220, 0.110, 0.060),
    (0.65, 0.400, 0.160, 0.150),
    (0.92, 0.400, 0.250, 0.250),
)
"""Likewise."""
_PARTS_UNKNOWN = (0.012, 0.033, 0.19, 0.33, 0.90)
"""By change of size, of files without a sketch: small ones mostly."""
_ALIKE_SAME_SIZE, _ALIKE = 1.5, 3.0
"""Of a file whose sketch is that of its old version: times the root of the bytes that the whole file packs to."""
_CHANGED_BYTES = 30
"""Of any changed file: its place in the streams of controls, lengths and headers."""
_OTHER_PATH = 0.02
"""Another path may be another file of that name."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file of the target."""

    row: Row
    size: int
    kind: FileKind
    weight: float
    """How many files it stands for, in a sample."""
    sketch: frozenset[int]
    literal_bytes: float = field(init=False)
    """Bytes when sent whole, of all that it stands for."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "literal_bytes", self.weight * self.size * _LITERAL[self.kind])


@dataclass(frozen=True, slots=True)
class OldVersion:
    """A file of a source, as the old version of another."""

    closeness: Closeness
    size: int
    sketch: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed files cost in a form of patches."""

    _parts_of: Mapping[FileKind, _Parts]
    _alike_same_size: Mapping[FileKind, float]
    """As ``_ALIKE``, where the sizes are equal."""

    def bytes_of(self, file: FileFacts, old: OldVersion) -> float:
        """Return what ``file`` costs as a change of an old version."""
        step = _size_step(file, old)
        if file.sketch and old.sketch:
            shared = _shared(file, old)
            # What is packed already changes from the first difference to its end.
            part = 1 - shared if file.kind is FileKind.PACKED else self._part(file, step, shared)
        else:
            part = _PARTS_UNKNOWN[step] + (_OTHER_PATH if old.closeness.level else 0.0)
        part = max(part, 1 - old.size / file.size)
        return min(file.literal_bytes, file.literal_bytes * part + file.weight * _CHANGED_BYTES)

    def _part(self, file: FileFacts, step: int, shared: float) -> float:
        """Return the part that must be sent, between the two known ones."""
        root = _ALIKE if step else self._alike_same_size.get(file.kind, _ALIKE_SAME_SIZE)
        alike = root / math.sqrt(file.size * _LITERAL[file.kind])
        parts = (*self._parts_of.get(file.kind, _PARTS)[step], alike)
        place = min(bisect_right(_SHARED, shared), len(_SHARED) - 1)
        low, high = _SHARED[place - 1], _SHARED[place]
        return parts[place - 1] + (parts[place] - parts[place - 1]) * (shared - low) / (high - low)


_FIRST = Changes({FileKind.NATIVE: _NATIVE_PARTS, FileKind.MANAGED: _MANAGED_PARTS}, {})
_SECOND = Changes(
    {
        FileKind.OTHER: _PREDICTED_PARTS,
        FileKind.NATIVE: _PREDICTED_NATIVE_PARTS,
        FileKind.MANAGED: _PREDICTED_MANAGED_PARTS,
    },
    {FileKind.NATIVE: 0.7, FileKind.MANAGED: 0.9},
)


def changes_in(profile: str) -> Changes:
    """Return what changed files cost in patches of a profile."""
    return _SECOND if profile.startswith(SECOND_FORMAT) else _FIRST


def _size_step(file: FileFacts, old: OldVersion) -> int:
    """Return how far apart the sizes are, as a row of the table; sizes are known to 0.1 %."""
    return bisect_left(_SIZE_CHANGES, abs(file.size - old.size) / max(file.size, old.size))


def _shared(file: FileFacts, old: OldVersion) -> float:
    """Return how much of the file is in its old version.

    Both sketches hold the smallest hashes of their file. Those of a larger file lie closer together, so that fewer of
    the target's are among them than the old version contains.
    """
    common = len(file.sketch.intersection(old.sketch)) / max(len(file.sketch), len(old.sketch))
    return min(1.0, common * max(1.0, old.size / file.size))
