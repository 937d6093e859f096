"""Rebuilds in a child process: whatever an image asks for, the module that stays behind keeps its memory and its calm.

The child (edge_module.rebuild_child) is started for one image and ends with it. That it dies, hangs or runs out of
memory says nothing about the bundle: it is a DependencyError, so the bundle waits and is tried again.
"""

from __future__ import annotations

import logging
import os
import resource
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from edge_module.engines import PresentImage
from edge_module.logs import facts
from edge_module.rebuild_deaths import RebuildDeaths
from edge_module.rebuild_lines import MAX_LINE_BYTES, Begun, Failed, Rebuilt, read_answer, task_line
from edge_module.rebuilds import RebuildTask
from edge_module.verdict import STOPPED
from imagedelta.errors import DependencyError

_LOOK_SECONDS = 1.0
SILENT_SECONDS = 900.0
"""A child that uses no CPU for so long hangs: every request that it makes has ended by then."""
log = logging.getLogger("imagedelta.rebuild")


@dataclass(frozen=True)
class Surroundings:
    """What a child is started with."""

    environment: Mapping[str, str]
    """The settings of the module; the child needs no key of the hub."""
    inherited: Sequence[int] = ()
    """Open files that the child holds as well: the lock of the folder is free once both have ended."""
    command: Sequence[str] = field(default=(sys.executable, "-m", "edge_module", "rebuild"))


class RebuildProcess:
    """One at a time; implements edge_module.rebuilds.Rebuilds."""

    def __init__(
        self,
        surroundings: Surroundings,
        alive: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args:
        alive: Called every second while a child works, however long that takes.
        """
        self._surroundings = surroundings
        self._alive = alive
        self._monotonic = monotonic
        self._one_at_a_time = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._stopped: subprocess.Popen[bytes] | None = None
        self._deaths = RebuildDeaths(monotonic)

    def rebuild(self, task: RebuildTask, begun: Callable[[], None]) -> PresentImage:
        with self._one_at_a_time:
            self._deaths.check(task.head.target_image_id)
            started = self._monotonic()
            try:
                with self._started(task) as child:
                    image = self._outcome(child, begun)
            except DependencyError as error:
                self._deaths.note(task.head.target_image_id, error)
                raise
            self._deaths.note(task.head.target_image_id, None)
        _tell(task, image, round(self._monotonic() - started, 1))
        return image

    def stop(self) -> None:
        child = self._child
        if child is not None:
            self._stopped = child
            with suppress(ProcessLookupError):
                child.kill()

    @contextmanager
    def _started(self, task: RebuildTask) -> Iterator[subprocess.Popen[bytes]]:
        try:
            child = self._start()
        except OSError as error:
            raise DependencyError(f"no process could be started: {error}", code="rebuild.died") from error
        self._child = child
        try:
            self._give(child, task)
            yield child
        finally:
            self._child = None
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()

    def _outcome(self, child: subprocess.Popen[bytes], begun: Callable[[], None]) -> PresentImage:
        has_begun = False
        for line in self._answers(child):
            match read_answer(line):
                case Begun() if not has_begun:
                    has_begun = True
                    begun()
                case Rebuilt(image):
                    return image
                case Failed(error):
                    raise error
                case _:
                    raise self._death(child, "said something that is no answer")
        raise self._death(child, "ended without an answer")

    def _start(self) -> subprocess.Popen[bytes]:
        surroundings = self._surroundings
        return subprocess.Popen(  # noqa: S603 - our own program
            [*surroundings.command, "--parent", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(surroundings.environment),
            pass_fds=tuple(surroundings.inherited),
            bufsize=0,
            start_new_session=True,  # Ctrl-C at a terminal is for the parent, which ends the child
        )

    def _give(self, child: subprocess.Popen[bytes], task: RebuildTask) -> None:
        assert child.stdin is not None  # noqa: S101 - it is a pipe
        with suppress(BrokenPipeError):  # it ended already: its answers tell
            child.stdin.write(task_line(task))
            child.stdin.close()

    def _answers(self, child: subprocess.Popen[bytes]) -> Iterator[bytes]:
        """Its lines as they come, the last one perhaps cut; between them somebody looks whether it still works."""
        assert child.stdout is not None  # noqa: S101 - it is a pipe
        waiting = bytearray()
        watch = _Watch(child.pid, self._monotonic)
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            while True:
                self._alive()
                if not selector.select(_LOOK_SECONDS):
                    if watch.is_stuck():
                        raise DependencyError(f"it did nothing for {SILENT_SECONDS:.0f} s", code="rebuild.died")
                    continue
                piece = os.read(child.stdout.fileno(), 65536)
                waiting += piece
                while (end := waiting.find(b"\n")) >= 0:
                    yield bytes(waiting[: end + 1])
                    del waiting[: end + 1]
                if not piece or len(waiting) > MAX_LINE_BYTES:
                    break
        if waiting:
            yield bytes(waiting)

    def _death(self, child: subprocess.Popen[bytes], what: str) -> DependencyError:
        """Why there is no answer. A child that was killed without our doing was the kernel's choice."""
        if self._stopped is child:
            return DependencyError("the rebuild was stopped", code=STOPPED)
        with suppress(subprocess.TimeoutExpired):
            child.wait(_LOOK_SECONDS)
        if child.returncode == -signal.SIGKILL:
            return DependencyError(
                "the kernel ended the rebuild, most likely for want of memory", code="rebuild.memory"
            )
        status = "it still ran" if child.returncode is None else f"status {child.returncode}"
        return DependencyError(f"the process that rebuilds {what} ({status})", code="rebuild.died")


def _tell(task: RebuildTask, image: PresentImage, seconds: float) -> None:
    head, peak = task.head, 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    told = facts(
        image=image.image_id,
        name=task.reference or None,
        transfer=head.transfer_id or None,
        bytes=head.full_bytes,
        patchBytes=head.patch_bytes,
        seconds=seconds,
        mostMemoryBytes=peak,
    )
    log.info("the image is rebuilt", extra=told)


class _Watch:
    """Whether a process still does something: its CPU time grows."""

    def __init__(self, pid: int, monotonic: Callable[[], float]) -> None:
        self._stat = Path(f"/proc/{pid}/stat")
        self._monotonic = monotonic
        self._seen = ""
        self._since = monotonic()

    def is_stuck(self) -> bool:
        now, used = self._monotonic(), self._cpu_time()
        if used != self._seen or not used:
            self._seen, self._since = used, now
        return now - self._since >= SILENT_SECONDS

    def _cpu_time(self) -> str:
        """User and system ticks: fields 14 and 15; the name before them may hold anything but its last bracket.

        "" where it cannot be known.
        """
        try:
            return " ".join(self._stat.read_text("ascii", "replace").rpartition(")")[2].split()[11:13])
        except OSError:
            return ""
