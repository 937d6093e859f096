"""Worker processes for plain activities: each loads the app and runs activities in threads, as the Python worker does.

They are started when there is work, die with the host (also when it is killed), and one that dies is replaced. All
activities that ran in it died with it; which one killed it is found out by running each again alone.
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
from typing import Any

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
    """One process and the socket to it; answers come in any order."""

    def __init__(
        self, process: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.process = process
        self._reader = reader
        self._writer = writer
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._count = 0
        self._receiving = asyncio.create_task(self._receive())

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
            try:
                process = subprocess.Popen(  # noqa: S603 - our own module
                    command,
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    process_group=0,  # Ctrl+C in a terminal is for the host alone
                )
            except OSError:
                ours.close()
                raise
        reader, writer = await asyncio.open_connection(sock=ours)
        return Worker(process, reader, writer)

    @property
    def load(self) -> int:
        """How many activities run in it."""
        return len(self._answers)

    @property
    def is_alive(self) -> bool:
        """Whether it takes activities."""
        return self.process.poll() is None and not self._receiving.done()

    async def run(self, name: str, raw_input: str | None, client: str) -> str | None:
        """Run an activity in the process; returns its result as JSON text.

        Args:
            client: The value of a durable client binding.

        Raises:
            ActivityRaised: The activity raised.
            WorkerDied: The process ended.
        """
        self._count += 1
        number = self._count
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        request = {"id": number, "function": name, "input": raw_input, "client": client}
        try:
            await write_frame(self._writer, json.dumps(request).encode())
            told = await answer
        except ConnectionError as error:
            raise WorkerDied(await self._how_it_ended()) from error
        finally:
            self._answers.pop(number, None)
        if "reason" in told:
            raise ActivityRaised(told["reason"], told["details"])
        result: str | None = told["result"]
        return result

    async def _receive(self) -> None:
        """Hand each answer to the activity that waits for it; at the end all others have died with the process."""
        try:
            while True:
                told = json.loads(await read_frame(self._reader))
                if (answer := self._answers.get(told["id"])) is not None and not answer.done():
                    answer.set_result(told)
        except (ConnectionError, asyncio.IncompleteReadError, ValueError, LookupError):
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(ConnectionResetError())

    async def _how_it_ended(self) -> str:
        try:
            code = await asyncio.to_thread(self.process.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired:  # it talks no more: its code has closed the connection, or written to it
            self.process.kill()
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
        self._receiving.cancel()


class WorkerPool:
    """At most ``size`` worker processes; each new activity goes to the one with the least to do."""

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
        self._size = size
        self._workers: list[Worker] = []
        self._starting = asyncio.Lock()
        self._alone = asyncio.Lock()

    @property
    def process_ids(self) -> list[int]:
        """The processes that are alive, for status and tests."""
        return [worker.process.pid for worker in self._workers if worker.is_alive]

    async def run(self, name: str, raw_input: str | None, *, alone: bool = False) -> str | None:
        """Run an activity in the worker with the least to do, or in a process of its own.

        Raises:
            ActivityRaised: The activity raised.
            WorkerDied: Its worker process ended; the next activity gets a new one.
            TimeoutError: It ran longer than allowed; its worker was killed, with all that ran in it.
            NoWorker: No process could be started; the activity has not begun.
        """
        if not alone:
            return await self._run_in(await self._worker(), name, raw_input)
        async with self._alone:
            worker = await self._start()
            try:
                return await self._run_in(worker, name, raw_input)
            finally:
                self._workers.remove(worker)
                worker.kill()

    async def _run_in(self, worker: Worker, name: str, raw_input: str | None) -> str | None:
        try:
            return await asyncio.wait_for(worker.run(name, raw_input, self._client_value()), self.timeout)
        except ActivityRaised:
            raise
        except BaseException:
            worker.kill()
            raise

    async def _worker(self) -> Worker:
        async with self._starting:
            for worker in [worker for worker in self._workers if not worker.is_alive]:
                self._workers.remove(worker)
                worker.kill()
            least = min(self._workers, key=lambda worker: worker.load, default=None)
            if least is None or (least.load and len(self._workers) < self._size):
                return await self._start()
            return least

    async def _start(self) -> Worker:
        try:
            worker = await Worker.start(self._app_dir)
        except OSError as error:
            raise NoWorker(f"no worker process could be started: {error}") from error
        self._workers.append(worker)
        return worker

    async def stop(self) -> None:
        """End all processes: idle ones in peace, busy ones at once."""
        for worker in self._workers:
            if worker.load:
                worker.kill()
        await asyncio.gather(*(worker.stop() for worker in self._workers))


def default_size() -> int:
    """How many worker processes: ``FUNCTIONS_WORKER_PROCESS_COUNT``, from 1 (as in the real host) to 10.

    Raises:
        SettingInvalid: It is no such number.
    """
    text = os.environ.get("FUNCTIONS_WORKER_PROCESS_COUNT", "").strip() or "1"
    if not text.isdecimal() or len(text) > 2 or not 1 <= int(text) <= _MAX_WORKERS:
        raise SettingInvalid(f"FUNCTIONS_WORKER_PROCESS_COUNT must be a number from 1 to {_MAX_WORKERS}, not {text!r}")
    return int(text)
