"""The one wrapper between the Functions host and handlers: bounds, refusals, errors, starts."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import azure.functions as func

from contracts.parameters import PATH, Parameter
from contracts.responses import Problem, View
from imagedelta.errors import DependencyError, ImageDeltaError, RequestError
from services.deps import Deps
from services.watching.log_fields import about
from services.watching.metrics import REFUSALS
from services.watching.telemetry import traceparent_of
from triggers.gate import Gate
from triggers.http import MAX_BODY_BYTES, Answer, Request, not_found
from triggers.operations import Operation, Resource
from triggers.problems import problem_of
from triggers.starting import Starter, start_all

log = logging.getLogger(__name__)

GetDeps = Callable[[], Deps]

_IDS = {
    "setId": "set_id",
    "deviceId": "device_id",
    "imageId": "image_id",
    "transferId": "transfer_id",
    "registrationId": "registration_id",
}
"""Of a route -> on log lines."""


def answer_to(resource: Resource, request: Request, deps: GetDeps, gate: Gate) -> Answer:
    """Run the handler for ``request``; every error becomes an answer.

    Who may not call learns nothing but that: neither what else is wrong with the request nor with the settings.
    """
    with about(**{name: request.params[given] for given, name in _IDS.items() if given in request.params}):
        try:
            operation = _operation(resource, request)
            if not resource.anonymous:
                request = replace(request, caller=gate.admit(operation.role, request.headers))
            request = _checked(operation, request)
            return _handled(resource, operation, request, deps())
        except Exception as error:
            return _problem_answer(resource, problem_of(error, request.path))


def _handled(resource: Resource, operation: Operation, request: Request, deps: Deps) -> Answer:
    """What changes something begins a trace, or goes on with its caller's; reading is not watched."""
    if operation.method == "GET":
        return operation.handler(request, deps)
    name, caller = f"{operation.method} {resource.path}", traceparent_of(request.headers.get("traceparent"))
    try:
        with deps.telemetry.span(name, parent=caller) as span:
            answer = operation.handler(replace(request, trace=span.traceparent), deps)
            span.attributes["http.response.status_code"] = answer.status
            return answer
    except ImageDeltaError as error:
        deps.telemetry.record(REFUSALS, 1, operation=name, code=error.code)
        raise


def serve_read(resource: Resource, deps: GetDeps, gate: Gate) -> Callable[[func.HttpRequest], func.HttpResponse]:
    """The function of a resource that only answers."""

    def run(req: func.HttpRequest) -> func.HttpResponse:
        return _response(answer_to(resource, to_request(req), deps, gate))

    return run


def serve_work(resource: Resource, deps: GetDeps, gate: Gate) -> Callable[..., Any]:
    """The function of a resource that may start orchestrations, by its durable client."""

    async def run(req: func.HttpRequest, client: Starter) -> func.HttpResponse:
        request = to_request(req)
        answer = await asyncio.to_thread(answer_to, resource, request, deps, gate)
        try:
            await start_all(client, answer.start)
        except DependencyError as error:
            # SQL has the order and the timer starts what SQL says is due: the caller's answer stands
            log.warning("%s: %s; the timer will start it", request.path, error)
        return _response(answer)

    return run


def serve_unknown(req: func.HttpRequest) -> func.HttpResponse:
    """Every path under /api that is not an endpoint."""
    request = to_request(req)
    error = not_found("endpoint", request.path)
    return _response(_problem_answer(None, problem_of(error, request.path)))


def to_request(req: func.HttpRequest) -> Request:
    return Request(
        method=req.method.upper(),
        path=urlsplit(req.url).path,
        params=dict(req.route_params),
        query=dict(req.params),
        headers={name.lower(): value for name, value in req.headers.items()},
        body=req.get_body(),
    )


def _operation(resource: Resource, request: Request) -> Operation:
    for operation in resource.operations:
        if operation.method == request.method:
            return operation
    allowed = ", ".join(operation.method for operation in resource.operations)
    raise RequestError(
        f"{request.path} does not answer to {request.method}, only to {allowed}",
        code="request.method",
        status=405,
    )


def _checked(operation: Operation, request: Request) -> Request:
    """The request with its parameters read, when it fits what the document says of the operation.

    Raises: RequestError with 400, 413 or 415; what a handler refuses later has another status.
    """
    if len(request.body) > MAX_BODY_BYTES:
        raise RequestError(
            f"the body of {len(request.body)} bytes is over the limit of {MAX_BODY_BYTES}",
            code="request.too_large",
            status=413,
        )
    _read(PATH.values(), request.params)
    _read(operation.headers, request.headers)
    query = _read(operation.query, _known_query(operation, request))
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    wants_body = operation.body is not None and (operation.body_required or request.body)
    if wants_body and media_type not in operation.media_types:
        wanted = " or ".join(operation.media_types)
        raise RequestError(
            f"the body must be {wanted}, not {media_type or 'untyped'}", code="request.media_type", status=415
        )
    return replace(request, query=query)


def _known_query(operation: Operation, request: Request) -> Mapping[str, str]:
    known = [parameter.name for parameter in operation.query]
    given = {name: value for name, value in request.query.items() if name != "code" and value}
    if unknown := sorted(given.keys() - set(known)):
        raise RequestError(
            f"unknown query parameter {', '.join(unknown)}; known: {', '.join(known) or 'none'}", status=400
        )
    return given


def _read(parameters: Iterable[Parameter], given: Mapping[str, str]) -> dict[str, Any]:
    texts = ((parameter, given.get(parameter.name, given.get(parameter.name.lower()))) for parameter in parameters)
    return {parameter.name: parameter.read(text) for parameter, text in texts if text is not None}


def _problem_answer(resource: Resource | None, problem: Problem) -> Answer:
    headers = {"Content-Type": "application/problem+json"}
    if problem.status == 405 and resource is not None:
        headers["Allow"] = ", ".join(operation.method for operation in resource.operations)
    if problem.status == 503:
        headers["Retry-After"] = "5"
    return Answer(problem.status, problem, headers)


def _response(answer: Answer) -> func.HttpResponse:
    headers = dict(answer.headers)
    mimetype = headers.pop("Content-Type", "application/json")
    headers.setdefault("Cache-Control", "no-store")
    return func.HttpResponse(
        _bytes(answer.body), status_code=answer.status, headers=headers, mimetype=mimetype, charset="utf-8"
    )


def _bytes(body: View | Mapping[str, Any] | bytes) -> bytes:
    if isinstance(body, bytes):
        return body
    return body.to_json() if isinstance(body, View) else json.dumps(body, separators=(",", ":")).encode()
