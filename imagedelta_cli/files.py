"""Result files that appear complete or not at all, and scratch folders that go away, also when a signal comes."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from imagedelta.archives.writing import sync_folder
from imagedelta_cli.stopping import held


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file under another name; it gets ``path`` once it is on disk, and is dropped on any error."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w+b") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
        sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


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
