"""Files that are whole or absent, also after a power cut: another name, fsync, rename, fsync of the folder.

Not here: the device's files (edge_module.files), whose every write goes through a port that tests can cut.
"""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_NEW_FILE = 0o666
"""Permissions before the umask, as of ``open``."""
_numbers = itertools.count()


@contextmanager
def whole_file(path: Path, *, mode: int | None = None, replace: bool = True) -> Iterator[BinaryIO]:
    """Write a file under another name; it gets ``path`` once it is on disk, and is dropped on any error.

    Args:
        mode: Permissions; by default those of the file that is replaced, or what the umask leaves a new one.
        replace: Take the place of a file that is there.

    Raises:
        FileExistsError: Without ``replace``, there is a file at the end.
    """
    temporary, stream = _create_beside(path, _NEW_FILE if mode is None else mode)
    try:
        with stream:
            yield stream
            if replace and mode is None:
                with suppress(FileNotFoundError):
                    temporary.chmod(stat.S_IMODE(path.stat().st_mode))
            publish(stream, temporary, path, replace=replace)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Replace ``path`` by ``content``; see ``whole_file``."""
    with whole_file(path, mode=mode) as stream:
        stream.write(content)


def publish(stream: BinaryIO, temporary: Path, path: Path, *, replace: bool) -> None:
    """Give a complete file its name, for good; its temporary name may stay.

    Raises:
        FileExistsError: Without ``replace``, there is a file.
    """
    stream.flush()
    os.fsync(stream.fileno())
    if replace:
        temporary.replace(path)
    else:
        _take_free_name(temporary, path)
    try:
        sync_folder(path.parent)
    except OSError:
        if not replace:
            path.unlink()  # it may be gone after a power cut, so nobody shall count on it
        raise


def make_folder(folder: Path) -> None:
    """Make a folder and its parents; existing ones are no error."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make every name that was made, changed or removed in ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _create_beside(path: Path, mode: int) -> tuple[Path, BinaryIO]:
    while True:
        temporary = path.with_name(f".imagedelta-{os.getpid()}-{next(_numbers)}.tmp")
        with suppress(FileExistsError):  # left by a process of this number that was killed
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            return temporary, os.fdopen(descriptor, "w+b")


def _take_free_name(temporary: Path, path: Path) -> None:
    """Take a name only if it is free: a hard link is the one step that says so."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError as error:  # a file system without hard links: look, then rename
        if path.exists():
            raise FileExistsError(f"{path} exists") from error
        temporary.rename(path)
