"""Worker processes for CPU-bound activities: each loads the same app and runs one activity at a time.

They are started when there is work, die with the host (also when it is killed), and one that dies is replaced.
Not here: what happens to the activity whose worker died (imagedelta_host.durable.dispatch).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from imagedelta_host.errors import SettingInvalid
from imagedelta_host.framing import read_frame, write_frame

log = logging.getLogger("imagedelta_host.workers")

_STOP_SECONDS = 2.0
_MAX_WORKERS = 10
"""Of the real host."""


class WorkerDied(Exception):
    """The process ended before it answered; the message says how."""


class NoWorker(Exception):
    """The system refused another process, for now."""


class ActivityRaised(Exception):
    """The activity raised in its worker: ``reason`` is type and message, ``details`` the traceback."""

    def __init__(self, reason: str, details: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.details = details


class Worker:
    """One process and the socket to it."""

    def __init__(
        self, process: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.process = process
        self._reader = reader
        self._writer = writer

    @staticmethod
    async def start(app_dir: Path) -> Worker:
        """Start a process; it loads the app while the first activity waits for it."""
        ours, theirs = socket.socketpair()
        command = [
            sys.executable,
            "-m",
            "imagedelta_host.worker_main",
            str(theirs.fileno()),
            str(app_dir),
            str(os.getpid()),
        ]
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - our own module
                command,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                process_group=0,  # Ctrl+C in a terminal is for the host alone
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        return Worker(process, reader, writer)

    async def run(self, name: str, raw_input: str | None, client: str) -> str | None:
        """Run an activity in the process; returns its result as JSON text.

        Args:
            client: The value of a durable client binding.

        Raises:
            ActivityRaised: The activity raised.
            WorkerDied: The process ended.
        """
        try:
            await write_frame(
                self._writer, json.dumps({"function": name, "input": raw_input, "client": client}).encode()
            )
            answer = json.loads(await read_frame(self._reader))
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            raise WorkerDied(await self._how_it_ended()) from error
        if "reason" in answer:
            raise ActivityRaised(answer["reason"], answer["details"])
        result: str | None = answer["result"]
        return result

    async def _how_it_ended(self) -> str:
        code = await asyncio.to_thread(self.process.wait)
        if code < 0:
            return f"the worker process was killed by {signal.Signals(-code).name}"
        return f"the worker process ended with exit code {code}"

    def kill(self) -> None:
        """End the process at once and take its exit code."""
        self._writer.close()
        self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_STOP_SECONDS)

    async def stop(self) -> None:
        """Let an idle process end by closing its socket; kill it if it does not."""
        self._writer.close()
        try:
            await asyncio.to_thread(self.process.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            await asyncio.to_thread(self.process.wait)


class WorkerPool:
    """At most ``size`` worker processes, handed to one activity at a time."""

    def __init__(
        self, app_dir: Path, size: int, timeout: float | None = None, client_value: Callable[[], str] = str
    ) -> None:
        """Args:
        app_dir: The app that every worker loads.
        size: The most processes.
        timeout: Seconds an activity may run before its process is killed; ``None`` for no limit.
        client_value: The value of a durable client binding, as JSON text.
        """
        self._app_dir = app_dir
        self._client_value = client_value
        self.timeout = timeout
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()

    @property
    def process_ids(self) -> list[int]:
        """The processes that are alive, for status and tests."""
        return [worker.process.pid for worker in [*self._idle, *self._busy]]

    async def run(self, name: str, raw_input: str | None) -> str | None:
        """Run an activity in a free worker, starting one if there is room.

        Raises:
            ActivityRaised: The activity raised.
            WorkerDied: Its worker process ended; the next activity gets a new one.
            TimeoutError: It ran longer than allowed; its worker was killed.
            NoWorker: No process could be started; the activity has not begun.
        """
        async with self._slots:
            worker = self._idle_worker() or await self._start_worker()
            self._busy.add(worker)
            try:
                result = await asyncio.wait_for(worker.run(name, raw_input, self._client_value()), self.timeout)
            except ActivityRaised:
                self._give_back(worker)
                raise
            except BaseException:
                self._busy.discard(worker)
                worker.kill()
                raise
            self._give_back(worker)
            return result

    async def _start_worker(self) -> Worker:
        try:
            return await Worker.start(self._app_dir)
        except OSError as error:
            raise NoWorker(f"no worker process could be started: {error}") from error

    def _idle_worker(self) -> Worker | None:
        while self._idle:
            worker = self._idle.pop()
            if worker.process.poll() is None:
                return worker
            worker.kill()
        return None

    def _give_back(self, worker: Worker) -> None:
        self._busy.discard(worker)
        self._idle.append(worker)

    async def stop(self) -> None:
        """End all processes: idle ones in peace, busy ones at once."""
        for worker in self._busy:
            worker.kill()
        await asyncio.gather(*(worker.stop() for worker in self._idle))


def default_size() -> int:
    """How many worker processes: ``FUNCTIONS_WORKER_PROCESS_COUNT``, from 1 (as in the real host) to 10.

    Raises:
        SettingInvalid: It is no such number.
    """
    text = os.environ.get("FUNCTIONS_WORKER_PROCESS_COUNT", "").strip() or "1"
    if not text.isdecimal() or len(text) > 2 or not 1 <= int(text) <= _MAX_WORKERS:
        raise SettingInvalid(f"FUNCTIONS_WORKER_PROCESS_COUNT must be a number from 1 to {_MAX_WORKERS}, not {text!r}")
    return int(text)
