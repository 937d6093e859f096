"""The digest of a compiled Python file without its time.

Rebuilding an image compiles its Python files anew: of each, four bytes change, the time of the source file it
was made from (PEP 552). Two such files have the same timeless digest, and each is the other with its own stamp.
"""

from __future__ import annotations

import hashlib

_HEAD = 16
_FLAGS = slice(4, 8)
_STAMP = slice(8, 12)
_TIMESTAMP_BASED = bytes(4)


def may_be_timeless(path: bytes, size: int) -> bool:
    """Whether the member's data is worth looking at."""
    return path.endswith(b".pyc") and size >= _HEAD


class TimelessHash:
    """Takes the data of one file, front to back."""

    def __init__(self) -> None:
        self._head = b""
        self._hash = hashlib.sha256()
        self._applies = True
        self.stamp = 0
        """The source's time as stored: a little-endian u32. 0 when there is no timeless digest."""

    def update(self, piece: bytes | memoryview) -> None:
        """Take the next bytes."""
        missing = _HEAD - len(self._head)
        if missing > 0:
            self._head += piece[:missing]
            piece = piece[missing:]
            if len(self._head) < _HEAD:
                return
            self._take_head()
        if self._applies:
            self._hash.update(piece)

    def digest(self) -> bytes:
        """Return SHA-256 of the data with its time taken as zero; nothing when it has no time."""
        return self._hash.digest() if self._applies and len(self._head) == _HEAD else b""

    def _take_head(self) -> None:
        self._applies = self._head[_FLAGS] == _TIMESTAMP_BASED
        if self._applies:
            self.stamp = int.from_bytes(self._head[_STAMP], "little")
            self._hash.update(self._head[: _STAMP.start] + bytes(4) + self._head[_STAMP.stop :])
