"""HTTP functions at the edges of the model: routes that overlap, outputs, odd answers."""

from __future__ import annotations

import asyncio
import json
import sys

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


# Routes: the order of function names decides, not how specific a route is


@app.route(route="order/{anything}")
def a_general(req: func.HttpRequest) -> str:
    return "general"


@app.route(route="order/exact")
def z_exact(req: func.HttpRequest) -> str:
    return "exact"


@app.route(route="items/{id:int:min(1)}/{page:int=1}")
def item(req: func.HttpRequest) -> str:
    return json.dumps(dict(req.route_params))


@app.route(route="files/{*path}")
def rest(req: func.HttpRequest) -> str:
    return json.dumps(dict(req.route_params))


# What a function is told


@app.route(route="echo", methods=["GET", "POST"])
def echo(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    told = {
        "params": dict(req.params),
        "headers": dict(req.headers),
        "trace": [context.trace_context.Traceparent, context.trace_context.Tracestate],
    }
    return func.HttpResponse(json.dumps(told), mimetype="application/json")


# What a function answers


@app.generic_trigger(arg_name="req", type="httpTrigger", route="out", authLevel="anonymous")
@app.generic_output_binding(arg_name="res", type="http")
def out(req: func.HttpRequest, res: func.Out[func.HttpResponse]) -> None:
    if "nothing" not in req.params:
        res.set(func.HttpResponse("set", status_code=201, headers={"X-Set": "yes"}))


@app.route(route="both")
@app.generic_output_binding(arg_name="res", type="http")
def both(req: func.HttpRequest, res: func.Out[func.HttpResponse]) -> func.HttpResponse:
    res.set(func.HttpResponse("set"))
    return func.HttpResponse("returned")


@app.route(route="none")
def returns_none(req: func.HttpRequest) -> func.HttpResponse:
    return None  # type: ignore[return-value]


@app.route(route="number")
def returns_a_number(req: func.HttpRequest):  # type: ignore[no-untyped-def]
    return 5


@app.route(route="framing", methods=["GET", "HEAD"])
def framing(req: func.HttpRequest) -> func.HttpResponse:
    """Answer ten bytes under the headers that the query names."""
    return func.HttpResponse("ten bytes!" if req.method == "GET" else "", headers=json.loads(req.params["headers"]))


@app.route(route="status")
def status(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("body", status_code=int(req.params["code"]))


@app.route(route="cookies")
def cookies(req: func.HttpRequest) -> func.HttpResponse:
    response = func.HttpResponse("ok")
    response.headers.add("Set-Cookie", "a=1; Path=/; SameSite=Strict")
    response.headers.add("Set-Cookie", "b=2; HttpOnly")
    return response


@app.route(route="exits/{how}")
async def exits(req: func.HttpRequest) -> str:
    if req.route_params["how"] == "cancel":
        raise asyncio.CancelledError
    sys.exit(3)


@app.route(route="exits-sync")
def exits_sync(req: func.HttpRequest) -> str:
    sys.exit(3)


@app.route(route="keyed", auth_level=func.AuthLevel.FUNCTION)
def keyed(req: func.HttpRequest) -> str:
    return "opened"
