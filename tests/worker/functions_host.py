"""The Functions host's half of the worker protocol: requests and events as it passes them on, answers as it reads them.

Source: RpcMessageConversionExtensions.ToRpc of azure-functions-host; FunctionRpc.proto.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import httpx

from tests.worker.azure_worker import AzureWorker, TypedData, base64_of

TRANSPORT = {"date", "server", "content-length", "connection", "transfer-encoding"}
"""Headers that a web server adds; no function says them."""


@dataclass(frozen=True)
class HttpAnswer:
    """What a caller gets: status, headers without those of the transport (names in lower case), body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @staticmethod
    def of(response: httpx.Response) -> HttpAnswer:
        said = {name.lower(): value for name, value in response.headers.items()}
        headers = {name: value for name, value in said.items() if name not in TRANSPORT}
        return HttpAnswer(response.status_code, headers, response.content)


@dataclass(frozen=True)
class Call:
    """A request to an HTTP function: its function and route parameters are what the host's router finds."""

    function: str
    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def typed(self, request: httpx.Request) -> TypedData:
        """The request as the host passes it: names of headers in lower case, what is repeated joined, body as bytes.

        Empty query parameters are left out, empty headers are not.
        """
        url = request.url
        http = {
            "method": request.method,
            "url": str(url),
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "query": _joined(parse_qsl(url.query.decode(), keep_blank_values=False)),
            "params": dict(self.params),
        }
        if self.body:
            http["body"] = {"bytes": base64_of(self.body)}
        return {"http": http}


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """A parameter that is repeated, in any case, is one under its first spelling."""
    spelled: dict[str, str] = {}
    joined: dict[str, str] = {}
    for name, value in pairs:
        first = spelled.setdefault(name.lower(), name)
        joined[first] = f"{joined[first]},{value}" if first in joined else value
    return joined


def call_worker(worker: AzureWorker, call: Call, request: httpx.Request, client: str) -> HttpAnswer:
    """Have the worker answer a request; ``client`` is the value of a durable client binding."""
    given = {"req": call.typed(request)}
    if "client" in worker.functions[call.function]["bindings"]:
        given["client"] = {"string": client}
    trace = {f"trace_{what}": request.headers.get(f"trace{what}", "") for what in ("parent", "state")}
    done = worker.invoke(call.function, given, trace=trace)
    answers = [*done.outputs.values(), *([done.returned] if done.returned else [])]
    return _answer(answers[0]) if answers else HttpAnswer(500, {}, b"")


def _answer(returned: TypedData) -> HttpAnswer:
    """What the host makes of a function's value: text is plain text, a response is passed on."""
    if "string" in returned:
        return HttpAnswer(200, {"content-type": "text/plain; charset=utf-8"}, returned["string"].encode())
    http = returned["http"]
    headers = {name.lower(): value for name, value in http["headers"].items()}
    return HttpAnswer(int(http["status_code"]), headers, base64.b64decode(http["body"]["bytes"]))


@dataclass(frozen=True)
class HubEvent:
    """One message of a module, as IoT Hub puts it into its event hub endpoint."""

    device: str
    module: str | None
    body: bytes
    properties: Mapping[str, str]
    enqueued: str = "2030-01-01T00:00:00.123Z"
    said: Mapping[str, str] = field(default_factory=dict)
    """System properties that the sender has a say in: message-id, content-type, content-encoding."""

    def system_properties(self, number: int) -> dict[str, Any]:
        """As Event Hubs hands them out: names with dashes for the hub's, in Pascal case for the transport's."""
        system = {
            "iothub-connection-device-id": self.device,
            "iothub-connection-auth-method": '{"scope":"module","type":"sas","issuer":"iothub"}',
            "iothub-connection-auth-generation-id": "638000000000000000",
            "iothub-enqueuedtime": self.enqueued,
            "iothub-message-source": "Telemetry",
            "x-opt-sequence-number": 4000 + number,
            "x-opt-offset": str(880 + 8 * number),
            "x-opt-enqueued-time": self.enqueued,
            "SequenceNumber": 4000 + number,
            "Offset": str(880 + 8 * number),
            "EnqueuedTimeUtc": self.enqueued,
            "PartitionKey": self.device,
        }
        return {**self.said, **system, **({"iothub-connection-module-id": self.module} if self.module else {})}


def batch(events: list[HubEvent], hub: str) -> tuple[TypedData, dict[str, TypedData]]:
    """A batch for a trigger with many binary events, and its trigger metadata.

    A body that is empty is there, as no bytes: only null ones are left out, and a binary event has none.
    Source: EventHubTriggerBindingStrategy of azure-sdk-for-net (Microsoft.Azure.WebJobs.Extensions.EventHubs);
    RpcMessageConversionExtensions.ToRpcByteCollection of azure-functions-host.
    """
    context = {
        "FullyQualifiedNamespace": f"{hub}.servicebus.windows.net",
        "EventHubName": hub,
        "ConsumerGroup": "$Default",
        "PartitionId": "1",
    }
    system = [event.system_properties(number) for number, event in enumerate(events)]
    arrays = {
        "PropertiesArray": [dict(event.properties) for event in events],
        "SystemPropertiesArray": system,
        "SequenceNumberArray": [one["SequenceNumber"] for one in system],
        "OffsetArray": [one["Offset"] for one in system],
        "EnqueuedTimeUtcArray": [one["EnqueuedTimeUtc"] for one in system],
        "PartitionKeyArray": [one["PartitionKey"] for one in system],
    }
    metadata: dict[str, TypedData] = {name: {"json": json.dumps(value)} for name, value in arrays.items()}
    metadata["PartitionContext"] = {"json": json.dumps(context)}
    metadata["sys"] = {"json": json.dumps({"MethodName": f"hub_events_{hub}", "UtcNow": "2030-01-01T00:00:01Z"})}
    return {"collection_bytes": {"bytes": [base64_of(event.body) for event in events]}}, metadata
