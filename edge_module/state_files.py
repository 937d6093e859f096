"""Small JSON files of the module's own: read with their types and within bounds, replaced whole, a folder of one kind.

One rule for all of them: a file that is not what it should be (empty, cut, garbage, a flipped bit, other types, nested
without end, huge, no file at all, unreadable) is set aside and told, and the module goes on as if it were missing.
Fields that this version does not know are ignored.

The last field, ``crc32``, is that of the file without it; without it a file is believed as it is: a person or an older
version wrote it.

Source: docs/formats/device-store.md, sections 9 and 11.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from contracts.refusals import first_problem
from edge_module.damage import DamageLog
from edge_module.files import Files, read_bounded, remove_durably, write_atomically
from imagedelta.errors import ContentError, DependencyError

_TRIES = 3
_CHECK = re.compile(rb',"crc32":"([0-9a-f]{8})"\}\s*')
_CHECK_BYTES = 32
_JSON_FILE = re.compile(r"[^.].*\.json", re.DOTALL)
T = TypeVar("T")


class StateFiles(Generic[T]):
    def __init__(self, files: Files, folder: str, adapter: TypeAdapter[T], max_bytes: int, damage: DamageLog) -> None:
        """Args:
        adapter: Of the one type that every file holds.
        max_bytes: Of a file; a larger one is not read.
        """
        self._files = files
        self._folder = folder
        self._adapter = adapter
        self._max_bytes = max_bytes
        self._damage = damage
        damage.open_folder(folder)

    def names(self) -> list[str]:
        """Whatever is named as such a file, sorted. Raises: DependencyError."""
        return _again(lambda: [name for name in self._files.list(self._folder) if _JSON_FILE.fullmatch(name)])

    def exists(self, name: str) -> bool:
        """Raises: DependencyError."""
        return _again(lambda: self._files.kind(self._path(name))) is not None

    def read(self, name: str, without: str) -> T | None:
        """What the file holds; None when there is none, or it was damaged and is told.

        Args:
            without: What the module does when it is damaged, for people.

        Raises: DependencyError when it cannot be read and stands there still, so that it may be read another time.
        """
        path = self._path(name)
        try:
            data, problem = _again(lambda: self._load(path))
        except DependencyError as error:
            if self._damage.set_aside(path, str(error), without):
                return None
            raise
        if data is not None:
            try:
                return self._adapter.validate_json(_without_check(data), strict=True)
            except ValidationError as error:
                problem = describe(error)
            except ContentError as error:
                problem = str(error)
        if problem:
            self._damage.set_aside(path, problem, without)
        return None

    def write(self, name: str, value: T) -> None:
        """Return when ``value`` is on the disk.

        Raises: ContentError when it could not be read again; DependencyError.
        """
        path = self._path(name)
        data = _with_check(self._adapter.dump_json(self.checked(value), by_alias=True, exclude_none=True))
        if len(data) > self._max_bytes:
            raise ContentError(f"{path}: {len(data)} bytes, at most {self._max_bytes}")
        try:
            if self._files.kind(path) not in (None, "file"):
                self._damage.set_aside(path, "it is no file", "it is written anew")
            write_atomically(self._files, path, data)
        except DependencyError as error:
            self._damage.disk_answered(error)
            raise
        self._damage.disk_answered(None)

    def checked(self, value: T) -> T:
        """Raises: ContentError when a field is not what it may be."""
        try:
            return self._adapter.validate_python(value)
        except ValidationError as error:
            raise ContentError(describe(error)) from error

    def remove(self, name: str) -> None:
        """Raises: DependencyError."""
        remove_durably(self._files, self._path(name))

    def _load(self, path: str) -> tuple[bytes | None, str]:
        """The bytes, or what is wrong; neither when there is nothing."""
        kind = self._files.kind(path)
        if kind is None:
            return None, ""
        if kind != "file":
            return None, "it is a folder" if kind == "folder" else "it is no file"
        size = self._files.size(path) or 0
        if size > self._max_bytes:
            return None, f"it has {size} bytes, at most {self._max_bytes} are expected"
        data = read_bounded(self._files, path, self._max_bytes)
        return (data, "") if data else (None, "it is empty")  # a file that is gone by now counts as empty

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}"


def _with_check(document: bytes) -> bytes:
    """A document that is an object with at least one field."""
    return document[:-1] + b',"crc32":"%08x"}' % zlib.crc32(document)


def _without_check(data: bytes) -> bytes:
    """Raises: ContentError when it does not fit: a flipped bit would make another number, and a good bundle refused."""
    found = _CHECK.search(data, max(0, len(data) - _CHECK_BYTES))
    if found is None or found.end() != len(data):
        return data
    document = data[: found.start()] + b"}"
    if zlib.crc32(document) != int(found[1], 16):
        raise ContentError("its crc32 does not fit")
    return document


def describe(error: ValidationError) -> str:
    """The first thing that is wrong, with the field it is wrong in."""
    where, problem = first_problem(error)
    return f"{where}: {problem}" if where else problem


_R = TypeVar("_R")


def _again(attempt: Callable[[], _R]) -> _R:
    """A disk that fails once may answer when it is asked again."""
    for _ in range(_TRIES - 1):
        try:
            return attempt()
        except DependencyError:
            continue
    return attempt()
