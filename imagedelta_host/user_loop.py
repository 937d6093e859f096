"""Where the app's own code runs: an event loop and threads apart from the host's loop.

So that code which blocks inside ``async def``, even on a request to this very host, cannot stop the host.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_ORCHESTRATOR_THREADS = 2


class UserLoop:
    """A thread with an event loop for ``async def`` functions, and a pool of threads for plain ones."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="functions", daemon=True)
        self._pool = ThreadPoolExecutor(_threads(), thread_name_prefix="function")
        self._orchestrators = ThreadPoolExecutor(_ORCHESTRATOR_THREADS, thread_name_prefix="orchestrator")
        self._thread.start()

    async def run_async(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Await a coroutine of the app from the host's loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._loop))

    async def run_sync(self, function: Callable[[], Any]) -> Any:
        """Run a plain function of the app in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)

    async def run_orchestrator(self, function: Callable[[], Any]) -> Any:
        """Run an orchestrator in threads of its own, so that functions that wait for it cannot starve it."""
        return await asyncio.get_running_loop().run_in_executor(self._orchestrators, function)

    def stop(self) -> None:
        """Cancel what still runs in the loop and end it; threads that still run are not waited for."""
        asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).add_done_callback(
            lambda _: self._loop.call_soon_threadsafe(self._loop.stop)
        )
        self._thread.join(2.0)
        for pool in (self._pool, self._orchestrators):
            pool.shutdown(wait=False, cancel_futures=True)
        if not self._thread.is_alive():
            self._loop.close()


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


def _threads() -> int:
    """As the Python worker: ``PYTHON_THREADPOOL_THREAD_COUNT``, else CPUs + 4, at most 32."""
    text = os.environ.get("PYTHON_THREADPOOL_THREAD_COUNT", "")
    if text.isdecimal() and int(text) > 0:
        return min(int(text), 32)
    return min(32, (os.cpu_count() or 1) + 4)
