"""Threads that work side by side within a bound of memory. The libraries that do the work release Python's lock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

Result = TypeVar("Result")


class Crew:
    """Runs jobs on several threads; a job waits until the memory it states is free."""

    def __init__(self, threads: int, memory_bytes: int) -> None:
        """Args:
        memory_bytes: All running jobs together; a job that states more runs alone.
        """
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="delta")
        self._free = self._memory = memory_bytes
        self._changed = threading.Condition()

    def submit(self, job: Callable[[], Result], memory_bytes: int) -> Future[Result]:
        """Start ``job`` as soon as a thread and its memory are free, in the order of submission."""
        return self._executor.submit(self._run, job, min(memory_bytes, self._memory))

    def _run(self, job: Callable[[], Result], memory_bytes: int) -> Result:
        with self._changed:
            self._changed.wait_for(lambda: self._free >= memory_bytes)
            self._free -= memory_bytes
        try:
            return job()
        finally:
            with self._changed:
                self._free += memory_bytes
                self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(wait=True, cancel_futures=kind is not None)
