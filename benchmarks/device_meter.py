"""What this process and everything it started take while something is done: memory of a rebuild, disk, bytes written.

Bytes written are the kernel's exact counts of pages that were made to go to a disk. Memory is the kernel's own
high-water of the rebuild's process, read often enough that only what it takes in its last hundredth of a second is
missed. Disk is looked at ten times a second. Linux only.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.measuring import high_water_bytes, tree_of

_LOOK_SECONDS = 0.01
_LOOKS_PER_SCAN = 5
_DISK_SECONDS = 0.1
_REBUILD = (b"edge_module", b"rebuild")


class Meter:
    """``with Meter(folder) as meter: ...``; its figures are complete when the block is left."""

    def __init__(self, folder: Path) -> None:
        """Args:
        folder: Everything that is written lies under it.
        """
        self.seconds = 0.0
        self.memory_bytes = 0
        self.written_bytes = 0
        self.peak_disk_bytes = 0
        self.kept_disk_bytes = 0
        self._folder = folder
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._watch_memory, self._watch_disk)]

    def __enter__(self) -> Meter:
        self._disk_before = disk_bytes(self._folder)
        self._written_before = _written_bytes()
        for thread in self._threads:
            thread.start()
        self._started = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._started
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self.written_bytes = _written_bytes() - self._written_before
        self.kept_disk_bytes = disk_bytes(self._folder) - self._disk_before
        self.peak_disk_bytes = max(self.peak_disk_bytes, self.kept_disk_bytes)

    def _watch_memory(self) -> None:
        count, rebuilds = 0, list[int]()
        while not self._stopping.wait(_LOOK_SECONDS):
            if count % _LOOKS_PER_SCAN == 0:
                rebuilds = [pid for pid in tree_of(os.getpid()) if _is_rebuild(pid)]
            count += 1
            self.memory_bytes = max(self.memory_bytes, *map(high_water_bytes, rebuilds), 0)

    def _watch_disk(self) -> None:
        while not self._stopping.wait(_DISK_SECONDS):
            self.peak_disk_bytes = max(self.peak_disk_bytes, disk_bytes(self._folder) - self._disk_before)


def disk_bytes(folder: Path) -> int:
    """What the files below ``folder`` take of the disk; those that vanish meanwhile take nothing."""
    total = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                total += entry.stat(follow_symlinks=False).st_blocks * 512
                if entry.is_dir(follow_symlinks=False):
                    total += disk_bytes(Path(entry.path))
    return total


def _written_bytes() -> int:
    """By this process and its living descendants, with all that each of them has waited for."""
    return sum(map(_written_by, tree_of(os.getpid())))


def _written_by(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/io").read_text("ascii").splitlines():
            if line.startswith("write_bytes:"):
                return int(line.split()[1])
    return 0


def _is_rebuild(pid: int) -> bool:
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return all(word in words for word in _REBUILD)
    return False
