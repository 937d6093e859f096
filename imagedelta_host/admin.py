"""The admin interface, for the master key: run a function by hand, and the state of the host."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from imagedelta_host.keys import HostKeys, opens
from imagedelta_host.loader import EVENT_HUB, ORCHESTRATION, TIMER, AppFunction

log = logging.getLogger("imagedelta_host")

_BY_HAND = (TIMER, EVENT_HUB, ORCHESTRATION)

RunByHand = Callable[[AppFunction, Any], Awaitable[None]]


class AdminApi:
    """Handlers below ``/admin``."""

    def __init__(
        self,
        functions: list[AppFunction],
        keys: HostKeys,
        run: RunByHand,
        status: Callable[[], dict[str, Any]],
    ) -> None:
        self._functions = {function.name.lower(): function for function in functions}
        self._keys = keys
        self._run = run
        self._status = status
        self._running: set[asyncio.Task[None]] = set()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve the paths of the real host."""
        router.add_route("POST", "/admin/functions/{name}", self._invoke)
        router.add_route("GET", "/admin/functions", self._list)
        router.add_route("GET", "/admin/host/status", self._show_status)
        for method in ("GET", "POST"):
            router.add_route(method, "/admin/host/ping", _ping)

    async def _invoke(self, request: web.Request) -> web.StreamResponse:
        """Run a function soon; answers 202 before it has run, as the real host does."""
        if not self._may(request):
            return web.Response(status=401)
        function = self._functions.get(request.match_info["name"].lower())
        if function is None:
            return web.Response(status=404)
        if function.kind not in _BY_HAND:
            return web.json_response({"message": f"a function with {function.kind} is not run by hand"}, status=400)
        if function.disabled:
            return web.json_response({"message": f"the function {function.name} is disabled"}, status=400)
        try:
            body = json.loads(await request.text() or "{}")
        except (ValueError, LookupError, RecursionError):
            return web.json_response({"message": "the body must be JSON"}, status=400)
        value = body.get("input") if isinstance(body, dict) else None
        task = asyncio.create_task(self._guarded(function, value))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return web.Response(status=202)

    async def _guarded(self, function: AppFunction, value: Any) -> None:
        try:
            await self._run(function, value)
        except Exception as error:
            log.error("%s, run by hand, failed: %s", function.name, error)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        if not self._may(request):
            return web.Response(status=401)
        listed = [
            {"name": function.name, "isDisabled": function.disabled, "trigger": function.kind}
            for function in self._functions.values()
        ]
        return web.json_response(listed)

    async def _show_status(self, request: web.Request) -> web.StreamResponse:
        if not self._may(request):
            return web.Response(status=401)
        return web.json_response(self._status())

    def _may(self, request: web.Request) -> bool:
        return opens(request.query, request.headers, self._keys.master)


async def _ping(request: web.Request) -> web.StreamResponse:
    """For anyone: whether the host answers at all."""
    return web.Response()
