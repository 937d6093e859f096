"""A scratch file behind the file port that is written at its end and read anywhere; gone when closed."""

from __future__ import annotations

import io
from typing import BinaryIO, cast

from edge_module.files import Files

SCRATCH = "scratch"
"""Folder of files that are worth nothing after a restart; emptied at start."""


class _ScratchFile(io.RawIOBase):
    """Never synced: it is worth nothing after a restart, when the scratch folder is emptied."""

    def __init__(self, files: Files, name: str) -> None:
        super().__init__()
        self._files = files
        self._name = name
        self._writer = files.create(name)
        self._reader: BinaryIO | None = None
        self._size = 0
        self._position = 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        if self._position != self._size:
            raise io.UnsupportedOperation("a scratch file grows at its end")
        self._writer.write(data)
        self._size += len(data)
        self._position = self._size
        self._forget_reader()
        return len(data)

    def read(self, size: int = -1, /) -> bytes:
        if self._reader is None:
            self._reader = self._files.open(self._name)
        self._reader.seek(self._position)
        data = self._reader.read(size)
        self._position += len(data)
        return data

    def close(self) -> None:
        if self.closed:
            return
        super().close()  # first, so that it is tried once, whatever the disk says
        self._forget_reader()
        self._writer.close()
        self._files.remove(self._name)

    def _forget_reader(self) -> None:
        """Its buffer may hold an end of the file that is none any more."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def open_scratch(files: Files, name: str) -> BinaryIO:
    return cast(BinaryIO, _ScratchFile(files, name))
