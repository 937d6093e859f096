"""HTTP functions that tell what they see of a request, and answer in every way there is."""

from __future__ import annotations

import json

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="seen/{place}/{*rest}")
def seen(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    body = req.get_body()
    try:
        parsed = req.get_json()
    except ValueError as error:
        parsed = str(error)
    what = {
        "method": req.method,
        "url": req.url,
        "headers": dict(req.headers),
        "params": dict(req.params),
        "route": dict(req.route_params),
        "body": body.decode("latin-1"),
        "json": parsed,
        "form": {name: req.form.getlist(name) for name in req.form},
        "function": context.function_name,
        "directory": context.function_directory,
        "trace": [context.trace_context.Traceparent, context.trace_context.Tracestate],
        "retry": [context.retry_context.retry_count, context.retry_context.max_retry_count],
    }
    return func.HttpResponse(json.dumps(what), mimetype="application/json")


@app.route(route="text")
def text(req: func.HttpRequest) -> str:
    return "hello ü"


@app.route(route="nothing")
def nothing(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse()


@app.route(route="html")
def html(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("<h1>™</h1>", mimetype="text/html", charset="utf-8")


@app.route(route="own_type")
def own_type(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("a,b", headers={"Content-Type": "text/csv; header=absent"})


@app.route(route="redirect")
def redirect(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(status_code=302, headers={"Location": "/api/text"})


@app.route(route="bytes")
def binary(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(b"\x00\xff", status_code=206, mimetype="application/octet-stream", headers={"X-A": "1"})


@app.route(route="latin")
def latin(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("größe", mimetype="text/plain", charset="latin-1")


@app.route(route="asynchronous")
async def asynchronous(req: func.HttpRequest) -> str:
    return "in time"


@app.route(route="out", binding_arg_name="answer")
def out(req: func.HttpRequest, answer: func.Out[func.HttpResponse]) -> None:
    answer.set(func.HttpResponse("by parameter", status_code=201))


@app.route(route="none")
def none(req: func.HttpRequest):
    return None


@app.route(route="raises")
def raises(req: func.HttpRequest) -> str:
    raise RuntimeError("on purpose")


@app.route(route="a_dict")
def a_dict(req: func.HttpRequest):
    return {"a": 1}


@app.route(route="raw_bytes")
def raw_bytes(req: func.HttpRequest):
    return b"hello"


@app.route(route="a_number")
def a_number(req: func.HttpRequest):
    return 7
