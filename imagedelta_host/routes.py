"""HTTP functions: ASP.NET route templates, keys, and the way from a request to the function and back.

Source: Azure Functions HTTP trigger reference (route templates, authorization levels).
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from urllib.parse import unquote

import azure.functions as func
from aiohttp import web

from imagedelta_host.errors import AppInvalid
from imagedelta_host.invoke import Invoker
from imagedelta_host.keys import HostKeys, opens
from imagedelta_host.loader import AppFunction

log = logging.getLogger("imagedelta_host")

ALL_METHODS = frozenset(("GET", "POST", "DELETE", "HEAD", "PATCH", "PUT", "OPTIONS"))

_PARAMETER = re.compile(r"\{(\*{0,2})([A-Za-z_]\w*)((?::[^{}?=]+)*)(?:=([^{}]*))?(\?)?\}")
_CONSTRAINTS = {
    "int": r"-?\d+",
    "long": r"-?\d+",
    "bool": r"(?i:true|false)",
    "guid": r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}",
    "alpha": r"[A-Za-z]+",
    "decimal": r"-?\d+(?:\.\d+)?",
    "double": r"-?\d+(?:\.\d+)?",
    "float": r"-?\d+(?:\.\d+)?",
}


@dataclass(frozen=True)
class Route:
    """A route template, compiled.

    Attributes:
        template: As shown to people, without a leading slash.
        pattern: Matches a path without a leading slash, still percent-encoded.
        rank: Sorts more specific templates first: literals, constrained, plain, optional, catch-all.
        defaults: Values of parameters the path does not give.
    """

    template: str
    pattern: re.Pattern[str]
    rank: tuple[int, ...]
    defaults: dict[str, str]

    @staticmethod
    def compile(template: str) -> Route:
        """Compile a template.

        Raises:
            AppInvalid: Braces that are not a parameter, or a constraint that is not known.
        """
        template = template.strip("/")
        pattern, rank, defaults = "", list[int](), dict[str, str]()
        for segment in template.split("/") if template else []:
            text, weight, optional = _segment(template, segment, defaults)
            slash = "/" if pattern else ""
            pattern += f"(?:{slash}{text})?" if optional else slash + text
            rank.append(weight)
        return Route(template, re.compile(pattern, re.IGNORECASE), (*rank, -1), defaults)

    def match(self, path: str) -> dict[str, str] | None:
        """Parameters of a percent-encoded path, decoded; ``None`` when it does not match."""
        found = self.pattern.fullmatch(path)
        if found is None:
            return None
        given = {name: unquote(value) for name, value in found.groupdict().items() if value is not None}
        return {**self.defaults, **given}


def _segment(template: str, segment: str, defaults: dict[str, str]) -> tuple[str, int, bool]:
    """One path segment as (regular expression, rank, whether it may be missing)."""
    text, position, weight, optional = "", 0, 0, False
    for match in _PARAMETER.finditer(segment):
        stars, name, constraints, default, question = match.groups()
        text += _literal(template, segment[position : match.start()])
        text += f"(?P<{name}>{'.*' if stars else _constraint(template, constraints)})"
        position = match.end()
        optional = optional or bool(question or stars or default is not None)
        weight = 4 if stars else max(weight, 1 if constraints else 3 if question else 2)
        if default is not None:
            defaults[name] = default
    return text + _literal(template, segment[position:]), weight, optional


def _literal(template: str, text: str) -> str:
    if "{" in text or "}" in text:
        raise AppInvalid(f"the route {template!r} has braces that are not a parameter")
    return re.escape(text)


def _constraint(template: str, constraints: str) -> str:
    for name in filter(None, constraints.split(":")):
        if name in _CONSTRAINTS:
            return _CONSTRAINTS[name]
        if name.startswith("regex(") and name.endswith(")"):
            return name[6:-1].removeprefix("^").removesuffix("$")
        raise AppInvalid(f"the route {template!r} uses the constraint {name!r}, which is not known")
    return "[^/]+"


@dataclass(frozen=True)
class HttpFunction:
    """An HTTP function with its place in the URL space."""

    function: AppFunction
    route: Route
    methods: frozenset[str]
    level: str

    @staticmethod
    def of(function: AppFunction, prefix: str) -> HttpFunction:
        """Read the trigger; ``prefix`` is host.json's routePrefix."""
        route = str(function.trigger.get("route") or function.name).strip("/")
        methods = frozenset(str(method).upper() for method in function.trigger.get("methods") or ())
        level = str(function.trigger.get("authLevel") or "function").lower()
        full = f"{prefix}/{route}" if prefix else route
        return HttpFunction(function, Route.compile(full), methods or ALL_METHODS, level)


class HttpFunctions:
    """All HTTP functions of the app behind one handler."""

    def __init__(self, functions: list[AppFunction], prefix: str, keys: HostKeys, invoker: Invoker) -> None:
        found = [HttpFunction.of(function, prefix) for function in functions]
        self.all = sorted(found, key=lambda item: item.route.rank)
        self._keys = keys
        self._invoker = invoker
        self.active = 0
        self.draining = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request: 404 without a function, 401 without a key that opens it, 500 when it raises."""
        path = request.rel_url.raw_path.strip("/")
        for item in self.all:
            parameters = item.route.match(path) if request.method in item.methods else None
            if parameters is not None:
                return await self._call(item, request, parameters)
        return web.Response(status=404)

    async def _call(self, item: HttpFunction, request: web.Request, parameters: dict[str, str]) -> web.Response:
        if self.draining:
            return web.Response(status=503, headers={"Retry-After": "5"})
        if not self._may_call(item, request):
            return web.Response(status=401)
        value = func.HttpRequest(
            request.method,
            str(request.url),
            headers=dict(request.headers),
            params=dict(request.query),
            route_params=parameters,
            body=await request.read(),
        )
        self.active += 1
        try:
            return _response(await self._invoker.call(item.function, value))
        except Exception:
            return web.Response(status=500)
        finally:
            self.active -= 1

    def _may_call(self, item: HttpFunction, request: web.Request) -> bool:
        if item.level == "anonymous":
            return True
        accepted = (self._keys.master,) if item.level == "admin" else (self._keys.function, self._keys.master)
        return opens(request.query, request.headers, *accepted)


def _response(result: object) -> web.Response:
    """What a function returned, as a response; text is taken as text/plain.

    Raises:
        TypeError: The function returned something that is no response.
    """
    if result is None:
        return web.Response(status=204)
    if isinstance(result, str):
        result = func.HttpResponse(result)
    if not isinstance(result, func.HttpResponse):
        log.error("an HTTP function returned %s, which is no response", type(result).__name__)
        raise TypeError(f"an HTTP function must return HttpResponse or str, not {type(result).__name__}")
    response = web.Response(status=result.status_code, body=result.get_body())
    for name, value in result.headers.items():
        response.headers.add(name, value)
    if "Content-Type" not in result.headers:
        text = result.mimetype.startswith("text/")
        response.headers["Content-Type"] = f"{result.mimetype}; charset={result.charset}" if text else result.mimetype
    return response
