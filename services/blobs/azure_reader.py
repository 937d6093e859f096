"""A blob as a seekable file: read ahead by Range, more at a time the longer it is read in order."""

from __future__ import annotations

import io
from typing import BinaryIO

from services.blobs.azure_account import Account
from services.ports import BlobInfo

FIRST_BYTES = 256 << 10
MOST_BYTES = 4 << 20
_SMALL_READS = 64 << 10


def open_blob(account: Account, container: str, blob: BlobInfo) -> BinaryIO:
    """A reader of exactly this version of the blob; for one thread."""
    return io.BufferedReader(_BlobReader(account, container, blob), _SMALL_READS)


class _BlobReader(io.RawIOBase):
    """Keeps the bytes of the last request. After a jump it begins small: a tar's headers lie far apart."""

    def __init__(self, account: Account, container: str, blob: BlobInfo) -> None:
        super().__init__()
        self._account = account
        self._container = container
        self._blob = blob
        self._at = 0
        self._window = b""
        self._window_at = 0
        self._ahead = FIRST_BYTES

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._blob.size}[whence]
        if base + offset < 0:
            raise ValueError(f"seek to {base + offset}, before the first byte")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        if self._at >= self._blob.size or not view:
            return 0
        if not self._window_at <= self._at < self._window_at + len(self._window):
            self._fetch(len(view))
        piece = self._window[self._at - self._window_at :][: len(view)]
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def _fetch(self, wanted: int) -> None:
        in_order = self._window and self._at == self._window_at + len(self._window)
        self._ahead = min(MOST_BYTES, self._ahead * 2) if in_order else FIRST_BYTES
        length = min(max(self._ahead, min(wanted, MOST_BYTES)), self._blob.size - self._at)
        self._window = self._account.get(self._container, self._blob.name, self._at, length, self._blob.etag)
        self._window_at = self._at
