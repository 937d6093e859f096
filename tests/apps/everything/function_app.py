"""A function app that uses every part of the Functions model which the host serves; it writes what happens to LOG."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import List  # noqa: UP035 - the worker takes typing.List alone for a batch

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)
RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=50, max_number_of_attempts=3)


def note(kind: str, **what: object) -> None:
    """Append one line to the log file, whole or not at all."""
    path = os.environ.get("LOG")
    if path:
        with Path(path).open("a") as stream:
            stream.write(json.dumps({"kind": kind, **what}) + "\n")


# HTTP


@app.route(route="hello/{name}", auth_level=func.AuthLevel.ANONYMOUS, methods=["GET"])
def hello(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(f"hello {req.route_params['name']}")


@app.route(route="echo", methods=["POST"])
async def echo(req: func.HttpRequest) -> func.HttpResponse:
    body = json.dumps({"body": req.get_body().decode(), "query": dict(req.params)})
    return func.HttpResponse(body, status_code=201, mimetype="application/json", headers={"X-Seen": "yes"})


@app.route(route="admin-only", auth_level=func.AuthLevel.ADMIN, methods=["GET"])
def admin_only(req: func.HttpRequest, context: func.Context) -> str:
    return context.function_name


@app.route(route="broken", auth_level=func.AuthLevel.ANONYMOUS)
def broken(req: func.HttpRequest) -> str:
    raise RuntimeError("broken on purpose")


@app.route(route="off", auth_level=func.AuthLevel.ANONYMOUS)
def switched_off(req: func.HttpRequest) -> str:
    return "never"


@app.route(route="start/{orchestrator}/{instance?}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    payload = req.get_json() if req.get_body() else None
    try:
        instance = await client.start_new(req.route_params["orchestrator"], req.route_params.get("instance"), payload)
    except Exception as error:
        return func.HttpResponse(str(error), status_code=409)
    return client.create_check_status_response(req, instance)


@app.route(route="client/{call}/{instance?}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def client_call(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Make one call of the SDK's client and tell what came back."""
    instance = req.route_params.get("instance", "")
    arguments = req.get_json() if req.get_body() else {}
    calls = {
        "get_status": lambda: client.get_status(instance, **arguments),
        "get_status_all": lambda: client.get_status_all(),
        "get_status_by": lambda: client.get_status_by(**arguments),
        "raise_event": lambda: client.raise_event(instance, arguments["name"], arguments.get("data")),
        "terminate": lambda: client.terminate(instance, arguments["reason"]),
        "suspend": lambda: client.suspend(instance, "wait"),
        "resume": lambda: client.resume(instance, "go"),
        "restart": lambda: client.restart(instance, arguments.get("new", True)),
        "purge": lambda: client.purge_instance_history(instance),
        "wait": lambda: client.wait_for_completion_or_create_check_status_response(req, instance, 5000, 50),
    }
    try:
        result = await calls[req.route_params["call"]]()
    except Exception as error:
        return func.HttpResponse(json.dumps({"error": str(error)}), status_code=400, mimetype="application/json")
    if isinstance(result, func.HttpResponse):
        return result
    if isinstance(result, list):
        body: object = [item.to_json() for item in result]
    elif hasattr(result, "instances_deleted"):
        body = result.instances_deleted
    else:
        body = result.to_json() if hasattr(result, "to_json") else result
    return func.HttpResponse(json.dumps(body), mimetype="application/json")


# Timers and events


@app.timer_trigger(arg_name="timer", schedule="%TICK%")
def tick(timer: func.TimerRequest) -> None:
    note("tick", past_due=timer.past_due)


@app.event_hub_message_trigger(
    arg_name="events",
    connection="NORTH_EVENTS",
    event_hub_name="north",
    cardinality=func.Cardinality.MANY,
    data_type=func.DataType.BINARY,
)
@app.retry(strategy="fixed_delay", max_retry_count="2", delay_interval="00:00:00")
def ingest(events: List[func.EventHubEvent]) -> None:  # noqa: UP006
    for position, event in enumerate(events):
        body = event.get_body()
        note(
            "event",
            body=body.decode(errors="replace"),
            sequence=event.sequence_number,
            iothub=dict(event.iothub_metadata),
            properties=event.metadata["PropertiesArray"][position],
            system=event.metadata["SystemPropertiesArray"][position],
            partition=event.metadata["PartitionContext"],
        )
        if body == b"poison":
            raise RuntimeError("cannot read this")


# Orchestrations


@app.activity_trigger(input_name="payload")
def double(payload: int) -> int:
    note("double", payload=payload, pid=os.getpid())
    return payload * 2


@app.activity_trigger(input_name="payload")
async def double_async(payload: int) -> int:
    return payload * 2


@app.activity_trigger(input_name="payload")
def slow(payload: float) -> float:
    note("slow", payload=payload, pid=os.getpid())
    time.sleep(payload)
    return payload


@app.activity_trigger(input_name="payload")
def fails(payload: str) -> str:
    note("fails", payload=payload)
    raise ValueError(payload)


@app.activity_trigger(input_name="payload")
def fails_until(payload: dict) -> int:
    """Fail until a file has as many lines as asked for."""
    path = Path(payload["file"])
    with path.open("a") as stream:
        stream.write("x\n")
    attempts = len(path.read_text().splitlines())
    if attempts < payload["succeed_at"]:
        raise ValueError(f"attempt {attempts}")
    return attempts


@app.activity_trigger(input_name="payload")
def dies(payload: dict) -> str:
    """Kill the worker process the first ``times`` times."""
    path = Path(payload["file"])
    with path.open("a") as stream:
        stream.write("x\n")
    if len(path.read_text().splitlines()) <= payload["times"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


@app.orchestration_trigger(context_name="context")
def chain(context: df.DurableOrchestrationContext):
    first = yield context.call_activity("double", context.get_input())
    second = yield context.call_activity("double_async", first)
    context.set_custom_status({"seen": second})
    return second


@app.orchestration_trigger(context_name="context")
def fan_out(context: df.DurableOrchestrationContext):
    count = context.get_input()
    results = yield context.task_all([context.call_activity("double", n) for n in range(count)])
    return sum(results)


@app.orchestration_trigger(context_name="context")
def fan_out_async(context: df.DurableOrchestrationContext):
    results = yield context.task_all([context.call_activity("double_async", n) for n in range(context.get_input())])
    return sum(results)


@app.orchestration_trigger(context_name="context")
def one(context: df.DurableOrchestrationContext):
    """Run the activity named in the input."""
    wanted = context.get_input()
    return (yield context.call_activity(wanted["activity"], wanted["payload"]))


@app.orchestration_trigger(context_name="context")
def one_with_retry(context: df.DurableOrchestrationContext):
    wanted = context.get_input()
    return (yield context.call_activity_with_retry(wanted["activity"], RETRY, wanted["payload"]))


@app.orchestration_trigger(context_name="context")
def tree(context: df.DurableOrchestrationContext):
    """Sub-orchestrations, retries and a timer together: what the crash tests run."""
    wanted = context.get_input()
    parts = yield context.task_all(
        [context.call_sub_orchestrator("branch", {"base": n * 10, **wanted}) for n in range(wanted["branches"])]
    )
    yield context.create_timer(context.current_utc_datetime + timedelta(milliseconds=200))
    retried = yield context.call_activity_with_retry("fails_until", RETRY, {"file": wanted["file"], "succeed_at": 2})
    return {"sum": sum(parts), "retried": retried >= 2}


@app.orchestration_trigger(context_name="context")
def branch(context: df.DurableOrchestrationContext):
    wanted = context.get_input()
    tasks = [context.call_activity("double", wanted["base"] + n) for n in range(wanted["leaves"])]
    results = yield context.task_all(tasks)
    return sum(results)


@app.orchestration_trigger(context_name="context")
def catches(context: df.DurableOrchestrationContext):
    try:
        yield context.call_activity("fails", "boom")
    except Exception as error:
        return str(error).splitlines()[0]
    return "nothing"


@app.orchestration_trigger(context_name="context")
def parent_of_failure(context: df.DurableOrchestrationContext):
    return (yield context.call_sub_orchestrator("one", {"activity": "fails", "payload": "deep"}))


@app.orchestration_trigger(context_name="context")
def waits(context: df.DurableOrchestrationContext):
    """Wait for an event, at most for the seconds in the input."""
    deadline = context.create_timer(context.current_utc_datetime + timedelta(seconds=context.get_input() or 3600))
    event = context.wait_for_external_event("go")
    winner = yield context.task_any([event, deadline])
    if winner == event:
        deadline.cancel()
        return {"got": event.result}
    return {"got": "timeout"}


@app.orchestration_trigger(context_name="context")
def counts_down(context: df.DurableOrchestrationContext):
    left = context.get_input()
    yield context.call_activity("double_async", left)
    if left > 0:
        context.continue_as_new(left - 1)
        return None
    return "done"


@app.orchestration_trigger(context_name="context")
def changes_its_mind(context: df.DurableOrchestrationContext):
    """Ask for another activity on every replay: what an orchestrator must never do."""
    path = Path(context.get_input())
    with path.open("a") as stream:
        stream.write("x\n")
    name = "double" if len(path.read_text().splitlines()) == 1 else "double_async"
    return (yield context.call_activity(name, 1))


@app.orchestration_trigger(context_name="context")
def calls_nobody(context: df.DurableOrchestrationContext):
    return (yield context.call_activity("no_such_activity", 1))


logging.getLogger("azure").setLevel(logging.WARNING)
