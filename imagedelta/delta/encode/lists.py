"""Lists of installed files with their digests, as dpkg and pip keep them: which digests the device can fill in.

Those of files that the patch makes before the list does. In their place is coded what the old list has there, so that
a line whose file changed costs nothing but the number of that file.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from imagedelta.delta.content import Extent, LayerContent
from imagedelta.delta.encode.plan import Choice, FilePlan, LayerPlan, PatchPlan
from imagedelta.delta.format.listed import (
    LENGTHS,
    MARKS,
    MAX_FILLS,
    MAX_LISTED,
    NO_MARKS,
    Fill,
    Form,
    Mark,
    write_fills,
    written,
)
from imagedelta.limits import MIB

_LARGEST_LIST = 4 * MIB
_DPKG, _PIP = b".md5sums", b"/RECORD"
_DPKG_LINE = re.compile(rb"^(?P<digest>[0-9a-f]{32})  (?P<path>.+)$", re.MULTILINE)
_PIP_LINE = re.compile(rb"^(?P<path>[^\n]+),sha256=(?P<digest>[A-Za-z0-9_-]{43}),[0-9]*\r?$", re.MULTILINE)
_MERGED = b"usr/"
"""Where what dpkg calls /bin, /lib and /sbin is."""
_LEAST_FILLS = 3
"""Fewer save less than they take."""
_LARGEST_READ, _MOST_READ = 4 * MIB, 32 * MIB
"""Of a file, and of all, for their MD5: each step of a split build that makes chunks reads them."""
_MADE = (Choice.CHANGED, Choice.NEW, Choice.STAMPED, Choice.KEPT)
"""What the device makes anyway, and so can take the digest of; other files it need not read."""


class Place(NamedTuple):
    """Which file of a plan: the number of its layer, and its own in that."""

    layer: int
    file: int


class Line(NamedTuple):
    """A digest in a list, and of what file."""

    at: int
    digest: bytes
    path: bytes


@dataclass(frozen=True, slots=True)
class _Found:
    """A digest that can be filled in."""

    at: int
    form: Form
    of: Place
    old: bytes
    """What is coded in its place."""


def with_lists(plan: PatchPlan) -> PatchPlan:
    """Return the plan with the digests that are filled in; lists, and files of dpkg that they name, are read."""
    found = dict(_Lists(plan).found())
    marks: dict[Place, Mark] = defaultdict(lambda: NO_MARKS)
    for digests in found.values():
        for one in digests:
            marks[one.of] |= MARKS[one.form]
    numbers = {place: number for number, place in enumerate(sorted(marks)[:MAX_LISTED])}
    kept = {place: [one for one in digests if one.of in numbers][:MAX_FILLS] for place, digests in found.items()}
    if sum(map(len, kept.values())) < _LEAST_FILLS:
        return plan
    return replace(plan, rebuilt=tuple(_layers(plan, kept, marks, numbers)))


def _layers(
    plan: PatchPlan, found: Mapping[Place, list[_Found]], marks: Mapping[Place, Mark], numbers: Mapping[Place, int]
) -> Iterator[LayerPlan]:
    for layer, each in enumerate(plan.rebuilt):
        files = list(each.files)
        for place in numbers:
            if place.layer == layer:
                files[place.file] = replace(files[place.file], marks=marks[place])
        for place, digests in found.items():
            if place.layer == layer and digests:
                files[place.file] = _filled(each.layer, files[place.file], digests, numbers)
        yield LayerPlan(each.layer, tuple(files))


def _filled(layer: LayerContent, file: FilePlan, found: list[_Found], numbers: Mapping[Place, int]) -> FilePlan:
    blanked = bytearray(_data(layer, file).whole())
    for one in found:
        blanked[one.at : one.at + LENGTHS[one.form]] = one.old
    fills = write_fills(Fill(one.at, one.form, numbers[one.of]) for one in found)
    return replace(file, marks=file.marks | Mark.FILLED, fills=fills, blanked=bytes(blanked))


class _Lists:
    """The lists of a plan, and the files that they may name."""

    def __init__(self, plan: PatchPlan) -> None:
        self._plan = plan
        self._by_path: dict[bytes, list[Place]] = defaultdict(list)
        self._md5: dict[Place, bytes] = {}
        self._to_read = _MOST_READ

    def found(self) -> Iterator[tuple[Place, list[_Found]]]:
        """Yield the lists with the digests in them that the device can fill in; all digests in their order."""
        for layer, each in enumerate(self._plan.rebuilt):
            for number, file in enumerate(each.files):
                place = Place(layer, number)
                if _is_list(file):
                    yield place, list(self._in_list(each.layer, file))
                if file.choice in _MADE:
                    self._by_path[file.entry.path].append(place)

    def _in_list(self, layer: LayerContent, file: FilePlan) -> Iterator[_Found]:
        is_dpkg = file.entry.path.endswith(_DPKG)
        old = {line.path: line.digest for line in _lines(file.base.data, is_dpkg)} if file.base else {}
        folder = b"" if is_dpkg else posixpath.dirname(posixpath.dirname(file.entry.path))
        form = Form.MD5 if is_dpkg else Form.SHA256_BASE64
        for at, digest, path in _lines(_data(layer, file), is_dpkg):
            if old.get(path) == digest:
                continue
            place = self._place(posixpath.normpath(posixpath.join(folder, path)), form, digest)
            if place:
                yield _Found(at, form, place, old.get(path, b"0" * LENGTHS[form]))

    def _place(self, path: bytes, form: Form, digest: bytes) -> Place | None:
        """Return the file of a path that has a digest, if it is made before."""
        paths = (path, _MERGED + path) if form is Form.MD5 else (path,)
        places = (place for each in paths for place in reversed(self._by_path.get(each, ())))
        return next((place for place in places if written(form, self._digest(place, form)) == digest), None)

    def _digest(self, place: Place, form: Form) -> bytes:
        plan = self._plan.rebuilt[place.layer]
        file = plan.files[place.file]
        if form is not Form.MD5:
            return file.entry.digest
        if place not in self._md5:
            self._md5[place] = self._read_md5(_data(plan.layer, file))
        return self._md5[place]

    def _read_md5(self, data: Extent) -> bytes:
        """Return the MD5 of a file, or nothing where that takes too much reading."""
        if data.size > min(_LARGEST_READ, self._to_read):
            return b""
        self._to_read -= data.size
        digest = hashlib.md5(usedforsecurity=False)
        for piece in data.pieces(0, data.size):
            digest.update(piece)
        return digest.digest()


def _is_list(file: FilePlan) -> bool:
    return file.is_diffed and file.entry.size <= _LARGEST_LIST and file.entry.path.endswith((_DPKG, _PIP))


def _lines(data: Extent, is_dpkg: bool) -> Iterator[Line]:
    if data.size <= _LARGEST_LIST:
        for found in (_DPKG_LINE if is_dpkg else _PIP_LINE).finditer(data.whole()):
            yield Line(found.start("digest"), found["digest"], found["path"])


def _data(layer: LayerContent, file: FilePlan) -> Extent:
    return Extent(layer.reader, file.entry.offset, file.entry.size)
