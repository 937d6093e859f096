"""The raw streams of a patch while they grow, cut into segments that are coded apart.

A stream is one stream all the same: where it is cut depends on its bytes alone, and the coded segments are joined.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self, cast

from imagedelta.delta.content import Extent
from imagedelta.delta.format.roles import Role
from imagedelta.limits import KIB, MIB

SEGMENT_BYTES = 64 * MIB
"""Coding one takes about a minute of a core. None has seen the one before, which costs 0.5 % of 178 MB of code."""
MIXED_SEGMENT_BYTES = 16 * MIB
"""Of streams that the native coder may code, which takes as long for a quarter."""
_IN_MEMORY = 512 * KIB
_CALM_BYTES = 10
_CALM_SEARCH = 64 * KIB
_CALL_OR_JUMP = b"\xe8\xe9"


class RawStreams(Protocol):
    """Where the raw streams of a build grow; each stream segment by segment, all of them side by side."""

    def append(self, role: Role, data: bytes) -> None:
        """Append to the last segment of a stream."""
        ...

    def end_segment(self, role: Role) -> None:
        """Close the last segment of a stream; there is something in it."""
        ...

    def segment(self, role: Role, number: int) -> Extent:
        """Return a closed segment; any thread may read it."""
        ...


class SegmentWriter:
    """Cuts streams into segments as they come."""

    def __init__(self, streams: RawStreams, short: frozenset[Role] = frozenset()) -> None:
        """Args:
        short: Those whose segments are short.
        """
        self._streams = streams
        self._short = short
        self._sizes: dict[Role, list[int]] = {}
        self._ends: dict[Role, bytes] = {}

    def write(self, role: Role, data: bytes) -> None:
        """Append to a stream; an empty stream does not exist."""
        while data:
            sizes = self._sizes.setdefault(role, [0])
            cut = self._cut(role, sizes[-1], data)
            now = data if cut is None else data[:cut]
            if now:
                self._streams.append(role, now)
                sizes[-1] += len(now)
                self._ends[role] = (self._ends.get(role, b"") + now[-_CALM_BYTES:])[-_CALM_BYTES:]
            if cut is None:
                return
            self._streams.end_segment(role)
            sizes.append(0)
            data = data[cut:]

    def finish(self) -> Mapping[Role, tuple[int, ...]]:
        """Close the last segments; return the bytes of each segment of each stream, in the order of the table."""
        for role in self._sizes:
            self._streams.end_segment(role)
        return {role: tuple(self._sizes[role]) for role in sorted(self._sizes)}

    def _cut(self, role: Role, size: int, data: bytes) -> int | None:
        """Return where in ``data`` the segment ends, so that the next has a byte at least; ``None`` if it does not."""
        cut = max(0, (MIXED_SEGMENT_BYTES if role in self._short else SEGMENT_BYTES) - size)
        if cut >= len(data):
            return None
        return self._calm(role, data, cut) if role is Role.CODE else cut

    def _calm(self, role: Role, data: bytes, cut: int) -> int | None:
        """Return the first place from ``cut`` on that is behind some bytes without calls and jumps.

        There the x86 filter of LZMA2 has nothing in its memory, so that it goes on as if it began.
        """
        before = self._ends[role] if cut < _CALM_BYTES and role in self._ends else b""
        near = before + data[max(0, cut - _CALM_BYTES) : cut + _CALM_SEARCH]
        first = len(before) + min(cut, _CALM_BYTES)
        for place in range(first, len(near)):
            if not any(byte in near[max(0, place - _CALM_BYTES) : place] for byte in _CALL_OR_JUMP):
                return cut + place - first
        return None


class Spools:
    """Raw streams in memory while they are small, then in a file of the scratch folder for each."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._files: dict[Role, _SpoolReader] = {}
        self._starts: dict[Role, list[int]] = {}
        self._exit = ExitStack()

    def append(self, role: Role, data: bytes) -> None:
        """See ``RawStreams``."""
        if role not in self._files:
            self._files[role] = _SpoolReader(self._exit.enter_context(spooled_file(self._scratch, _IN_MEMORY)))
            self._starts[role] = [0]
        self._files[role].append(data)

    def end_segment(self, role: Role) -> None:
        """See ``RawStreams``."""
        self._starts[role].append(self._files[role].size)

    def segment(self, role: Role, number: int) -> Extent:
        """See ``RawStreams``."""
        start, end = self._starts[role][number : number + 2]
        return Extent(self._files[role], start, end - start)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()


class _SpoolReader:
    """A growing file that several threads may read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = threading.Lock()
        self.size = 0

    def append(self, data: bytes) -> None:
        self._file.write(data)
        self.size += len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        with self._lock:
            self._file.seek(offset)
            return self._file.read(length)


def spooled_file(folder: Path, in_memory_bytes: int) -> BinaryIO:
    """Return an empty file that lies in memory while it is small, then in ``folder``; closing it removes it."""
    return cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=in_memory_bytes, dir=str(folder)))
