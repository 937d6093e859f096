"""The HTTP interface of Durable Functions: what the SDK's client calls, and the management webhooks.

Source: HttpApiHandler of the durable extension 2.x; the public reference "HTTP APIs in Durable Functions".
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote

from aiohttp import web

from imagedelta_host.durable.binding import RPC_PATH, WEBHOOK_PATH, ClientBinding
from imagedelta_host.durable.engine import Engine, FunctionMissing, InstanceExists
from imagedelta_host.durable.history import TERMINAL, EventType, compact, event, moment_of, text_of
from imagedelta_host.durable.rewind import RewindImpossible
from imagedelta_host.durable.status import history_of, status_of
from imagedelta_host.durable.store import Filter, Instance
from imagedelta_host.keys import opens, same

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_PAGE = 1000
_MAX_PAGE = 100_000
_EVENTS = {"terminate": EventType.EXECUTION_TERMINATED, "suspend": EventType.SUSPENDED, "resume": EventType.RESUMED}


class DurableHttpApi:
    """Handlers over one engine."""

    def __init__(self, engine: Engine, binding: Callable[[], ClientBinding], master_key: str) -> None:
        self._engine = engine
        self._binding = binding
        self._master_key = master_key

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve the same handlers below the SDK's path (secret segment) and below the webhooks (key)."""
        for base, guard in ((f"{RPC_PATH}/{{rpc}}", self._rpc_guard), (WEBHOOK_PATH, self._webhook_guard)):
            add = router.add_route
            add("POST", f"{base}/orchestrators/{{name}}", guard(self._start))
            add("POST", f"{base}/orchestrators/{{name}}/{{instance}}", guard(self._start))
            for path in (f"{base}/instances", f"{base}/instances/"):
                add("GET", path, guard(self._list))
                add("DELETE", path, guard(self._purge_many))
            add("GET", f"{base}/instances/{{instance}}", guard(self._get))
            add("DELETE", f"{base}/instances/{{instance}}", guard(self._purge))
            add("POST", f"{base}/instances/{{instance}}/raiseEvent/{{event}}", guard(self._raise_event))
            add("POST", f"{base}/instances/{{instance}}/{{operation}}", guard(self._operate))
            add("*", f"{base}/entities{{rest:.*}}", guard(_no_entities))

    def _rpc_guard(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if not same(request.match_info["rpc"], self._binding().rpc_key):
                return web.Response(status=404)
            return await handler(request)

        return guarded

    def _webhook_guard(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if not opens(request.query, request.headers, self._binding().webhook_key, self._master_key):
                return web.Response(status=401)
            return await handler(request)

        return guarded

    # Starting

    async def _start(self, request: web.Request) -> web.StreamResponse:
        try:
            seconds = _number(request.query, "timeout", 10.0)
            raw_input = await _json_text(request)
            instance = self._engine.start_new(
                request.match_info["name"],
                request.match_info.get("instance"),
                raw_input,
                request.query.get("version", ""),
            )
        except (ValueError, FunctionMissing) as error:
            return _refusal("One or more of the arguments submitted is incorrect", error, 400)
        except InstanceExists as error:
            return _refusal("The instance cannot be started", error, 409)
        if "timeout" in request.query:
            await self._wait(instance, seconds)
            row = self._engine.store.instance(instance)
            if row is not None and row.status in TERMINAL:
                return _finished(row)
        return self._started(instance)

    async def _wait(self, instance: str, seconds: float) -> None:
        deadline = asyncio.get_running_loop().time() + min(seconds, 230.0)
        while asyncio.get_running_loop().time() < deadline:
            row = self._engine.store.instance(instance)
            if row is None or row.status in TERMINAL:
                return
            await asyncio.sleep(0.1)

    def _started(self, instance: str) -> web.Response:
        urls = self._binding().management_urls(quote(instance, safe=""))
        urls["id"] = instance
        headers = {"Location": urls["statusQueryGetUri"], "Retry-After": "10"}
        return web.json_response(urls, status=202, headers=headers)

    # Asking

    async def _get(self, request: web.Request) -> web.StreamResponse:
        row = self._row(request)
        if row is None:
            return web.Response(status=404)
        history = None
        if _flag(request.query, "showHistory"):
            texts = self._engine.store.history(row.id)
            history = history_of(texts, with_output=_flag(request.query, "showHistoryOutput"))
        payload = status_of(row, with_input=_flag(request.query, "showInput", default=True), history=history)
        if row.status not in TERMINAL:
            return web.json_response(payload, status=202, headers={"Location": str(request.url), "Retry-After": "5"})
        broken = row.status == "Failed" and _flag(request.query, "returnInternalServerErrorOnFailure")
        return web.json_response(payload, status=500 if broken else 200)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        try:
            wanted = _filter(request.query)
            after = request.headers.get("x-ms-continuation-token")
            if after:
                created, _, last = after.partition(" ")
                wanted = Filter(**{**vars(wanted), "after": (created, last)})
            top = int(_number(request.query, "top", _MAX_PAGE))
        except ValueError as error:
            return _refusal("A query parameter is incorrect", error, 400)
        limit = max(1, min(top, _MAX_PAGE))
        rows = self._engine.store.find(wanted, limit + 1)
        token = f"{rows[limit - 1].created} {rows[limit - 1].id}" if len(rows) > limit else ""
        with_input = _flag(request.query, "showInput", default=True)
        payload = [status_of(row, with_input=with_input) for row in rows[:limit]]
        return web.json_response(payload, headers={"x-ms-continuation-token": token})

    # Steering

    async def _raise_event(self, request: web.Request) -> web.StreamResponse:
        row = self._row(request)
        if row is None or row.status in TERMINAL:
            return web.Response(status=404 if row is None else 410)
        if request.content_type != "application/json":
            return web.json_response({"Message": "Only application/json request content is supported"}, status=400)
        try:
            raw_input = await _json_text(request)
        except ValueError as error:
            return _refusal("The request content is not JSON", error, 400)
        raised = event(EventType.EVENT_RAISED, Name=request.match_info["event"], Input=raw_input)
        self._engine.send(row, raised)
        return web.Response(status=202)

    async def _operate(self, request: web.Request) -> web.StreamResponse:
        row, operation = self._row(request), request.match_info["operation"].lower()
        if operation not in (*_EVENTS, "restart", "rewind"):
            return web.Response(status=404)
        if row is None:
            return web.Response(status=404)
        if operation == "restart":
            return self._restart(row, request)
        if operation == "rewind":
            return self._rewind(row, request)
        if row.status in TERMINAL:
            return web.Response(status=410)
        if operation != "terminate" and (row.status == "Suspended") is (operation == "suspend"):
            return _wrong_state(f"Cannot {operation} the orchestration instance {row.id}", row)
        reason = request.query.get("reason", "")
        self._engine.send(row, event(_EVENTS[operation], Input=reason, Reason=reason))
        return web.Response(status=202)

    def _restart(self, row: Instance, request: web.Request) -> web.Response:
        instance = None if _flag(request.query, "restartWithNewInstanceId", default=True) else row.id
        try:
            return self._started(self._engine.start_new(row.name, instance, row.input, row.version))
        except InstanceExists as error:
            return _refusal("The instance cannot be restarted", error, 409)
        except FunctionMissing as error:
            return _refusal("The instance cannot be restarted", error, 400)

    def _rewind(self, row: Instance, request: web.Request) -> web.Response:
        if row.status not in TERMINAL:
            return _wrong_state(f"Cannot rewind the orchestration instance {row.id}", row)
        if row.status != "Failed":
            return web.Response(status=410)
        try:
            self._engine.rewind(row, request.query.get("reason", ""))
        except RewindImpossible as error:
            return _refusal("The instance cannot be rewound", error, 409)
        return web.Response(status=202)

    async def _purge(self, request: web.Request) -> web.StreamResponse:
        row = self._row(request)
        if row is None:
            return web.Response(status=404)
        if row.status not in TERMINAL:
            return _wrong_state(f"Cannot purge the orchestration instance {row.id}", row)
        self._engine.purge(row.id)
        return web.json_response({"instancesDeleted": 1})

    async def _purge_many(self, request: web.Request) -> web.StreamResponse:
        try:
            wanted = _filter(request.query)
        except ValueError as error:
            return _refusal("A query parameter is incorrect", error, 400)
        if not wanted.created_from:
            return web.json_response("Please provide value for 'createdTimeFrom' parameter.", status=400)
        ended = tuple(status for status in wanted.statuses or TERMINAL if status in TERMINAL)
        deleted = 0
        while ended and (rows := self._engine.store.find(Filter(**{**vars(wanted), "statuses": ended}), _PAGE)):
            for row in rows:
                self._engine.purge(row.id)
            deleted += len(rows)
            await asyncio.sleep(0)
        return web.json_response({"instancesDeleted": deleted}) if deleted else web.Response(status=404)

    def _row(self, request: web.Request) -> Instance | None:
        return self._engine.store.instance(request.match_info["instance"])


async def _no_entities(request: web.Request) -> web.StreamResponse:
    return _refusal("durable entities are not served by the embedded host", None, 501)


def _wrong_state(refusal: str, row: Instance) -> web.Response:
    """The real host's handler raises here, and answers so."""
    message = f"{refusal} because instance is in the {row.status} state."
    body = {
        "Message": "Something went wrong while processing your request",
        "ExceptionMessage": message,
        "ExceptionType": "System.InvalidOperationException",
    }
    return web.json_response(body, status=500)


def _refusal(message: str, error: Exception | None, status: int) -> web.Response:
    body = {"Message": message, "ExceptionMessage": str(error or message)}
    return web.json_response(body, status=status)


def _finished(row: Instance) -> web.Response:
    if row.status == "Completed":
        return web.Response(text=row.output or "null", content_type="application/json")
    return web.json_response(status_of(row, with_input=True), status=500 if row.status == "Failed" else 200)


async def _json_text(request: web.Request) -> str | None:
    """A request body as compact JSON text; ``None`` when it is empty or null.

    Raises:
        ValueError: It is not JSON.
    """
    try:
        text = await request.text()
    except LookupError as error:
        raise ValueError(f"the charset is not known: {error}") from error
    if not text.strip():
        return None
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error
    return None if value is None else compact(value)


def _flag(query: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    text = query.get(name)
    return default if text is None else text.lower() == "true"


def _number(query: Mapping[str, str], name: str, default: float) -> float:
    """A query parameter as number.

    Raises:
        ValueError: It is none, or not finite.
    """
    value = float(query.get(name, default))
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number")
    return value


def _filter(query: Any) -> Filter:
    """Read which instances a request is about.

    Raises:
        ValueError: A time cannot be read.
    """
    statuses = [status.strip() for value in query.getall("runtimeStatus", []) for status in value.split(",")]
    return Filter(
        prefix=query.get("instanceIdPrefix", ""),
        created_from=_time(query.get("createdTimeFrom", "")),
        created_to=_time(query.get("createdTimeTo", "")),
        statuses=tuple(status for status in statuses if status),
    )


def _time(text: str) -> str:
    return text_of(moment_of(text)) if text else ""
