"""Result files that appear complete or not at all, and scratch folders that go away, also when a signal comes."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from imagedelta.archives.writing import sync_folder
from imagedelta.errors import RequestError
from imagedelta_cli.stopping import held


@contextmanager
def whole_file(path: Path, *, replace: bool, private: bool = False) -> Iterator[BinaryIO]:
    """Write a file under another name; it gets ``path`` once it is on disk, and is dropped on any error.

    Args:
        replace: Take the place of a file that is there, with its permissions.
        private: A new file is for its owner alone.

    Raises:
        RequestError: ``cli.output_exists``: without ``replace``, a file has come there meanwhile.
    """
    part = path.with_name(f".imagedelta-{secrets.token_hex(8)}.part")
    try:
        with open(part, "x+b", opener=partial(os.open, mode=0o600 if private else 0o666)) as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        _place(part, path, replace)
        sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def _place(part: Path, path: Path, replace: bool) -> None:
    """Rename; a hard link is how a name is taken only if it is free."""
    if replace:
        with suppress(FileNotFoundError):
            part.chmod(stat.S_IMODE(path.stat().st_mode))
        part.replace(path)
        return
    try:
        path.hardlink_to(part)
    except FileExistsError as error:
        raise RequestError(f"{path} exists", code="cli.output_exists") from error
    except OSError as error:  # a file system without hard links: look, then rename
        if path.exists():
            raise RequestError(f"{path} exists", code="cli.output_exists") from error
        part.rename(path)


@contextmanager
def scratch_folder(parent: Path | None) -> Iterator[Path]:
    """Yield a new folder in ``parent``, the system's temporary folder by default; it goes away whatever happens."""
    folder: str | None = None
    try:
        with held():
            folder = tempfile.mkdtemp(prefix="imagedelta-", dir=parent)
        yield Path(folder)
    finally:
        if folder:
            with held():
                shutil.rmtree(folder, ignore_errors=True)
