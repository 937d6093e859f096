"""The file port: every byte the module writes goes through it, so power loss can be tested at each write.

Names are relative to the module's root folder, with "/" between parts. What a POSIX file system promises
is all that is relied on: file data is durable after ``sync`` of its writer, an entry of a folder (created,
renamed, removed) after ``sync_folder`` of that folder. A full or failing disk is a DependencyError.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple, Protocol

from imagedelta.errors import DependencyError, RequestError, UnsafePath

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Stamp(NamedTuple):
    """What changes whenever somebody writes to a file, whatever the tool does to its size and its time."""

    size: int
    modified_ns: int
    """Since 1970, by this device's clock or by that of whoever wrote the file."""
    changed_ns: int
    inode: int


class FileWriter(Protocol):
    def write(self, data: bytes, /) -> int: ...
    def sync(self) -> None:
        """Return when everything written so far is on the disk."""

    def close(self) -> None: ...


class Files(Protocol):
    def create(self, name: str) -> FileWriter:
        """Open for writing, empty; an existing file is emptied."""

    def append(self, name: str, keep: int) -> FileWriter:
        """Open for writing after the first ``keep`` bytes; what stands behind them is dropped."""

    def open(self, name: str) -> BinaryIO:
        """Open for reading, seekable. Raises: FileNotFoundError."""

    def rename(self, old: str, new: str) -> None:
        """Replaces ``new`` atomically if it exists."""

    def sync_folder(self, folder: str) -> None:
        """Return when every entry made, renamed or removed in ``folder`` so far is on the disk."""

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""

    def list(self, folder: str) -> list[str]:
        """Names of the entries of ``folder``, sorted; empty when there is no such folder."""

    def size(self, name: str) -> int | None:
        """Bytes of a file; None when there is no such file."""

    def stamp(self, name: str) -> Stamp | None:
        """None when there is no such file, or something else than a file."""

    def make_folders(self, folder: str) -> None:
        """Make ``folder`` and its parents, durably; existing ones are no error."""

    def free_bytes(self) -> int: ...


def parent(name: str) -> str:
    """The folder that holds ``name``; "." for the root itself."""
    return str(PurePosixPath(name).parent)


def write_atomically(files: Files, name: str, data: bytes) -> None:
    """Replace ``name`` so that after power loss it holds the old bytes or ``data``, nothing between."""
    temporary = f"{name}.tmp"
    writer = files.create(temporary)
    try:
        writer.write(data)
        writer.sync()
    finally:
        writer.close()
    files.rename(temporary, name)
    files.sync_folder(parent(name))


def open_folder(files: Files, folder: str) -> None:
    """Make a folder of the module's own, and remove what an interrupted ``write_atomically`` left in it."""
    files.make_folders(folder)
    for name in files.list(folder):
        if name.endswith(".tmp"):
            files.remove(f"{folder}/{name}")


def remove_durably(files: Files, name: str) -> None:
    files.remove(name)
    files.sync_folder(parent(name))


def move_durably(files: Files, old: str, new: str) -> None:
    """Rename across folders; after power loss the file has the old name, the new one or both, never none."""
    files.rename(old, new)
    files.sync_folder(parent(new))
    if parent(old) != parent(new):
        files.sync_folder(parent(old))


def read_bounded(files: Files, name: str, limit: int) -> bytes | None:
    """The bytes of a small file of our own; None when there is none or it is larger than ``limit``."""
    size = files.size(name)
    if size is None or size > limit:
        return None
    with files.open(name) as stream:
        return stream.read(limit)


class DiskFiles:
    """The file port on a real folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def root(self) -> Path:
        return self._root

    def create(self, name: str) -> FileWriter:
        return self._writer(name, os.O_CREAT | os.O_TRUNC, None)

    def append(self, name: str, keep: int) -> FileWriter:
        return self._writer(name, os.O_CREAT, keep)

    def open(self, name: str) -> BinaryIO:
        try:
            return self._path(name).open("rb")
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _disk_error(name, error) from error

    def rename(self, old: str, new: str) -> None:
        with _disk_errors(new):
            self._path(old).replace(self._path(new))

    def sync_folder(self, folder: str) -> None:
        with _disk_errors(folder):
            handle = os.open(self._path(folder), os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def remove(self, name: str) -> None:
        with _disk_errors(name):
            self._path(name).unlink(missing_ok=True)

    def list(self, folder: str) -> list[str]:
        try:
            return sorted(entry.name for entry in self._path(folder).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def size(self, name: str) -> int | None:
        path = self._path(name)
        return path.stat().st_size if path.is_file() else None

    def stamp(self, name: str) -> Stamp | None:
        try:
            found = self._path(name).stat()
        except OSError:
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        return Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)

    def make_folders(self, folder: str) -> None:
        missing = [self._path(folder)]
        while not missing[-1].exists():
            missing.append(missing[-1].parent)
        for path in reversed(missing[:-1]):
            with _disk_errors(folder):
                path.mkdir(exist_ok=True)
                _sync_path(path.parent)

    def free_bytes(self) -> int:
        return shutil.disk_usage(self._root).free

    def _path(self, name: str) -> Path:
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\0" in name:
            raise UnsafePath(f"{name!r} leaves the module's folder")
        return self._root / pure

    def _writer(self, name: str, flags: int, keep: int | None) -> FileWriter:
        with _disk_errors(name):
            handle = os.open(self._path(name), os.O_WRONLY | os.O_CLOEXEC | flags, 0o644)
            try:
                if keep is not None:
                    os.ftruncate(handle, keep)
                    os.lseek(handle, keep, os.SEEK_SET)
            except OSError:
                os.close(handle)
                raise
        return _DiskWriter(name, handle)


class _DiskWriter:
    """Unbuffered: what ``write`` returned for is in the page cache and survives SIGKILL."""

    def __init__(self, name: str, handle: int) -> None:
        self._name = name
        self._handle = handle
        self._open = True

    def write(self, data: bytes, /) -> int:
        view = memoryview(data)
        with _disk_errors(self._name):
            while view:
                view = view[os.write(self._handle, view) :]
        return len(data)

    def sync(self) -> None:
        with _disk_errors(self._name):
            os.fsync(self._handle)

    def close(self) -> None:
        if self._open:
            self._open = False
            os.close(self._handle)


class RootLock:
    """One process per root folder; the lock ends with the process, however it ends."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._handle: int | None = None

    def __enter__(self) -> RootLock:
        """Raises: RequestError ``device.busy`` when another process works in this folder."""
        self._root.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise RequestError(
                f"another Image Reconstruction process works in {self._root}", code="device.busy"
            ) from error
        self._handle = handle
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _sync_path(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _disk_errors(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _disk_error(name, error) from error


def _disk_error(name: str, error: OSError) -> DependencyError:
    code = "disk.full" if error.errno in _FULL else "disk.failing"
    return DependencyError(f"{name}: {error.strerror}", code=code)
