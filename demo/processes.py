"""Child processes of the demo: each in a group of its own, with a log, and none left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

_STOP_SECONDS = 20.0


class ProcessEnded(Exception):
    """A process that should be running is not; the message holds the end of its log."""


class Process:
    """A command that can be started, killed as by a power cut, started again and stopped.

    The whole group dies with it: what it started itself has no parent to go on for.
    """

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str], folder: Path
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._environment = dict(environment)
        self._folder = folder
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; its output is appended to its log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(  # noqa: S603 - commands of this project
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=self._folder,
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        return self._running is not None and self._running.poll() is None

    def require_alive(self) -> None:
        """Raises: ProcessEnded."""
        if not self.alive:
            raise ProcessEnded(f"{self.name} has ended by itself; {self.log} ends with:\n{tail(self.log)}")

    def suspend(self) -> None:
        """SIGSTOP: nothing moves until ``kill`` or ``resume``."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and wait until nothing of it runs any more."""
        self._signal(signal.SIGKILL)
        if self._running is not None:
            self._running.wait()

    def stop(self, seconds: float = _STOP_SECONDS) -> None:
        """Ask it to end, as a person does with Ctrl-C; kill it after ``seconds``."""
        if self.alive:
            self._signal(signal.SIGTERM)
            self._wait(seconds)
        self.kill()

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self.alive and time.monotonic() < end:
            time.sleep(0.05)

    def _signal(self, number: signal.Signals) -> None:
        """To the group: also when its leader has ended and left a child behind."""
        if self._running is not None:
            try:
                os.killpg(self._running.pid, number)
            except ProcessLookupError:
                return


class ProcessRoom:
    """Starts processes and leaves none behind, however the block ends. A context manager."""

    def __init__(self, logs: Path, folder: Path) -> None:
        self._logs = logs
        self._folder = folder
        self._processes: list[Process] = []

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Process:
        """A running process with ``environment`` over this process's own."""
        process = Process(name, command, self._logs / f"{name}.log", {**os.environ, **environment}, self._folder)
        self._processes.append(process)
        process.start()
        return process

    def require_alive(self) -> None:
        """Raises: ProcessEnded for the first that has ended by itself."""
        for process in self._processes:
            process.require_alive()

    def __enter__(self) -> ProcessRoom:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The last started first: devices before the host they talk to."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        previous = [signal.signal(number, signal.SIG_IGN) for number in numbers]  # a second Ctrl-C must not stop this
        try:
            for process in reversed(self._processes):
                process.stop()
        finally:
            for number, handler in zip(numbers, previous, strict=True):
                signal.signal(number, handler)


def tail(log: Path, lines: int = 15) -> str:
    """The end of a log file."""
    text = log.read_text("utf-8", errors="replace") if log.exists() else ""
    return "\n".join(text.splitlines()[-lines:])


def free_port() -> int:
    """A TCP port on the loopback address that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
