"""HTTP: Microsoft's worker and the embedded host give the same answer to the same request, to the byte."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from tests.e2e.host_process import wait_for
from tests.worker.conftest import Both
from tests.worker.functions_host import Call, HttpAnswer

pytestmark = pytest.mark.e2e

JSON = {"content-type": "application/json"}
KEPT = {**JSON, "idempotency-key": "one order"}
SET = {
    "name": "a set",
    "images": ["app:2"],
    "owner": {"name": "Ada", "email": "ada@example.org"},
    "devices": {"ids": ["ship-1"]},
}
SHIP = {"deviceId": "ship-1"}


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


ENROL = Call("api_devices_one", "PUT", "/api/devices/ship-1", SHIP, JSON, body({"hub": "north", "tags": {"a": "ü"}}))
SPAN = "from=2030-01-01T00:00:00Z&to=2030-01-02T00:00:00Z"

GOOD = {
    "health": Call("api_health", "GET", "/api/health"),
    "the OpenAPI document": Call("api_openapi", "GET", "/api/openapi.json"),
    "devices": Call("api_devices", "GET", "/api/devices?tag=a%3D%C3%BC"),
    "a device": Call("api_devices_one", "GET", "/api/devices/ship-1", SHIP),
    "a device again": ENROL,
    "its images": Call("api_devices_one_images", "GET", "/api/devices/ship-1/images", SHIP),
    "images": Call("api_images", "GET", "/api/images"),
    "sets of an owner": Call("api_sets", "GET", "/api/deployment-sets?owner=ada%40example.org&limit=3"),
    "transfers": Call("api_transfers", "GET", "/api/transfers"),
    "a time series": Call("api_transfers_timeseries", "GET", f"/api/transfers/timeseries?bucket=hour&{SPAN}"),
    "patches": Call("api_patches", "GET", "/api/patches"),
    "audit": Call("api_audit", "GET", "/api/audit"),
    "quarantine": Call("api_quarantine", "GET", "/api/quarantine"),
    "a place for an upload": Call("api_uploads", "POST", "/api/uploads"),
    "a device to bring up to date": Call("api_devices_one_resync", "POST", "/api/devices/ship-1/resync", SHIP, JSON),
}

BAD = {
    "a body that is no JSON": Call("api_sets", "POST", "/api/deployment-sets", {}, JSON, b'{"name": '),
    "a body that is no UTF-8": Call("api_sets", "POST", "/api/deployment-sets", {}, JSON, b'{"name": "\xff\xfe"}'),
    "no body": Call("api_sets", "POST", "/api/deployment-sets", {}, JSON),
    "a field that is not known": Call("api_images", "POST", "/api/images", {}, JSON, body({"blub": 1})),
    "another media type": Call("api_images", "POST", "/api/images", {}, {"content-type": "text/plain"}, b"hello"),
    "a body over a mebibyte": Call("api_images", "POST", "/api/images", {}, JSON, b" " * (1 << 20) + b"{}"),
    "a wrong method": Call("api_images", "DELETE", "/api/images"),
    "a query that is not known": Call("api_devices", "GET", "/api/devices?color=red"),
    "a limit that is no number": Call("api_devices", "GET", "/api/devices?limit=many"),
    "a device that does not exist": Call("api_devices_one", "GET", "/api/devices/none", {"deviceId": "none"}),
    "a name that is not ASCII": Call("api_devices_one", "GET", "/api/devices/sm%C3%B6rg", {"deviceId": "smörg"}),
    "a set without images": Call("api_sets", "POST", "/api/deployment-sets?dryRun=true", {}, JSON, body(SET)),
    "an order with a key": Call("api_sets", "POST", "/api/deployment-sets", {}, KEPT, body(SET)),
    "an upload that does not exist": Call(
        "api_images", "POST", "/api/images", {}, JSON, body({"upload": "upload-none"})
    ),
    "a release of nothing": Call(
        "api_sets_one_release", "POST", "/api/deployment-sets/none/release", {"setId": "none"}, JSON, b"{}"
    ),
}

UNKNOWN = {
    path: Call("unknown_path", method, path, {"path": path.removeprefix("/api/").partition("?")[0]})
    for method, path in [("GET", "/api/nothing"), ("POST", "/api/devices/a/b/c/d"), ("DELETE", "/api/x?y=1")]
}

_OF_ITS_OWN = re.compile(rb"[0-9a-f]{32}|\d{4}-\d\d-\d\dT[\d:.%A]+(?:Z|\+00:00)|(?<=sig=)[\w%/+=-]+")
"""Ids, times and signatures: new in every answer."""


def comparable(answer: HttpAnswer) -> HttpAnswer:
    """With a mark for everything that is new in every answer."""
    headers = {name: _OF_ITS_OWN.sub(b"*", value.encode()).decode() for name, value in answer.headers.items()}
    return HttpAnswer(answer.status, headers, _OF_ITS_OWN.sub(b"*", answer.body))


@pytest.fixture(scope="module", autouse=True)
def ship(both: Both) -> None:
    """A device that every request finds."""
    _, served = both.answers(ENROL)
    assert served.status in (200, 201), served


@pytest.mark.parametrize("call", GOOD.values(), ids=GOOD)
def test_a_good_request_gets_the_same_answer(both: Both, call: Call) -> None:
    by_worker, served = both.answers(call)

    assert comparable(by_worker) == comparable(served)
    assert served.status < 300


@pytest.mark.parametrize("call", [*BAD.values(), *UNKNOWN.values()], ids=[*BAD, *UNKNOWN])
def test_a_bad_request_gets_the_same_problem(both: Both, call: Call) -> None:
    by_worker, served = both.answers(call)

    assert comparable(by_worker) == comparable(served)
    assert (served.status // 100, served.headers["content-type"]) == (4, "application/problem+json")


def test_what_the_worker_starts_through_its_durable_client_is_carried_out(both: Both) -> None:
    place = json.loads(both.by_worker(GOOD["a place for an upload"]).body)
    httpx.request(place["method"], place["url"], headers=place["headers"], content=b"no archive").raise_for_status()
    order = Call("api_images", "POST", "/api/images", {}, JSON, body({"upload": place["uploadId"]}))

    answer = both.by_worker(order)  # a registration by the embedded host would take the upload

    def ended() -> Any:
        found = both.host.request("GET", answer.headers["location"]).json()
        return found if found["state"] in ("registered", "failed") else None

    assert (answer.status, wait_for(ended)["state"]) == (202, "failed")
