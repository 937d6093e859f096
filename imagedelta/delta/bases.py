"""Where a target file's bytes may come from in the sources: the same content, or a file it resembles.

A base is chosen by path, then by name, then by path and name without digits (``libicu.so.72`` and
``libicu.so.76``); upper layers of the first source win, because they are what the source image shows.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from imagedelta.delta.content import ImageContent
from imagedelta.signatures.index import FileEntry

_DIGITS = re.compile(rb"[0-9]+")
_MAX_COMPARED = 64
"""Candidates of one name that are compared: ``index.js`` may occur thousands of times."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file in a source layer."""

    diff_id: str
    path: bytes
    offset: int
    size: int


class SourceFiles:
    """All files of all sources, findable by content and by likeness."""

    def __init__(self, sources: Sequence[ImageContent]) -> None:
        self._by_content: dict[tuple[bytes, int], SourceFile] = {}
        self._by_path: dict[bytes, SourceFile] = {}
        self._by_name: defaultdict[bytes, list[SourceFile]] = defaultdict(list)
        self._by_path_form: defaultdict[bytes, list[SourceFile]] = defaultdict(list)
        self._by_name_form: defaultdict[bytes, list[SourceFile]] = defaultdict(list)
        for diff_id, entry in _entries(sources):
            self._add(SourceFile(diff_id, entry.path, entry.offset, entry.size), entry.digest)

    def same_content(self, entry: FileEntry) -> SourceFile | None:
        """Return a file with the same bytes."""
        return self._by_content.get((entry.digest, entry.size))

    def like(self, entry: FileEntry) -> SourceFile | None:
        """Return the file most likely to be an earlier or later version of ``entry``."""
        found = self._by_path.get(entry.path)
        if found:
            return found
        name = _name(entry.path)
        groups = (
            self._by_name.get(name),
            self._by_path_form.get(_form(entry.path)),
            self._by_name_form.get(_form(name)),
        )
        return next((_nearest(entry, group) for group in groups if group), None)

    def _add(self, file: SourceFile, digest: bytes) -> None:
        self._by_content.setdefault((digest, file.size), file)
        self._by_path.setdefault(file.path, file)
        name = _name(file.path)
        self._by_name[name].append(file)
        self._by_path_form[_form(file.path)].append(file)
        self._by_name_form[_form(name)].append(file)


def _entries(sources: Sequence[ImageContent]) -> Iterable[tuple[str, FileEntry]]:
    seen = set()
    for source in sources:
        for layer in reversed(source.layers):
            if layer.index.diff_id in seen:
                continue
            seen.add(layer.index.diff_id)
            yield from ((layer.index.diff_id, entry) for entry in layer.index.entries if entry.size)


def _nearest(entry: FileEntry, candidates: Sequence[SourceFile]) -> SourceFile:
    """Return the candidate that shares most folder names, then the one nearest in size, then the first."""
    folders = set(entry.path.split(b"/"))

    def distance(file: SourceFile) -> tuple[int, int]:
        return -len(folders.intersection(file.path.split(b"/"))), abs(file.size - entry.size)

    return min(candidates[:_MAX_COMPARED], key=distance)


def _name(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]


def _form(path: bytes) -> bytes:
    return _DIGITS.sub(b"#", path)
