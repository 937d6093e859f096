"""Result files that appear complete or not at all, and scratch folders that go away, also when a signal comes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from imagedelta import whole_files
from imagedelta.errors import RequestError
from imagedelta_cli.stopping import held


@contextmanager
def whole_file(path: Path, *, replace: bool, private: bool = False) -> Iterator[BinaryIO]:
    """Write a result; see ``imagedelta.whole_files.whole_file``.

    Args:
        replace: Take the place of a file that is there, with its permissions.
        private: The file is for its owner alone, also where it takes the place of another.

    Raises:
        RequestError: ``cli.output_exists``: without ``replace``, a file has come there meanwhile.
    """
    try:
        with whole_files.whole_file(path, mode=0o600 if private else None, replace=replace) as out:
            yield out
    except FileExistsError as error:
        raise RequestError(f"{path} exists", code="cli.output_exists") from error


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
