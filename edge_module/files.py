"""The file port: every byte the module writes goes through it, so power loss can be tested at each write.

Names are relative to the module's root folder, with "/" between parts. What a POSIX file system promises
is all that is relied on: file data is durable after ``sync`` of its writer, an entry of a folder (created,
renamed, removed) after ``sync_folder`` of that folder. A disk that does not do as asked is a DependencyError, also
while reading: ``disk.full``, ``disk.read_only``, ``disk.failing``.

Rule: after a ``sync`` that failed, nothing written since the last good one is believed, and a later good one says
nothing about it: Linux marks the pages clean that it could not write. Who wants them on the disk drops them
(``create``, or ``append`` with ``keep``) and writes them again.
"""

from __future__ import annotations

import errno
import fcntl
import io
import logging
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Literal, NamedTuple, Protocol

from imagedelta.errors import DependencyError, RequestError, UnsafePath

Kind = Literal["file", "folder", "other"]
_CODES = {errno.ENOSPC: "disk.full", errno.EDQUOT: "disk.full", errno.EROFS: "disk.read_only"}
_NOTHING_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
log = logging.getLogger("imagedelta.files")


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
    """Whoever removes a folder of ours while the module runs does no harm: writing makes missing ones again."""

    def create(self, name: str) -> FileWriter:
        """Open for writing, empty; an existing file is emptied."""

    def append(self, name: str, keep: int) -> FileWriter:
        """Open for writing after the first ``keep`` bytes; what stands behind them is dropped."""

    def open(self, name: str) -> BinaryIO:
        """Open for reading, seekable. Raises: FileNotFoundError; DependencyError, also from reading."""

    def rename(self, old: str, new: str) -> None:
        """Replaces ``new`` atomically if it exists."""

    def sync_folder(self, folder: str) -> None:
        """Return when every entry made, renamed or removed in ``folder`` so far is on the disk."""

    def remove(self, name: str) -> None:
        """Remove what stands there, a folder with all that is in it; nothing there is no error."""

    def list(self, folder: str) -> list[str]:
        """Names of the entries of ``folder``, sorted; empty when there is no such folder."""

    def kind(self, name: str) -> Kind | None:
        """What stands there, seen through a link that leads somewhere; None when nothing does."""

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
    """Replace ``name`` so that after power loss it holds the old bytes or ``data``, nothing between.

    Raises: DependencyError; ``name`` then holds the one or the other, and nothing is left beside it.
    """
    temporary = f"{name}.tmp"
    try:
        writer = files.create(temporary)
        try:
            writer.write(data)
            writer.sync()
        finally:
            writer.close()
        files.rename(temporary, name)
    except DependencyError:
        with suppress(DependencyError):  # removed at the next start then
            files.remove(temporary)
        raise
    files.sync_folder(parent(name))


def prepare_folder(files: Files, folder: str) -> None:
    """Make ``folder`` so that others find it.

    A disk that refuses does not keep the module from starting: writing makes the folder later.
    """
    try:
        files.make_folders(folder)
    except DependencyError as error:
        log.error("folder %s cannot be made yet: %s", folder, error)


def open_folder(files: Files, folder: str) -> None:
    """Make a folder of the module's own, and remove what an interrupted ``write_atomically`` left in it.

    A disk that refuses does not keep the module from starting.
    """
    prepare_folder(files, folder)
    try:
        for name in files.list(folder):
            if name.endswith(".tmp"):
                files.remove(f"{folder}/{name}")
    except DependencyError as error:
        log.error("folder %s is not in order: %s", folder, error)


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
    try:
        with files.open(name) as stream:
            return stream.read(limit)
    except FileNotFoundError:
        return None


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
        with _disk_errors(name, but=FileNotFoundError):
            handle = _open_file(self._path(name), os.O_RDONLY)
        return io.BufferedReader(_DiskReader(name, handle))

    def rename(self, old: str, new: str) -> None:
        with _disk_errors(new):
            try:
                self._path(old).replace(self._path(new))
            except FileNotFoundError:
                self._make_folder_of(new)
                self._path(old).replace(self._path(new))

    def sync_folder(self, folder: str) -> None:
        with _disk_errors(folder):
            _sync_path(self._path(folder))

    def remove(self, name: str) -> None:
        path = self._path(name)
        with _disk_errors(name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def list(self, folder: str) -> list[str]:
        with _disk_errors(folder):
            try:
                return sorted(entry.name for entry in self._path(folder).iterdir())
            except (FileNotFoundError, NotADirectoryError):
                return []

    def kind(self, name: str) -> Kind | None:
        path = self._path(name)
        with _disk_errors(name):
            found = _stat(path)
            if found is None:  # a link that leads nowhere is still in the way
                return "other" if path.is_symlink() else None
        if stat.S_ISREG(found.st_mode):
            return "file"
        return "folder" if stat.S_ISDIR(found.st_mode) else "other"

    def size(self, name: str) -> int | None:
        with _disk_errors(name):
            found = _stat(self._path(name))
        return found.st_size if found is not None and stat.S_ISREG(found.st_mode) else None

    def stamp(self, name: str) -> Stamp | None:
        with _disk_errors(name):
            found = _stat(self._path(name))
        if found is None or not stat.S_ISREG(found.st_mode):
            return None
        return Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)

    def make_folders(self, folder: str) -> None:
        with _disk_errors(folder):
            missing = [self._path(folder)]
            while not missing[-1].exists():
                missing.append(missing[-1].parent)
            for path in reversed(missing[:-1]):
                path.mkdir(exist_ok=True)
                _sync_path(path.parent)
            if not self._path(folder).is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "it is no folder", folder)

    def free_bytes(self) -> int:
        with _disk_errors("."):
            return shutil.disk_usage(self._root).free

    def _path(self, name: str) -> Path:
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\0" in name:
            raise UnsafePath(f"{name!r} leaves the module's folder")
        return self._root / pure

    def _writer(self, name: str, flags: int, keep: int | None) -> FileWriter:
        with _disk_errors(name):
            try:
                handle = _open_file(self._path(name), os.O_WRONLY | flags)
            except FileNotFoundError:
                self._make_folder_of(name)
                handle = _open_file(self._path(name), os.O_WRONLY | flags)
            try:
                if keep is not None:
                    os.ftruncate(handle, keep)
                    os.lseek(handle, keep, os.SEEK_SET)
            except OSError:
                os.close(handle)
                raise
        return _DiskWriter(name, handle)

    def _make_folder_of(self, name: str) -> None:
        self.make_folders(parent(name))


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
            with suppress(OSError):  # the handle is closed all the same; what counts was synced before
                os.close(self._handle)


class _DiskReader(io.FileIO):
    """A disk that fails in the middle of a file is a DependencyError there too."""

    def __init__(self, name: str, handle: int) -> None:
        super().__init__(handle, "rb")
        self._of = name

    def readinto(self, buffer: Any, /) -> int:
        with _disk_errors(self._of):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with _disk_errors(self._of):
            return super().readall()


class RootLock:
    """One process per root folder; the lock ends with the process, however it ends."""

    def __init__(self, root: Path, patience_seconds: float = 0.0) -> None:
        """Args:
        patience_seconds: How long one that is just ending is waited for.
        """
        self._root = root
        self._until = time.monotonic() + patience_seconds
        self._handle: int | None = None

    def fileno(self) -> int:
        """For processes that hold the lock as well until they end."""
        if self._handle is None:
            raise ValueError("the folder is not locked")
        return self._handle

    def __enter__(self) -> RootLock:
        """Raises: RequestError ``device.busy`` when another process works in this folder; DependencyError."""
        with _disk_errors(str(self._root)):
            handle = self._open()
            try:
                self._lock(handle)
            except BlockingIOError as error:
                os.close(handle)
                raise RequestError(
                    f"another Image Reconstruction process works in {self._root}", code="device.busy"
                ) from error
            except OSError:
                os.close(handle)
                raise
        self._handle = handle
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _lock(self, handle: int) -> None:
        while True:
            try:
                return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= self._until:
                    raise
                time.sleep(0.1)

    def _open(self) -> int:
        """The lock file; on a disk that takes none, full or read-only, the folder itself."""
        with suppress(OSError):
            self._root.mkdir(parents=True, exist_ok=True)
            return _open_file(self._root / "lock", os.O_RDWR | os.O_CREAT)
        with suppress(OSError):
            return _open_file(self._root / "lock", os.O_RDONLY)
        return os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def disk_error(name: str, error: OSError) -> DependencyError:
    code = _CODES.get(error.errno or 0, "disk.failing")
    return DependencyError(f"{name}: {error.strerror or error}", code=code)


@contextmanager
def _disk_errors(name: str, but: type[OSError] | tuple[()] = ()) -> Iterator[None]:
    try:
        yield
    except but:
        raise
    except OSError as error:
        raise disk_error(name, error) from error


def _open_file(path: Path, flags: int) -> int:
    """A handle of a regular file; a pipe in its place is an error instead of a wait for its other end."""
    handle = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no file", str(path))
    return handle


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError as error:
        if error.errno in _NOTHING_THERE:
            return None
        raise


def _sync_path(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
