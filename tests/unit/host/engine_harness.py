"""The durable engine with real orchestrators of the SDK, in one process, and power cuts at chosen commits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import azure.durable_functions as df

from imagedelta_host.durable import activity
from imagedelta_host.durable.engine import Engine
from imagedelta_host.durable.episode import Answer
from imagedelta_host.durable.history import TERMINAL, compact
from imagedelta_host.durable.orchestrator import run_orchestrator
from imagedelta_host.durable.store import DurableStore, Instance, Work
from imagedelta_host.invoke import Surroundings
from imagedelta_host.loader import ACTIVITY, ORCHESTRATION, AppFunction

AROUND = Surroundings(Path(), lambda: "{}")


class PowerCut(BaseException):
    """The process is gone at this point."""


class CuttingStore(DurableStore):
    """A store whose ``cut_at``-th transaction (from 1) loses power before or after its commit."""

    def __init__(self, path: Path, cut_at: int = 0, after_commit: bool = False) -> None:
        super().__init__(path)
        self.commits = 0
        self.dead = False
        self._cut_at = cut_at
        self._after = after_commit

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if self.dead:
            raise PowerCut
        self.commits += 1
        cut = self.commits == self._cut_at
        with super().transaction():
            yield
            if cut and not self._after:
                self.dead = True
                raise PowerCut
        if cut:
            self.dead = True
            raise PowerCut


def orchestrator(body: Callable[[Any], Any], name: str = "") -> AppFunction:
    """An orchestrator as the loader would index it; ``name`` in place of the function's own."""
    run = df.Orchestrator.create(body)
    return AppFunction(name or body.__name__, name or body.__name__, ORCHESTRATION, run, {"name": "context"})


def activity_function(body: Callable[[Any], Any]) -> AppFunction:
    """An activity as the loader would index it."""
    return AppFunction(body.__name__, body.__name__, ACTIVITY, body, {"name": "payload"})


class LocalQueue:
    """Runs activities at once, in the loop, and counts them."""

    def __init__(self, engine: Engine, functions: dict[str, AppFunction]) -> None:
        self.runs: list[tuple[str, str | None]] = []
        self._engine = engine
        self._functions = functions
        engine.queue = self

    def put(self, work: Work) -> None:
        asyncio.get_running_loop().call_soon(self._run, work)

    def _run(self, work: Work) -> None:
        store = self._engine.store
        if getattr(store, "dead", False) or not store.has_work(work):
            return
        self.runs.append((work.name, work.input))
        function = self._functions[work.name.lower()]
        try:
            entry = activity.completed(work.task, activity.run_activity(function, work.input, AROUND))
        except Exception as error:
            entry = activity.failed(work.task, work.name, *activity.failure_of(error))
        with suppress(PowerCut):
            self._engine.activities_ended([(work, entry)])


class Machine:
    """One life of the process: an engine over a store, driven until an instance has ended or the power is cut."""

    def __init__(self, store: DurableStore, functions: list[AppFunction]) -> None:
        self.orchestrators = {f.durable_name.lower(): f for f in functions if f.kind == ORCHESTRATION}
        activities = {f.durable_name.lower(): f for f in functions if f.kind == ACTIVITY}
        self.episodes = 0
        self.store = store
        self.engine = Engine(
            store, self._orchestrate, orchestrators=frozenset(self.orchestrators), activities=frozenset(activities)
        )
        self.queue = LocalQueue(self.engine, activities)

    async def _orchestrate(self, name: str, context: str) -> Answer:
        self.episodes += 1
        return run_orchestrator(self.orchestrators[name.lower()], context)

    def start(self, name: str, payload: object = None, instance: str = "it") -> str:
        raw_input = None if payload is None else compact(compact(payload))
        return self.engine.start_new(name, instance, raw_input)

    async def run_until(self, done: Callable[[], bool], seconds: float = 10.0) -> None:
        """Drive the engine until ``done`` or a power cut."""
        task = asyncio.create_task(self.engine.run())
        deadline = asyncio.get_running_loop().time() + seconds
        while not done() and not getattr(self.store, "dead", False):
            assert asyncio.get_running_loop().time() < deadline, "the engine does not get any further"
            await asyncio.sleep(0.001)
        self.engine.stop()
        task.cancel()
        await asyncio.gather(task, *self.engine._tasks, return_exceptions=True)

    async def finish(self, instance: str = "it", seconds: float = 10.0) -> Instance:
        """Drive the engine until an instance has ended."""
        await self.run_until(lambda: self.row(instance).status in TERMINAL, seconds)
        return self.row(instance)

    def row(self, instance: str = "it") -> Instance:
        row = self.store.instance(instance)
        assert row is not None
        return row
