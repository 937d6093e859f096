"""Unpacked bytes go to a disk that others need too: what does not fit there is stopped in time."""

from __future__ import annotations

import io
import os
from typing import IO, BinaryIO, cast

from imagedelta.errors import RequestError
from imagedelta.limits import MIB

RESERVE_BYTES = 64 * MIB
"""Left free on the disk, whatever is unpacked."""
_STEP_BYTES = 16 * MIB
"""Written between two looks at the disk."""


def guarded(file: IO[bytes]) -> BinaryIO:
    """Return the file so that writing fails before its disk is full.

    Writing raises:
        RequestError: ``request.scratch_full``: less than ``RESERVE_BYTES`` would be left.
    """
    return cast(BinaryIO, _Guarded(file))


class _Guarded(io.RawIOBase):
    """Only what unpacking uses; closing is left to whoever opened the file."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self._since_look = _STEP_BYTES

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1, /) -> bytes:
        return self._file.read(size)

    def write(self, data: object, /) -> int:
        block = cast(bytes, data)
        self._since_look += len(block)
        if self._since_look >= _STEP_BYTES:
            self._look()
        return self._file.write(block)

    def _look(self) -> None:
        found = os.fstatvfs(self._file.fileno())
        free = found.f_bavail * found.f_frsize
        if free < RESERVE_BYTES + _STEP_BYTES:
            raise RequestError(
                f"unpacking stopped after {self._file.tell()} bytes: {free} bytes are free on the disk of the scratch "
                f"folder, of which {RESERVE_BYTES} stay free",
                code="request.scratch_full",
            )
        self._since_look = 0
