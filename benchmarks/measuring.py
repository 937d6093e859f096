"""Run a command and say what its whole process tree cost: seconds, CPU, the high-water of memory, bytes read.

Memory is the highest sum of the resident memory of all processes of the tree, sampled every few milliseconds from
/proc: pages that two processes share count twice. One process alone is never under-stated by sampling, because the
kernel's own high-water of each is read as well. CPU and bytes read are the kernel's exact counts, taken when the
command has ended but is not yet forgotten. Linux only.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_SAMPLE_SECONDS = 0.01
_SAMPLES_PER_SCAN = 10
"""Reading every process's parent costs more than reading the memory of known ones, so it is done less often."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_ERROR_CHARACTERS = 500
_PROC = Path("/proc")


class Overrun(Exception):
    """The command was killed: it took more memory or time than it was given. The message says which."""


@dataclass(frozen=True)
class Cost:
    """What a command and everything it started took."""

    exit_code: int
    seconds: float
    cpu_seconds: float
    """User and system time of all processes that were waited for."""
    peak_rss_bytes: int
    read_bytes: int
    """Bytes that ``read`` calls returned, from files and pipes; what is mapped into memory is not counted."""
    error: str = ""
    """The end of stderr."""
    output: str = ""
    """What it printed."""


def measure(
    command: Sequence[str],
    *,
    memory_bytes: int,
    timeout_seconds: float,
    folder: Path | None = None,
    output: Path | None = None,
) -> Cost:
    """Run ``command`` to its end.

    Args:
        memory_bytes: The tree is killed when it is resident with more.
        timeout_seconds: The tree is killed when it runs for longer.
        folder: Working directory.
        output: File that takes stdout instead of ``Cost.output``.

    Raises:
        Overrun: It was killed; nothing of it runs any more.
        OSError: It could not be started.
    """
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complaint:
        out: BinaryIO = output.open("wb") if output else said
        started = time.monotonic()
        process = subprocess.Popen(  # noqa: S603 - commands of the benchmark's own list
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=complaint, cwd=folder, start_new_session=True
        )
        watch = _Watch(process.pid, memory_bytes, timeout_seconds)
        try:
            watch.look()  # the thread may come too late for what takes milliseconds
            watch.start()
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, but /proc still knows it
            seconds = time.monotonic() - started
            read = _bytes_read(process.pid)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            watch.stop()
            _kill_group(process.pid)
            process.wait()
            if output:
                out.close()
        if watch.overrun:
            raise Overrun(watch.overrun)
        return Cost(
            exit_code=process.returncode,
            seconds=round(seconds, 3),
            cpu_seconds=round(usage.ru_utime + usage.ru_stime, 3),
            # Over before it could be looked at: the kernel's figure, which counts this process before the exec, too.
            peak_rss_bytes=watch.peak or usage.ru_maxrss * 1024,
            read_bytes=read,
            error=_text(complaint)[-_ERROR_CHARACTERS:],
            output=_text(said),
        )


class _Watch:
    """Samples the memory of a process tree in a thread of its own, and kills the tree when it goes too far."""

    def __init__(self, pid: int, memory_bytes: int, timeout_seconds: float) -> None:
        self.peak = 0
        self.overrun = ""
        self._pid = pid
        self._memory_bytes = memory_bytes
        self._end = time.monotonic() + timeout_seconds
        self._timeout_seconds = timeout_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def look(self) -> None:
        """Once, at the process itself."""
        self._look([self._pid])

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        count = 0
        tree = [self._pid]
        while not self._stopping.is_set():
            if count % _SAMPLES_PER_SCAN == 0:
                tree = tree_of(self._pid)
            count += 1
            self._look(tree)
            self._stopping.wait(_SAMPLE_SECONDS)

    def _look(self, tree: Sequence[int]) -> None:
        now = sum(map(resident_bytes, tree))
        self.peak = max(self.peak, now, *map(high_water_bytes, tree))
        if now > self._memory_bytes:
            self._kill(f"it held {now / 1e9:.1f} GB of the {self._memory_bytes / 1e9:.1f} GB that it was given")
        elif time.monotonic() > self._end:
            self._kill(f"it was not done after {self._timeout_seconds:.0f} s")

    def _kill(self, reason: str) -> None:
        self.overrun = self.overrun or reason
        _kill_group(self._pid)


def tree_of(root: int) -> list[int]:
    """``root`` and all its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            children.setdefault(_parent_of(int(entry.name)), []).append(int(entry.name))
    tree = [root]
    for pid in tree:  # grows while it is walked
        tree += children.get(pid, [])
    return tree


def resident_bytes(pid: int) -> int:
    """Resident memory of one process; 0 when it is gone."""
    return int((_read(pid, "statm") or "0 0").split()[1]) * _PAGE


def high_water_bytes(pid: int) -> int:
    """The most that one process ever had resident, as the kernel counts; 0 when it is gone."""
    for line in _read(pid, "status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _parent_of(pid: int) -> int:
    """Fields follow the command's name, which may hold blanks and brackets."""
    rest = _read(pid, "stat").rpartition(")")[2].split()
    return int(rest[1]) if len(rest) > 1 else 0


def _bytes_read(pid: int) -> int:
    """Of the process and of every descendant that has been waited for."""
    for line in _read(pid, "io").splitlines():
        if line.startswith("rchar:"):
            return int(line.split()[1])
    return 0


def _read(pid: int, name: str) -> str:
    with suppress(OSError):
        return (_PROC / str(pid) / name).read_text("utf-8", errors="replace")
    return ""


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _text(stream: BinaryIO) -> str:
    stream.seek(0)
    return stream.read().decode("utf-8", errors="replace").strip()
