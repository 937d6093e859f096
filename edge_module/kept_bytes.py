"""Small things on their way, which no cut and no restart may cost: the opening of a bundle, a chunk list.

``downloads/<name>``: one line with the version that the bytes are of, then the bytes so far. Replaced atomically, and
not for every few bytes: what a power cut may cost is bounded by ``_SAVE_BYTES``, what a pause costs is nothing.
"""

from __future__ import annotations

import logging
from typing import NoReturn

from edge_module.damage import read_own
from edge_module.files import Files, write_atomically
from edge_module.wrong_bytes import WrongBytes
from imagedelta.errors import DependencyError

_SAVE_BYTES = 64 * 1024
_MAX_LINE = 300
log = logging.getLogger("imagedelta.downloads")


class KeptBytes:
    def __init__(self, files: Files, path: str, version: str, limit: int) -> None:
        """Goes on with what is here of the same version.

        Args:
            version: What changes when the bytes do: an ETag or a digest.
            limit: The most that is ever kept, in bytes.
        """
        self._files = files
        self.path = path
        self._line = version.encode()[:_MAX_LINE] + b"\n"
        self._data = bytearray(self._load(limit))
        self._saved = len(self._data)
        self.inherited = self._saved > 0
        """They were found on the disk, so it may be the disk that spoilt them."""
        self._wrong = WrongBytes()

    @property
    def size(self) -> int:
        return len(self._data)

    @property
    def data(self) -> bytes:
        return bytes(self._data)

    def add(self, piece: bytes) -> None:
        self._data += piece
        if self.size - self._saved >= _SAVE_BYTES:
            self.save()

    def save(self) -> None:
        """Onto the disk, if it takes them: they are in memory anyway, and a patch is what a full disk is told of."""
        if self.size == self._saved:
            return
        try:
            write_atomically(self._files, self.path, self._line + self._data)
            self._saved = self.size
        except DependencyError as error:
            log.warning("%s is kept in memory alone: %s", self.path, error)

    def reject(self, what: str) -> NoReturn:
        """They are wrong: fetch them again.

        Raises: as WrongBytes.note, always.
        """
        data, ours = self.data, self.inherited
        self._data.clear()
        self._saved, self.inherited = 0, False
        self._wrong.note(data, what, blame=not ours)

    def _load(self, limit: int) -> bytes:
        data = read_own(self._files, self.path, limit + _MAX_LINE + 1) or b""
        return data.removeprefix(self._line) if data.startswith(self._line) else b""


def kept_bytes(files: Files, path: str, limit: int) -> bytes:
    """What an earlier run has kept, of whatever version."""
    data = read_own(files, path, limit + _MAX_LINE + 1) or b""
    return data.partition(b"\n")[2]
