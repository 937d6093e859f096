"""The project's function app as Microsoft's Python worker runs it, for the embedded host in front.

All is as in Azure but the host: the worker has indexed the real function_app.py and runs every function of it. The
embedded host routes requests, ticks, pumps events and drives orchestrations, and each invocation goes on to the worker
in the form in which the Functions host passes it. Each process of the embedded host has a worker of its own behind it,
as with FUNCTIONS_WORKER_PROCESS_COUNT=2. That both index the same functions is held by test_indexing.py.
"""

from __future__ import annotations

import base64
import importlib.util
import inspect
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

import azure.functions as func

from tests.worker.azure_worker import OURS, ROOT, AzureWorker, Invocation, TypedData, base64_of
from tests.worker.functions_host import HubEvent, batch

Typed = tuple[TypedData, dict[str, TypedData]]
"""The value of a trigger, and its metadata."""
_worker = AzureWorker(ROOT, **{name: value for name, value in os.environ.items() if name.startswith(OURS)})


def _request(req: func.HttpRequest) -> Typed:
    http: dict[str, Any] = {
        "method": req.method,
        "url": req.url,
        "headers": dict(req.headers),
        "query": dict(req.params),
        "params": dict(req.route_params),
    }
    if body := req.get_body():
        http["body"] = {"bytes": base64_of(body)}
    return {"http": http}, {}


def _tick(timer: func.TimerRequest) -> Typed:
    status = {"Schedule": timer.schedule, "ScheduleStatus": timer.schedule_status, "IsPastDue": timer.past_due}
    return {"json": json.dumps(status)}, {}


def _events(events: list[func.EventHubEvent]) -> Typed:
    given = events[0].metadata
    assert given is not None
    messages = [
        HubEvent(
            said["iothub-connection-device-id"],
            said.get("iothub-connection-module-id"),
            event.get_body(),
            own,
            said["iothub-enqueuedtime"],
        )
        for event, said, own in zip(events, given["SystemPropertiesArray"], given["PropertiesArray"], strict=True)
    ]
    return batch(messages, given["PartitionContext"]["EventHubName"])


_TYPED: dict[str, Callable[[Any], Typed]] = {
    "httpTrigger": _request,
    "timerTrigger": _tick,
    "eventHubTrigger": _events,
    "orchestrationTrigger": lambda context: ({"json": context.body}, {}),
    "activityTrigger": lambda payload: ({"json": json.dumps(payload)}, {}),
}


def _answer(done: Invocation) -> Any:
    """What the embedded host would have got of the function itself."""
    answer = done.returned or next(iter(done.outputs.values()), None)
    if answer is None:
        return None
    if http := answer.get("http"):
        return func.HttpResponse(
            base64.b64decode(http["body"]["bytes"]), status_code=int(http["status_code"]), headers=http["headers"]
        )
    return answer["json"]


def _passed_on(function: Any) -> Callable[..., Any]:
    """In place of the function's body: an invocation of the worker's."""
    name, trigger = function.get_function_name(), function.get_trigger()
    typed, parameter = _TYPED[trigger.type], trigger.name

    def run(**given: Any) -> Any:
        value, metadata = typed(given.pop(parameter))
        clients = {client: {"string": text} for client, text in given.items()}
        done = _worker.invoke(name, {parameter: value, **clients}, metadata)
        if done.error is not None:
            kind, _, message = done.error.partition(": ")
            raise type(kind, (Exception,), {})(message)
        answer = _answer(done)
        return json.loads(answer) if trigger.type == "activityTrigger" else answer

    bound = [binding.name for binding in function.get_bindings() if binding.name != "$return"]
    vars(run)["__signature__"] = inspect.Signature(
        [inspect.Parameter(each, inspect.Parameter.KEYWORD_ONLY) for each in bound]
    )
    run.__annotations__ = {}
    return run


_spec = importlib.util.spec_from_file_location("project_function_app", ROOT / "function_app.py")
assert _spec is not None and _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
app = _module.app
for _builder in app._function_builders:
    _builder._function._func = _passed_on(_builder._function)
