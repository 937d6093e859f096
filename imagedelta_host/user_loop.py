"""Where the app's own code runs: an event loop and threads apart from the host's loop.

So that code which blocks inside ``async def``, even on a request to this very host, cannot stop the host.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

log = logging.getLogger("imagedelta_host")

_ORCHESTRATOR_THREADS = 2
_EXITS = (SystemExit, KeyboardInterrupt, GeneratorExit)


class FunctionExited(Exception):
    """A function raised what ends a task or the whole process: it has failed, and nothing else."""


class UserLoop:
    """A thread with an event loop for ``async def`` functions, and a pool of threads for plain ones."""

    def __init__(self) -> None:
        self._stopping = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="functions", daemon=True)
        self._pool = ThreadPoolExecutor(thread_count(), thread_name_prefix="function")
        self._orchestrators = ThreadPoolExecutor(_ORCHESTRATOR_THREADS, thread_name_prefix="orchestrator")
        self._thread.start()

    def _run(self) -> None:
        """Run the loop until ``stop``: a task of the app's own that asks to exit ends itself, not the others."""
        while not self._stopping:
            try:
                self._loop.run_forever()
            except BaseException:
                log.exception("a task that a function left behind raised; the other functions go on")

    async def run_async(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Await a coroutine of the app from the host's loop.

        Raises:
            FunctionExited: It asked the process to exit.
        """
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_contained(coroutine), self._loop))

    async def run_sync(self, function: Callable[[], Any]) -> Any:
        """Run a plain function of the app in a thread.

        Raises:
            FunctionExited: It asked the process to exit.
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, _contained_call, function)

    async def run_orchestrator(self, function: Callable[[], Any]) -> Any:
        """Run an orchestrator in threads of its own, so that functions that wait for it cannot starve it."""
        return await asyncio.get_running_loop().run_in_executor(self._orchestrators, _contained_call, function)

    def stop(self) -> None:
        """Cancel what still runs in the loop and end it; threads that still run are not waited for."""
        self._stopping = True
        asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).add_done_callback(
            lambda _: self._loop.call_soon_threadsafe(self._loop.stop)
        )
        self._thread.join(2.0)
        for pool in (self._pool, self._orchestrators):
            pool.shutdown(wait=False, cancel_futures=True)
        if not self._thread.is_alive():
            self._loop.close()


async def _contained(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await coroutine
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise  # the host ends
        raise FunctionExited("the function raised CancelledError") from error
    except _EXITS as error:
        raise FunctionExited(f"the function raised {type(error).__name__}: {error}") from error


def _contained_call(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except (asyncio.CancelledError, *_EXITS) as error:
        raise FunctionExited(f"the function raised {type(error).__name__}: {error}") from error


async def _cancel_all() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await _close_sdk_session()


async def _close_sdk_session() -> None:
    """The durable SDK keeps one HTTP session per process and offers no public way to close it."""
    from azure.durable_functions.models.utils import http_utils

    await http_utils._close_session()


def thread_count() -> int:
    """How many threads run plain functions: ``PYTHON_THREADPOOL_THREAD_COUNT``, else CPUs + 4, at most 32.

    Source: the Python worker.
    """
    text = os.environ.get("PYTHON_THREADPOOL_THREAD_COUNT", "")
    if text.isdecimal() and int(text) > 0:
        return min(int(text), 32)
    return min(32, (os.cpu_count() or 1) + 4)
