"""The raw streams of a patch while they grow: in memory while small, then in the scratch folder."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from imagedelta.delta.format.roles import Role

_IN_MEMORY = 512 * 1024


class Spools:
    """One growing raw stream per role, in memory while small, then in a scratch file."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._files: dict[Role, BinaryIO] = {}
        self._exit = ExitStack()

    def write(self, role: Role, data: bytes) -> None:
        """Append to a stream; an empty stream does not exist."""
        if not data:
            return
        if role not in self._files:
            self._files[role] = self._exit.enter_context(spooled_file(self._scratch, _IN_MEMORY))
        self._files[role].write(data)

    def streams(self) -> list[tuple[Role, BinaryIO, int]]:
        """Return (role, rewound file, size), in the order of the table."""
        found = []
        for role, spool in sorted(self._files.items()):
            size = spool.tell()
            spool.seek(0)
            found.append((role, spool, size))
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()


def spooled_file(folder: Path, in_memory_bytes: int) -> BinaryIO:
    """Return an empty file that lies in memory while it is small, then in ``folder``; closing it removes it."""
    return cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=in_memory_bytes, dir=str(folder)))
