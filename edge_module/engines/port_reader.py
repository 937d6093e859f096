"""Random access to a file behind the file port that is an uncompressed layer."""

from __future__ import annotations

import io

from edge_module.files import Files
from imagedelta.delta.content import check_range
from imagedelta.errors import SourceMissing


class PortReader:
    def __init__(self, files: Files, name: str) -> None:
        """Raises: FileNotFoundError."""
        self._name = name
        self._stream = files.open(name)
        self._size = self._stream.seek(0, io.SEEK_END)

    @property
    def size(self) -> int:
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        """Raises: SourceMissing when the file became shorter; ContentError for bytes it never had."""
        check_range(offset, length, self._size)
        self._stream.seek(offset)
        data = self._stream.read(length)
        if len(data) != length:
            raise SourceMissing(f"{self._name} ends {length - len(data)} bytes early", code="source.different")
        return data

    def close(self) -> None:
        self._stream.close()
