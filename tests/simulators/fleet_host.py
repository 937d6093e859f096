"""The embedded host in one process that may die anywhere: the real durable engine and triggers over real files.

What reaches the outside (SQL, blobs, hubs, mail, the task hub) goes past ``Fate``, which lets the process die before
the n-th of these operations. Dead, nothing reaches the outside any more, until ``FleetHost.revive`` starts a new
engine on what the files hold.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import azure.durable_functions as df
from sqlalchemy import Engine as SqlEngine
from sqlalchemy import event

from activities import STEPS
from activities.attend import attend
from activities.binding import bind
from imagedelta_host.durable import activity
from imagedelta_host.durable.engine import Engine
from imagedelta_host.durable.episode import Answer
from imagedelta_host.durable.history import compact
from imagedelta_host.durable.orchestrator import run_orchestrator
from imagedelta_host.durable.store import DurableStore, Filter, Instance, Work
from imagedelta_host.invoke import Surroundings
from imagedelta_host.loader import ACTIVITY, ORCHESTRATION, AppFunction
from orchestrators import ORCHESTRATORS
from services.deps import Deps
from tests.simulators.calls import Crash
from tests.simulators.fleet_api import FleetApi
from triggers.due import due
from triggers.http import Start
from triggers.hub_events import HubMessage, ingest
from triggers.starting import LIVE, start_all
from triggers.timer import serve_timer

_AROUND = Surroundings(Path(), lambda: "{}")
UNSYNCED = "PRAGMA synchronous=OFF"
_SOON_SECONDS = 5.0
"""A retry that is due so soon is waited for; the next round looks at what comes later."""
T = TypeVar("T")


class Fate:
    """When the process dies."""

    def __init__(self) -> None:
        self.deaths = 0
        self.dead = False
        self.operations = 0
        self._left: int | None = None
        self._spared = False
        self._lock = threading.Lock()

    def die_in(self, operations: int) -> None:
        """Not now, but before that many more operations are done."""
        self._left = operations

    @property
    def is_doomed(self) -> bool:
        return self._left is not None

    def step(self) -> None:
        """Before each operation on the outside. Raises: Crash."""
        if self._spared:
            return
        with self._lock:
            if not self.dead:
                self._count()
            if self.dead:
                raise Crash

    def _count(self) -> None:
        self.operations += 1
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self._left, self.dead = None, True
                self.deaths += 1

    def revive(self) -> None:
        self.dead = False

    @contextmanager
    def spared(self) -> Iterator[None]:
        """What is done inside is the observer's, not the host's."""
        self._spared = True
        try:
            yield
        finally:
            self._spared = False

    def rule(self, port: T) -> T:
        """The port, each of whose calls is an operation."""
        return cast(T, _Mortal(port, self))

    def rule_sql(self, engine: SqlEngine) -> None:
        """Every statement and every commit is an operation."""

        def statement(*_: Any) -> None:
            self.step()

        event.listen(engine, "before_cursor_execute", statement)
        event.listen(engine, "commit", statement)


class _Mortal:
    def __init__(self, port: Any, fate: Fate) -> None:
        self._port, self._fate = port, fate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if not callable(found):
            return found

        def call(*args: Any, **options: Any) -> Any:
            self._fate.step()
            return found(*args, **options)

        return call


class _MortalStore(DurableStore):
    def __init__(self, path: Path, fate: Fate) -> None:
        super().__init__(path)
        self._db.execute(UNSYNCED)
        self._fate = fate

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._fate.step()
        with super().transaction():
            yield
            self._fate.step()


class FleetHost:
    """Everything that is asked of it is done until nothing is left to do, or raises Crash."""

    def __init__(self, state: Path, deps: Deps, fate: Fate) -> None:
        """``deps`` are already ruled by ``fate``."""
        self.api = FleetApi(deps)
        self._deps, self._fate = deps, fate
        self._state = state / "durable.sqlite"
        self._life = _Life(self._state, deps, fate)

    def revive(self) -> None:
        """A new process on the same files."""
        self._life.close()
        self._fate.revive()
        self._life = _Life(self._state, self._deps, self._fate)
        self.work()

    def close(self) -> None:
        self._life.close()

    def instances(self) -> list[Instance]:
        """The orchestrations that the task hub knows."""
        return self._life.client.engine.store.find(Filter(), 1_000_000)

    def work(self) -> None:
        """Let the orchestrations run."""
        self._life.work(())

    def begin(self, *starts: Start) -> None:
        """Start orchestrations."""
        self._life.work(starts)

    def tick(self) -> None:
        """The timer fires."""
        fire = serve_timer(attend, lambda: self._deps)
        self._life.run(fire(cast(Any, SimpleNamespace(past_due=False)), self._life.client))
        self.work()

    def deliver(self, hub: str, messages: Sequence[HubMessage]) -> None:
        """A hub hands over a batch. What it starts runs with the next ``work``, as behind batches that come fast."""
        self._life.run(start_all(self._life.client, ingest(hub, messages, self._deps)))

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """A request, whose answer is given before its orchestrations have run."""
        answer = self.api.ask(method, path, body, headers=headers)
        self._life.work(answer.start)
        return answer


@dataclass(frozen=True)
class _Client:
    """The durable client of triggers."""

    engine: Engine

    async def get_status(self, instance_id: str) -> Any:
        row = self.engine.store.instance(instance_id)
        return SimpleNamespace(runtime_status=row.status if row else None)

    async def start_new(
        self, orchestration_function_name: str, instance_id: str | None = None, client_input: Any = None
    ) -> str:
        # the SDK sends the JSON text of its input as a JSON text
        return self.engine.start_new(orchestration_function_name, instance_id, compact(compact(client_input)))


class _Life:
    """One process: an event loop, an engine, and its activities one after the other."""

    def __init__(self, path: Path, deps: Deps, fate: Fate) -> None:
        self._fate = fate
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _loop, _context: None)  # of tasks that died with this life
        self._orchestrators = {body.__name__: _orchestrator(body) for body in ORCHESTRATORS}
        self._deps = deps
        steps = (*(bind(step, lambda: deps) for step in STEPS), self.start_due)
        self._activities = {step.__name__: _activity(step) for step in steps}
        self._engine = Engine(
            _MortalStore(path, fate),
            self._orchestrate,
            orchestrators=frozenset(self._orchestrators),
            activities=frozenset(self._activities),
        )
        self._engine.queue = self
        self._waiting = 0
        self.client = _Client(self._engine)
        self._running = self._loop.create_task(self._engine.run())

    def close(self) -> None:
        self._engine.stop()
        self._running.cancel()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
        self._engine.store.close()

    def run(self, coroutine: Any) -> Any:
        value = self._loop.run_until_complete(coroutine)
        self._complain()
        return value

    def work(self, starts: Sequence[Start]) -> None:
        """Start orchestrations and let all that there are run."""
        self.run(start_all(self.client, starts))
        self.run(self._until_idle())

    def start_due(self, payload: dict) -> dict:  # type: ignore[type-arg]  # as in activities.binding
        """The activity triggers.due.start_due, which is asked for from within the loop."""
        for start in due(self._deps):
            row = self._engine.store.instance(start.instance)
            if row is None or row.status not in LIVE:
                self._engine.start_new(start.orchestrator, start.instance, compact(compact(dict(start.payload))))
        return {"ok": True, "value": {}}

    async def _until_idle(self) -> None:
        while not self._fate.dead and self._is_busy():
            await asyncio.sleep(0.0005)

    def _is_busy(self) -> bool:
        engine, soon = self._engine, time.time() + _SOON_SECONDS
        return bool(self._waiting or engine._dirty or engine._running) or any(due < soon for due, _ in engine._due)

    def _complain(self) -> None:
        if self._fate.dead:
            raise Crash

    async def _orchestrate(self, name: str, context: str) -> Answer:
        return run_orchestrator(self._orchestrators[name.lower()], context)

    # ActivityQueue

    def put(self, work: Work) -> None:
        self._waiting += 1
        self._loop.call_soon(self._run_activity, work)

    def _run_activity(self, work: Work) -> None:
        self._waiting -= 1
        try:
            if not self._fate.dead and self._engine.store.has_work(work):
                self._engine.activities_ended([(work, self._outcome(work))])
        except Crash:
            return  # whoever waits for this life sees that it is over

    def _outcome(self, work: Work) -> Any:
        function = self._activities[work.name.lower()]
        try:
            return activity.completed(work.task, activity.run_activity(function, work.input, _AROUND))
        except Exception as error:
            return activity.failed(work.task, work.name, *activity.failure_of(error))


def _orchestrator(body: Callable[[Any], Any]) -> AppFunction:
    run = df.Orchestrator.create(body)
    return AppFunction(body.__name__, body.__name__, ORCHESTRATION, run, {"name": "context"})


def _activity(body: Any) -> AppFunction:
    return AppFunction(body.__name__, body.__name__, ACTIVITY, body, {"name": "payload"})
