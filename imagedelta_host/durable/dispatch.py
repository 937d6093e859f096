"""Runs activities: plain ones in worker processes, ``async def`` ones in the host, never more than allowed at once.

An activity stays recorded until its result is stored, so after a crash it is delivered again (at least once).
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable

from imagedelta_host.durable import activity
from imagedelta_host.durable.engine import Engine, missing
from imagedelta_host.durable.history import Event
from imagedelta_host.durable.store import Work
from imagedelta_host.loader import AppFunction
from imagedelta_host.workers import ActivityRaised, NoWorker, WorkerDied, WorkerPool

log = logging.getLogger("imagedelta_host.invocations")

MAX_WORKER_DEATHS = 3
_CROWDED_SECONDS = 0.02
_GATHER_SECONDS = 0.01
_RETRY_SECONDS = 2.0
"""Results that follow each other closely share a commit, since a commit waits for the disk."""

RunAsync = Callable[[AppFunction, str | None], Awaitable[str | None]]


class ActivityDispatcher:
    """The activities that are waiting or running."""

    def __init__(
        self,
        engine: Engine,
        functions: dict[str, AppFunction],
        workers: WorkerPool,
        run_async: RunAsync,
        limit: int,
    ) -> None:
        """Args:
        functions: The activities that are switched on, by name in lower case.
        workers: Run plain activities.
        run_async: Runs ``async def`` activities in the host.
        limit: The most activities at the same time.
        """
        self._engine = engine
        self._functions = functions
        self._workers = workers
        self._run_async = run_async
        self._limit = limit
        self._waiting: deque[Work] = deque()
        self._known: set[int] = set()
        self.troubles: dict[int, str] = {}
        """Activities that could not be run, with the error; they are tried again."""
        self._running: set[asyncio.Task[None]] = set()
        self._ended: list[tuple[Work, Event]] = []
        self._store_soon: asyncio.TimerHandle | None = None
        self._stored_at = 0.0
        self._stopping = False
        engine.queue = self

    def put(self, work: Work) -> None:
        """Run an activity as soon as there is room; one that waits or runs already is not taken twice."""
        if work.n not in self._known:
            self._known.add(work.n)
            self._waiting.append(work)
            self._fill()

    async def stop(self, seconds: float) -> int:
        """Start nothing more and wait up to ``seconds``; returns how many activities were still running."""
        self._stopping = True
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        self._store_ended()
        left = len(self._running)
        for task in self._running:
            task.cancel()
        return left

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self._limit and not self._stopping:
            task = asyncio.create_task(self._guarded(self._waiting.popleft()))
            self._running.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._fill()

    async def _guarded(self, work: Work) -> None:
        """Run one activity; what is no fault of its own (disk, memory, processes) makes it wait and run again."""
        try:
            await self._run(work)
            self.troubles.pop(work.n, None)
        except Exception as error:
            self.troubles[work.n] = f"{work.name} of {work.instance}: {type(error).__name__}: {error}"
            log.exception("the activity %s of %s could not be run; trying again", work.name, work.instance)
            asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._again, work)

    def _again(self, work: Work) -> None:
        self._waiting.append(work)
        self._fill()

    async def _run(self, work: Work) -> None:
        if not self._engine.store.has_work(work):
            self._known.discard(work.n)
            return
        began = time.monotonic()
        entry = await self._outcome(work)
        if entry is None:
            return
        self._log(work, entry, time.monotonic() - began)
        self._ended.append((work, entry))
        if self._store_soon is None:
            loop = asyncio.get_running_loop()
            crowded = loop.time() - self._stored_at < _CROWDED_SECONDS
            self._store_soon = loop.call_later(_GATHER_SECONDS if crowded else 0, self._store_ended)

    async def _outcome(self, work: Work) -> Event | None:
        """The completion event; ``None`` when a worker died and the activity is delivered again."""
        function = self._functions.get(work.name.lower())
        if function is None:
            return activity.failed(work.task, work.name, missing(work.name, "an activity"), "")
        try:
            if function.is_async:
                result = await self._run_async(function, work.input)
            else:
                result = await self._workers.run(function.name, work.input, alone=work.deaths > 0)
            return activity.completed(work.task, result)
        except NoWorker:
            raise
        except WorkerDied as error:
            return self._after_death(work, error)
        except TimeoutError:
            reason = f"FunctionTimeoutException: the function ran longer than {self._workers.timeout} s and was ended"
            return activity.failed(work.task, work.name, reason, "")
        except ActivityRaised as error:
            return activity.failed(work.task, work.name, error.reason, error.details)
        except Exception as error:
            return activity.failed(work.task, work.name, *activity.failure_of(error))

    def _after_death(self, work: Work, error: WorkerDied) -> Event | None:
        deaths = work.deaths + 1
        with self._engine.store.transaction():
            self._engine.store.count_death(work)
        if deaths < MAX_WORKER_DEATHS:
            log.warning(
                "the activity %s is delivered again (%d of %d): %s", work.name, deaths + 1, MAX_WORKER_DEATHS, error
            )
            self._waiting.append(dataclasses.replace(work, deaths=deaths))
            return None
        reason = f"WorkerDied: {error} in each of {deaths} attempts"
        return activity.failed(work.task, work.name, reason, "")

    def _store_ended(self) -> None:
        """Store all results that came in since the last time in one transaction; if that fails, try again."""
        ended, self._ended = self._ended, []
        if self._store_soon is not None:
            self._store_soon.cancel()
            self._store_soon = None
        if not ended:
            return
        loop = asyncio.get_running_loop()
        try:
            self._engine.activities_ended(ended)
        except Exception:
            log.exception("%d results of activities could not be stored; trying again", len(ended))
            self._ended[:0] = ended
            self._store_soon = loop.call_later(_RETRY_SECONDS, self._store_ended)
        else:
            self._known.difference_update(work.n for work, _ in ended)
        self._stored_at = loop.time()

    def _log(self, work: Work, entry: Event, seconds: float) -> None:
        if "Reason" in entry:
            log.error(
                "Activity %s of %s failed after %.0f ms: %s\n%s",
                work.name,
                work.instance,
                seconds * 1000,
                entry["Reason"],
                entry["Details"],
            )
        else:
            log.info("Activity %s of %s succeeded in %.0f ms", work.name, work.instance, seconds * 1000)
