"""The job queue of a build: jobs on several threads, within a bound of memory, first come, first served.

The first job in the queue waits until the memory it states is free, and those behind it wait as well: a large job
starts in its turn, however many small ones there are. A job never waits for another one, so the queue cannot stop.
The libraries that do the work release Python's lock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, NamedTuple, Self, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Job(Generic[Result]):
    """What to run, and the memory it takes."""

    run: Callable[[], Result]
    memory_bytes: int


class _Waiting(NamedTuple):
    memory_bytes: int
    run: Callable[[], None]


class JobQueue:
    """Runs jobs in the order of submission, as many at once as threads and memory allow."""

    def __init__(self, threads: int, memory_bytes: int) -> None:
        """Args:
        memory_bytes: All running jobs together; a job that states more runs alone.
        """
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="delta")
        self._free = self._memory = memory_bytes
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()

    def submit(self, job: Job[Result]) -> Future[Result]:
        """Put a job at the end of the queue."""
        future: Future[Result] = Future()
        with self._changed:
            self._waiting.append(_Waiting(min(job.memory_bytes, self._memory), lambda: _run(job, future)))
        self._executor.submit(self._run_first)
        return future

    def _run_first(self) -> None:
        """Run the job that is first in the queue by the time there is room for it."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting[0].memory_bytes <= self._free)
            first = self._waiting.popleft()
            self._free -= first.memory_bytes
            self._changed.notify_all()
        try:
            first.run()
        finally:
            with self._changed:
                self._free += first.memory_bytes
                self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(wait=True, cancel_futures=kind is not None)


def _run(job: Job[Result], future: Future[Result]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = job.run()
    except BaseException as error:  # whatever it is, it belongs to whoever waits for the result
        future.set_exception(error)
    else:
        future.set_result(result)


def in_order(
    queue: JobQueue, jobs: Iterable[Job[Result]], most: int, drop: Callable[[Result], None] = lambda result: None
) -> Generator[Result]:
    """Yield the result of each job, in the order of the jobs.

    Args:
        jobs: Each is taken when there is room for it.
        most: Jobs under way: submitted, and their results not yet taken.
        drop: Takes the results of jobs under way when the iteration is closed before its end.
    """
    under_way: deque[Future[Result]] = deque()
    try:
        for job in jobs:
            if len(under_way) == most:
                yield under_way.popleft().result()
            under_way.append(queue.submit(job))
        while under_way:
            yield under_way.popleft().result()
    finally:
        for future in under_way:
            if not future.cancel() and future.exception() is None:
                drop(future.result())
