"""The host put together: the app's functions, the durable engine, triggers, mounts and the web server."""

from __future__ import annotations

import asyncio
import os
import socket
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from imagedelta_host import workers
from imagedelta_host.admin import AdminApi
from imagedelta_host.durable.activity import run_async_activity
from imagedelta_host.durable.binding import ClientBinding
from imagedelta_host.durable.dispatch import ActivityDispatcher
from imagedelta_host.durable.engine import Engine
from imagedelta_host.durable.episode import Answer
from imagedelta_host.durable.history import compact
from imagedelta_host.durable.http_api import DurableHttpApi
from imagedelta_host.durable.orchestrator import run_orchestrator
from imagedelta_host.durable.store import DurableStore
from imagedelta_host.event_pump import EventPump, event_source_of
from imagedelta_host.invoke import Invoker, Surroundings
from imagedelta_host.keys import HostKeys
from imagedelta_host.loader import ACTIVITY, EVENT_HUB, HTTP, ORCHESTRATION, TIMER, AppFunction
from imagedelta_host.mounts import Mounts
from imagedelta_host.routes import ALL_METHODS, HttpFunctions
from imagedelta_host.settings import HostSettings
from imagedelta_host.supervisor import Supervisor
from imagedelta_host.timers import Timer, TimerStatuses
from imagedelta_host.user_loop import UserLoop

MAX_REQUEST_BYTES = 100 << 20


class Host:
    """One app, served."""

    def __init__(
        self,
        app_dir: Path,
        state: Path,
        functions: list[AppFunction],
        settings: HostSettings,
        keys: HostKeys,
        url: str,
        mounts: Mounts = (),
    ) -> None:
        """Build everything; nothing runs yet. ``mounts`` are served at ``url`` beside the functions.

        Raises:
            HostError: A route, schedule or event hub setting cannot be served.
        """
        self.functions = functions
        self._settings = settings
        self._url = url
        self._mounts = mounts
        self._binding = ClientBinding(url, settings.hub_name, keys.durable, keys.rpc)
        self._user_loop = UserLoop()
        self._invoker = Invoker(app_dir, self._user_loop, self._binding.value)
        self._surroundings = Surroundings(app_dir, self._binding.value)
        self._orchestrators = _by_durable_name(functions, ORCHESTRATION)
        self._activities = _by_durable_name(functions, ACTIVITY)
        self._store = DurableStore(state / "durable.sqlite")
        self._engine = self._make_engine()
        self._workers = workers.WorkerPool(
            app_dir, workers.default_size(), settings.timeout_seconds, self._binding.value
        )
        self._dispatcher = ActivityDispatcher(
            self._engine,
            self._activities,
            self._workers,
            self._run_async,
            settings.max_activities,
        )
        http = [f for f in functions if f.kind == HTTP and not f.disabled]
        self.http = HttpFunctions(http, settings.route_prefix, keys, self._invoker)
        statuses = TimerStatuses(state / "timers.json")
        self._timers = {f.name: Timer(f, statuses, self._invoker) for f in functions if f.kind == TIMER}
        self._pumps = {f.name: self._make_pump(f) for f in functions if f.kind == EVENT_HUB and not f.disabled}
        self._admin = AdminApi(functions, keys, self._run_by_hand, self._status)
        self._durable_api = DurableHttpApi(self._engine, lambda: self._binding, keys.master)
        self._supervisor = Supervisor()
        self._tasks: list[asyncio.Task[None]] = []
        self._engine_task: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None

    def _make_engine(self) -> Engine:
        return Engine(
            self._store,
            self._orchestrate,
            orchestrators=frozenset(self._orchestrators),
            activities=frozenset(self._activities),
            max_orchestrators=self._settings.max_orchestrators,
            replace_running=self._settings.replace_running,
        )

    def _make_pump(self, function: AppFunction) -> EventPump:
        source = event_source_of(function, self._mounts)
        return EventPump(function, source, self._invoker, self._settings.event_batch)

    # Running functions

    async def _orchestrate(self, name: str, context: str) -> Answer:
        answer: Answer = await self._user_loop.run_orchestrator(
            partial(run_orchestrator, self._orchestrators[name.lower()], context)
        )
        return answer

    async def _run_async(self, function: AppFunction, raw_input: str | None) -> str | None:
        result: str | None = await self._user_loop.run_async(
            run_async_activity(function, raw_input, self._surroundings)
        )
        return result

    async def _run_by_hand(self, function: AppFunction, value: Any) -> None:
        if function.kind == TIMER:
            await self._timers[function.name].fire()
        elif function.kind == EVENT_HUB:
            await self._pumps[function.name].run_by_hand(value)
        else:
            self._engine.start_new(function.durable_name, None, None if value is None else compact(value))

    # Life

    async def start(self, listener: socket.socket) -> None:
        """Serve on a bound socket and start every trigger."""
        application = web.Application(client_max_size=MAX_REQUEST_BYTES)
        self._admin.add_routes(application.router)
        self._durable_api.add_routes(application.router)
        for mount in self._mounts:
            mount.add_routes(application.router)
        application.router.add_route("*", "/{path:(?s:.*)}", self.http.handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=2.0)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()
        self._engine_task = self._supervisor.start("durable engine", self._engine.run)
        self._tasks = [self._supervisor.start(item.function.name, item.run_forever) for item in self._triggers()]

    def _triggers(self) -> list[Timer | EventPump]:
        triggers: list[Timer | EventPump] = [*self._timers.values(), *self._pumps.values()]
        return [trigger for trigger in triggers if not trigger.function.disabled]

    async def stop(self) -> bool:
        """Take no more work, finish what runs within the limit, end; returns whether all of it was finished."""
        limit = self._settings.graceful_seconds
        self.http.draining = True
        self._engine.stop()
        finished = await asyncio.gather(
            self._stop_triggers(limit), self._dispatcher.stop(limit), self._drain_requests(limit)
        )
        if self._engine_task is not None:
            await asyncio.wait([self._engine_task], timeout=2.0)
            self._engine_task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._workers.stop()
        await asyncio.to_thread(self._user_loop.stop)
        self._store.close()
        for mount in self._mounts:
            mount.close()
        return sum(finished) == 0

    async def _stop_triggers(self, seconds: float) -> int:
        triggers = self._triggers()
        for trigger, task in zip(triggers, self._tasks, strict=False):
            trigger.stopping = True
            if not trigger.busy:
                task.cancel()
        if not self._tasks:
            return 0
        _, left = await asyncio.wait(self._tasks, timeout=seconds)
        for task in left:
            task.cancel()
        return len(left)

    async def _drain_requests(self, seconds: float) -> int:
        deadline = asyncio.get_running_loop().time() + seconds
        while self.http.active and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)
        return self.http.active

    # Looking at it

    def _status(self) -> dict[str, Any]:
        errors = [
            *self._supervisor.errors,
            *(f"orchestration {instance}: {error}" for instance, error in self._engine.troubles.items()),
            *(f"activity {trouble}" for trouble in self._dispatcher.troubles.values()),
        ]
        return {
            "state": "Error" if errors else "Running",
            "errors": errors,
            "processId": os.getpid(),
            "workerProcessIds": self._workers.process_ids,
            "functions": len(self.functions),
            "loops": [loop.document() for loop in self._supervisor.loops],
        }

    def describe(self) -> list[str]:
        """The functions as a dev server lists them: HTTP functions with methods and URL, others with their kind."""
        lines = []
        for item in self.http.all:
            methods = "any" if item.methods == ALL_METHODS else ",".join(sorted(item.methods))
            lines.append(f"{item.function.name}: [{methods}] {self._url}/{item.route.text}")
        for function in self.functions:
            if function.disabled:
                lines.append(f"{function.name}: {function.kind} (disabled)")
            elif function.kind == TIMER:
                lines.append(f"{function.name}: {function.kind} {self._timers[function.name].schedule.expression}")
            elif function.kind == EVENT_HUB:
                lines.append(f"{function.name}: {function.kind} of {self._pumps[function.name].source.name}")
            elif function.kind != HTTP:
                lines.append(f"{function.name}: {function.kind}")
        return lines


def _by_durable_name(functions: list[AppFunction], kind: str) -> dict[str, AppFunction]:
    """Functions of a kind that are switched on, by the name that orchestrators call them, in lower case."""
    return {
        function.durable_name.lower(): function
        for function in functions
        if function.kind == kind and not function.disabled
    }
