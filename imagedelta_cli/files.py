"""Result files that appear complete or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from imagedelta.archives.writing import sync_folder


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
