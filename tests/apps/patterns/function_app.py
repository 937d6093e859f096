"""The patterns of the Durable Functions documentation and of Microsoft's own test app, in our words."""

from __future__ import annotations

import json
import threading
import typing
from datetime import timedelta

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
steps = df.Blueprint()
_seen: dict[str, int] = {}
_lock = threading.Lock()


@app.route(route="start/{name}/{instance?}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    payload = req.get_json() if req.get_body() else None
    instance = await client.start_new(req.route_params["name"], req.route_params.get("instance"), payload)
    return client.create_check_status_response(req, instance)


@app.route(route="operate/{call}/{instance}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def operate(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """What Microsoft's app does: the text of what the client raised, or nothing."""
    call, instance = req.route_params["call"], req.route_params["instance"]
    try:
        if call == "purge":
            result = await client.purge_instance_history(instance)
            return func.HttpResponse(f"Purged {result.instances_deleted} records")
        await getattr(client, call)(instance, "a reason")
    except Exception as error:
        return func.HttpResponse(str(error), status_code=400)
    return func.HttpResponse("done")


class Parcel:
    """A class of the app that knows its way to JSON and back."""

    def __init__(self, name: str, weight: int) -> None:
        self.name = name
        self.weight = weight

    def to_json(self) -> str:
        return json.dumps({"name": self.name, "weight": self.weight})

    @staticmethod
    def from_json(text: str) -> Parcel:
        return Parcel(**json.loads(text))


@steps.activity_trigger(input_name="parcel")
def weigh(parcel: Parcel) -> int:
    return parcel.weight


@steps.activity_trigger(input_name="parcels")
def heaviest(parcels: typing.List[Parcel]) -> Parcel:  # noqa: UP006
    return max(parcels, key=lambda parcel: parcel.weight)


@steps.activity_trigger(input_name="value")
def echo(value: typing.Any):  # type: ignore[no-untyped-def]
    return value


@steps.activity_trigger(input_name="instance")
def fails_first(instance: str) -> str:
    """Fail the first time for each instance: what is kept in the process must still be there the second time."""
    with _lock:
        _seen[instance] = _seen.get(instance, 0) + 1
        if _seen[instance] == 1:
            raise ValueError("not yet") from KeyError("cause")
    return f"attempt {_seen[instance]}"


@steps.activity_trigger(input_name="name", activity="Named_Otherwise")
def named_in_the_decorator(name: str) -> str:
    return f"named {name}"


@steps.activity_trigger(input_name="wanted")
@steps.durable_client_input(client_name="client")
async def starts_another(wanted: str, client: df.DurableOrchestrationClient, context: func.Context) -> str:
    return await client.start_new("plain", f"{wanted}-by-{context.function_name}")


app.register_functions(steps)


@app.orchestration_trigger(context_name="context", orchestration="PlainFunction")
def plain(context: df.DurableOrchestrationContext) -> str:
    """No generator: it waits for nothing, although it asks."""
    context.wait_for_external_event("Approval")
    return "finished"


@app.orchestration_trigger(context_name="context", orchestration="plain")
def plain_started(context: df.DurableOrchestrationContext) -> str:
    return context.instance_id


@app.orchestration_trigger(context_name="context")
def replaying(context: df.DurableOrchestrationContext):  # type: ignore[no-untyped-def]
    seen = [context.is_replaying]
    for value in ("one", "two"):
        yield context.call_activity("echo", value)
        seen.append(context.is_replaying)
    yield context.task_all([context.call_activity("echo", n) for n in range(3)])
    return [*seen, context.is_replaying]


@app.orchestration_trigger(context_name="context")
def classes(context: df.DurableOrchestrationContext):  # type: ignore[no-untyped-def]
    one = yield context.call_activity("weigh", Parcel("a", 3))
    best = yield context.call_activity("heaviest", [Parcel("a", 3), Parcel("b", 5)])
    return [one, best.name]


@app.orchestration_trigger(context_name="context")
def values(context: df.DurableOrchestrationContext):  # type: ignore[no-untyped-def]
    """What goes through an activity comes back the same."""
    sent = [[], [1, 2], {}, {"a": None}, "", "ü \U0001f4a5", 0, -1.5, True, None, "x" * 300_000]
    back = []
    for value in sent:
        back.append((yield context.call_activity("echo", value)))
    return [kept == value for kept, value in zip(back, sent, strict=True)]


@app.orchestration_trigger(context_name="context")
def retries(context: df.DurableOrchestrationContext):  # type: ignore[no-untyped-def]
    options = df.RetryOptions(first_retry_interval_in_milliseconds=20, max_number_of_attempts=3)
    return (yield context.call_activity_with_retry("FAILS_FIRST", options, context.instance_id))


@app.orchestration_trigger(context_name="context")
def catches(context: df.DurableOrchestrationContext):  # type: ignore[no-untyped-def]
    try:
        yield context.call_activity("fails_first", context.instance_id)
    except Exception as error:
        return f"Caught exception: {error}"


@app.orchestration_trigger(context_name="context")
def stumbles(context: df.DurableOrchestrationContext):  # type: ignore[no-untyped-def]
    kept = yield context.call_activity("echo", "kept")
    done = yield context.call_sub_orchestrator("stumbles_inside", context.instance_id)
    return [kept, done]


@app.orchestration_trigger(context_name="context")
def stumbles_inside(context: df.DurableOrchestrationContext):  # type: ignore[no-untyped-def]
    steps = [context.call_activity("echo", 1), context.call_activity("fails_first", context.get_input())]
    return (yield context.task_all(steps))


@app.orchestration_trigger(context_name="context")
def named(context: df.DurableOrchestrationContext):  # type: ignore[no-untyped-def]
    first = yield context.call_activity("named_otherwise", "x")
    second = yield context.call_sub_orchestrator("PLAINFUNCTION")
    return [first, second]


@app.orchestration_trigger(context_name="context")
def by_client(context: df.DurableOrchestrationContext):  # type: ignore[no-untyped-def]
    return (yield context.call_activity("starts_another", context.instance_id))


@app.orchestration_trigger(context_name="context")
def large(context: df.DurableOrchestrationContext):  # type: ignore[no-untyped-def]
    hello = yield context.call_activity("echo", "hello")
    return [hello, "A" * (context.get_input() * 1024)]


@app.orchestration_trigger(context_name="context")
def monitor(context: df.DurableOrchestrationContext):  # type: ignore[no-untyped-def]
    """Look again and again, each time as a new run; what is waited for survives in between."""
    looks = (context.get_input() or 0) + 1
    context.set_custom_status({"looks": looks})
    approval = context.wait_for_external_event("Approval")
    again = context.create_timer(context.current_utc_datetime + timedelta(milliseconds=50))
    winner = yield context.task_any([approval, again])
    if winner == approval:
        again.cancel()
        return {"approved": approval.result, "later": looks > 1}
    context.continue_as_new(looks)
    return None


@app.orchestration_trigger(context_name="context")
def wide(context: df.DurableOrchestrationContext):  # type: ignore[no-untyped-def]
    ids = [f"{context.instance_id}-{n}" for n in range(3)]
    children = yield context.task_all([context.call_sub_orchestrator("plain", None, each) for each in ids])
    return [children == ids, context.new_uuid() != context.new_uuid()]
