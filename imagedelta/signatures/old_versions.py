"""Which file of a source is a file's old version: the one that ranking estimates with is the one a patch starts from.

Files are *namesakes* when the last two parts of their paths are the same, but for what changes from version to version.
A file's old version is its namesake of the same path; else one whose whole path is the same but for its changing parts,
so that an ``__init__.py`` of ``python3.12/`` starts from its own one of ``python3.11/``; else one whose last four parts
are, for the folders above may have moved; else any namesake. Of several it is the nearest in size. Without a namesake
it is the file whose content shares most, if that is more than chance.

Not here: how candidates are found (imagedelta.ranking.source, imagedelta.delta.encode.bases).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from imagedelta.signatures.summary import Row

COMMON_VALUE = 64
"""A sketch value that more files have says nothing."""
_LEVELS = 4
"""Of names."""
_BY_CONTENT = _LEVELS
_FEW = 8
"""Namesakes that are compared one by one, which is what most files have; there may be thousands."""


class Closeness(NamedTuple):
    """How well an old version fits; the smallest of all sources is taken."""

    level: int
    """0: the same path. 1: the same but for its changing parts. 2 and 3: the last four, the last two parts are the same
    but for those. 4: content alone."""
    missing: int
    """Level 4: minus the values that both sketches have; else 0."""
    size_difference: int
    """Of the size codes, which is relative where files are large."""
    size_code: int
    content: int
    """Of the old version: they decide between equals, whatever the order of files and sources."""


class Namesakes:
    """The files of a source that are namesakes of each other."""

    def __init__(self, rows: Sequence[Row]) -> None:
        """Args:
        rows: In any order.
        """
        self._rows = rows

    def closest(self, file: Row) -> tuple[Closeness, int] | None:
        """Return the best old version of a file: how close it is, and which of the rows."""
        few = len(self._rows) <= _FEW
        near = range(len(self._rows)) if few else self._on_the_first_level(file)
        rows = ((self._rows[place], place) for place in near)
        return min(((_closeness(file, row, _level(file, row)), place) for row, place in rows), default=None)

    def _on_the_first_level(self, file: Row) -> Iterable[int]:
        for level, shared in zip(self._levels, _names(file), strict=True):
            if shared in level:
                return self._nearest(level[shared], file.size_code)
        return ()

    @cached_property
    def _levels(self) -> Sequence[Mapping[Hashable, Sequence[int]]]:
        """Places of rows by what they share, in the order of size and content."""
        levels = [defaultdict[Hashable, list[int]](list) for _ in range(_LEVELS)]
        for place in sorted(range(len(self._rows)), key=self._size_and_content):
            for level, shared in zip(levels, _names(self._rows[place]), strict=True):
                level[shared].append(place)
        return levels

    def _nearest(self, places: Sequence[int], size_code: int) -> Iterable[int]:
        """Return the first of the next smaller size, and the first of the same or the next larger one."""
        after = bisect_left(places, size_code, key=self._size_code)
        if after < len(places):
            yield places[after]
        if after:
            yield places[bisect_left(places, self._size_code(places[after - 1]), key=self._size_code)]

    def _size_code(self, place: int) -> int:
        return self._rows[place].size_code

    def _size_and_content(self, place: int) -> tuple[int, int]:
        return self._rows[place].size_code, self._rows[place].content


def closeness_by_content(file: Row, old: Row, shared: int) -> Closeness:
    """Return how close a file is whose sketch shares so many values."""
    return _closeness(file, old, _BY_CONTENT, shared)


def _closeness(file: Row, old: Row, level: int, shared: int = 0) -> Closeness:
    return Closeness(level, -shared, abs(old.size_code - file.size_code), old.size_code, old.content)


def _level(file: Row, namesake: Row) -> int:
    for level, (one, other) in enumerate(zip(_names(file), _names(namesake), strict=True)):
        if one == other:
            return level
    return _BY_CONTENT


def _names(row: Row) -> tuple[Hashable, ...]:
    """Return what the old version has to share at each level, strictest first."""
    return (row.path, row.form), row.form, row.tail, row.key
