"""HTTP functions: which one a request is for, who may call it, and the way there and back.

Source: Azure Functions HTTP trigger reference; GrpcMessageConversionExtensions and WebJobsRouter of the Functions
host; invocation of the Python worker. Not here: how a template matches (imagedelta_host.route_templates).
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import azure.functions as func
from aiohttp import web
from azure.functions import meta
from multidict import MultiMapping

from imagedelta_host.converters import converter_of
from imagedelta_host.invoke import Invoker, OutValue, TraceContext
from imagedelta_host.keys import HostKeys, opens
from imagedelta_host.loader import HTTP, AppFunction
from imagedelta_host.route_templates import RouteTemplate

log = logging.getLogger("imagedelta_host")

ALL_METHODS = frozenset(("GET", "POST", "DELETE", "HEAD", "PATCH", "PUT", "OPTIONS", "TRACE"))

_FRAMING = frozenset(("content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "trailer", "te"))
"""Headers that tell where a message ends: the server's business, whatever an app says."""
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_HOME_PAGE = "<!DOCTYPE html><title>Functions</title><h1>Your function app is up and running</h1>"
_NO_HOME_PAGE = "AzureWebJobsDisableHomepage"
_STATUS = range(200, 1000)


@dataclass(frozen=True)
class HttpFunction:
    """An HTTP function with its place in the URL space."""

    function: AppFunction
    route: RouteTemplate
    methods: frozenset[str]
    level: str

    @staticmethod
    def of(function: AppFunction, prefix: str) -> HttpFunction:
        """Read the trigger; ``prefix`` is host.json's routePrefix.

        Raises:
            AppInvalid: The route cannot be read.
        """
        route = str(function.trigger.get("route") or function.name).strip("/")
        methods = frozenset(str(method).upper() for method in function.trigger.get("methods") or ())
        level = str(function.trigger.get("authLevel") or "function").lower()
        full = f"{prefix}/{route}" if prefix else route
        return HttpFunction(function, RouteTemplate(full), methods or ALL_METHODS, level)


class HttpFunctions:
    """All HTTP functions of the app behind one handler."""

    def __init__(self, functions: Iterable[AppFunction], prefix: str, keys: HostKeys, invoker: Invoker) -> None:
        """Raises:
        AppInvalid: A route cannot be read.
        """
        in_order = sorted(functions, key=lambda function: function.name.upper())
        self.all = [HttpFunction.of(function, prefix) for function in in_order]
        self._keys = keys
        self._invoker = invoker
        self.active = 0
        self.draining = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request by the first function, in the order of names, whose route and methods match.

        404 without one, 401 without a key that opens it, 500 when it raises.
        """
        path = request.rel_url.raw_path.removeprefix("/").removesuffix("/")
        for item in self.all:
            parameters = item.route.match(path) if request.method in item.methods else None
            if parameters is not None:
                return await self._call(item, request, parameters)
        return _home_page() if path == "" else web.Response(status=404)

    async def _call(self, item: HttpFunction, request: web.Request, parameters: dict[str, str]) -> web.Response:
        if self.draining:
            return web.Response(status=503, headers={"Retry-After": "5"})
        if not self._may_call(item, request):
            return web.Response(status=401)
        value = await _function_request(request, parameters)
        trace = TraceContext(value.headers.get("traceparent", ""), value.headers.get("tracestate", ""))
        self.active += 1
        try:
            return await self._run(item.function, value, trace)
        except Exception:
            return web.Response(status=500)
        finally:
            self.active -= 1

    async def _run(self, function: AppFunction, value: func.HttpRequest, trace: TraceContext) -> web.Response:
        outputs = {name: OutValue() for name in function.outputs}
        returned = await self._invoker.call(function, value, trace=trace, outputs=outputs)
        try:
            return _response(value.method, _answers(function, returned, outputs))
        except Exception as error:
            log.error("Function %s answered what cannot be sent: %s", function.name, error)
            raise

    def _may_call(self, item: HttpFunction, request: web.Request) -> bool:
        if item.level == "anonymous":
            return True
        accepted = (self._keys.master,) if item.level == "admin" else (self._keys.function, self._keys.master)
        return opens(request.query, request.headers, *accepted)


def _home_page() -> web.Response:
    """What the real host shows at its root, unless ``AzureWebJobsDisableHomepage`` is true."""
    disabled = os.environ.get(_NO_HOME_PAGE, "")
    if disabled.strip().lower() in ("true", "1"):
        return web.Response(status=204)
    return web.Response(text=_HOME_PAGE, content_type="text/html")


async def _function_request(request: web.Request, parameters: dict[str, str]) -> func.HttpRequest:
    """The request as the Python worker gets it from the host; the SDK's converter makes it, there as here."""
    http = {
        "method": _string(request.method),
        "url": _string(str(request.url)),
        "headers": {name.lower(): _string(value) for name, value in _joined(request.headers).items()},
        "query": {name: _string(value) for name, value in _joined(request.query).items() if value},
        "params": {name: _string(value) for name, value in parameters.items()},
        "body": meta.Datum(await request.read(), "bytes"),
    }
    made: func.HttpRequest = converter_of(HTTP).decode(meta.Datum(http, "http"), trigger_metadata=None)
    return made


def _string(value: str) -> meta.Datum:
    return meta.Datum(value, "string")


def _joined(pairs: MultiMapping[str]) -> dict[str, str]:
    """Values that came more than once, whatever the case of their names, joined by a comma; empty ones left out."""
    names: dict[str, str] = {}
    values: dict[str, list[str]] = {}
    for name, value in pairs.items():
        names.setdefault(name.lower(), name)
        values.setdefault(name.lower(), []).append(_text(value))
    return {name: ",".join(filter(None, values[key])) for key, name in names.items()}


def _text(value: str) -> str:
    """Without the marks that aiohttp leaves for bytes that are not UTF-8."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _answers(function: AppFunction, returned: object, outputs: dict[str, OutValue]) -> list[Any]:
    """What a function set and returned, encoded by the SDK as in the worker.

    Raises:
        TypeError: Something that is no HTTP response.
    """
    set_ = [_encoded(output.get()) for output in outputs.values() if output.get() is not None]
    if function.returns:
        return [*set_, _encoded(returned)]
    return set_


def _encoded(value: object) -> Any:
    try:
        return converter_of("http").encode(value, expected_type=None)
    except NotImplementedError as error:
        raise TypeError(
            f'unable to encode outgoing TypedData: unsupported type "http" for Python type "{type(value).__name__}"'
        ) from error


def _response(method: str, answers: list[Any]) -> web.Response:
    """The last answer, as a response; 200 without one, as in the real host."""
    if not answers:
        return web.Response()
    answer = answers[-1]
    if answer.type == "string":
        return web.Response(text=answer.value)
    status, body = int(answer.value["status_code"].value), answer.value["body"].value
    if status not in _STATUS:
        raise ValueError(f"the status code {status} is none")
    headers = {name: datum.value for name, datum in answer.value["headers"].items()}
    response = web.Response(status=status, body=body, headers=_sendable(headers, method))
    for cookie in answer.value["cookies"] or ():
        for morsel in cookie.values():
            response.headers.add("Set-Cookie", morsel.OutputString())
    return response


def _sendable(headers: dict[str, str], method: str) -> dict[str, str]:
    """The headers without those of framing; a length stays where there is no body to be measured.

    Raises:
        ValueError: A name or value that would end the header.
    """
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"the header {name!r} cannot be sent")
    length = {n: v for n, v in headers.items() if n.lower() == "content-length" and method == "HEAD" and v.isdecimal()}
    return {**{name: value for name, value in headers.items() if name.lower() not in _FRAMING}, **length}
