"""Rules that hold for every endpoint: bounds, refusals, idempotency, errors without internals."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from contracts.requests import EnrolDevice
from imagedelta.errors import REMEDIES, DependencyError
from store.sql import SqlStore
from tests.openapi import own_document
from tests.unit.triggers.world import World
from triggers.table import ALL

READS = [
    f"/api/{resource.path}" for resource in ALL if resource.operations[0].method == "GET" and "{" not in resource.path
]


def test_the_openapi_document_is_valid_and_names_every_endpoint(world: World) -> None:
    document = world.call("GET", "/api/openapi.json").body

    validate(document)
    assert set(document["paths"]) == {f"/api/{resource.path}" for resource in ALL}
    assert document == own_document()


def test_every_function_has_its_own_name_and_route() -> None:
    assert len({resource.name for resource in ALL}) == len(ALL)
    assert len({resource.path for resource in ALL}) == len(ALL)
    assert all(resource.name < "unknown_path" for resource in ALL)


@pytest.mark.parametrize("path", READS)
def test_an_empty_system_answers_every_list(world: World, path: str) -> None:
    assert world.call("GET", path).status == 200


@pytest.mark.parametrize("path", ["/api/", "/api/nothing", "/api/devices/a/b/c", "/api/deployment-sets/s/explode"])
def test_a_path_that_is_no_endpoint_is_404(world: World, path: str) -> None:
    reply = world.call("GET", path)

    assert (reply.status, reply.code) == (404, "request.not_found")


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "PUT", "HEAD", "OPTIONS"])
def test_a_wrong_method_is_405_and_says_which_are_right(world: World, method: str) -> None:
    reply = world.call(method, "/api/images")

    assert (reply.status, reply.code) == (405, "request.method")
    assert reply.headers["Allow"] == "POST, GET"


def test_a_body_over_a_mebibyte_is_413(world: World) -> None:
    reply = world.call("POST", "/api/deployment-sets", b" " * (1 << 20) + b"{}")

    assert (reply.status, reply.code) == (413, "request.too_large")


def test_a_body_of_another_media_type_is_415(world: World) -> None:
    reply = world.call("PUT", "/api/devices/boat", b"<xml/>", headers={"content-type": "text/xml"})

    assert (reply.status, reply.code) == (415, "request.media_type")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"hub": 5}', b'{"hub": "north", "typo": 1}', b"\xff\xfe", b"[" * 100_000, b"1e999"],
)
def test_a_body_that_does_not_fit_is_refused_by_name(world: World, body: bytes) -> None:
    reply = world.call("PUT", "/api/devices/boat", body, headers={"content-type": "application/json"})

    assert (reply.status, reply.code) == (400, "request.invalid")


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "501"}, {"limit": "x"}, {"limit": "１"}, {"after": "?"}])
def test_a_page_that_cannot_be_is_refused(world: World, query: dict[str, str]) -> None:
    reply = world.call("GET", "/api/devices", **query)

    assert (reply.status, reply.code) == (400, "request.invalid")


def test_a_misspelt_query_parameter_is_refused(world: World) -> None:
    reply = world.call("GET", "/api/devices", stat="active")

    assert reply.status == 400
    assert "stat" in reply.body["detail"]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/api/devices", {"state": "asleep"}),
        ("/api/deployment-sets", {"state": "done"}),
        ("/api/transfers", {"state": "in transit"}),
        ("/api/transfers/timeseries", {"bucket": "year"}),
    ],
)
def test_a_value_that_does_not_exist_is_refused_rather_than_finding_nothing(
    world: World, path: str, query: dict[str, str]
) -> None:
    assert world.call("GET", path, **query).code == "request.invalid"


def test_the_function_key_in_the_query_is_no_parameter_of_ours(world: World) -> None:
    assert world.call("GET", "/api/devices", code="secret").status == 200


def test_an_unforeseen_error_tells_no_internals(world: World, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise KeyError("password=hunter2")

    world.deps = replace(world.deps, store=Broken())  # type: ignore[arg-type]

    reply = world.call("GET", "/api/devices")

    assert (reply.status, reply.code) == (500, "internal")
    assert "hunter2" not in str(reply.body)
    assert "hunter2" in caplog.text


def test_a_database_that_does_not_answer_is_503_with_a_time_to_come_back(world: World) -> None:
    class Down:
        def __getattr__(self, name: str) -> Any:
            raise DependencyError("database is locked")

    world.deps = replace(world.deps, store=Down())  # type: ignore[arg-type]

    reply = world.call("GET", "/api/devices")

    assert (reply.status, reply.code) == (503, "dependency.unavailable")
    assert reply.headers["Retry-After"] == "5"


def test_health_says_what_does_not_answer_but_not_why(world: World) -> None:
    assert world.call("GET", "/api/health").body["status"] == "ok"

    class Down:
        def healthy(self) -> None:
            raise DependencyError("login failed for user admin")

    world.deps = replace(world.deps, store=Down())  # type: ignore[arg-type]
    reply = world.call("GET", "/api/health")

    assert (reply.status, reply.body["status"]) == (503, "unavailable")
    assert reply.body["checks"] == {"database": "unavailable", "blobs": "ok"}
    assert "admin" not in str(reply.body)


def test_health_says_how_old_the_oldest_work_is_and_when_the_timer_last_did_it(world: World) -> None:
    store = world.deps.store
    store.devices.enrol("boat", EnrolDevice(hub="north"), "operator", world.deps.now() - timedelta(minutes=16))
    store.attendance.done(["settle", "sync"], {}, world.deps.now() - timedelta(minutes=1))
    waits = world.call("GET", "/api/health")
    claim = store.devices.claim_sync("boat", timedelta(minutes=2), world.deps.now())
    assert claim is not None
    taken = world.call("GET", "/api/health")
    store.attendance.done(["settle"], {}, world.deps.now() - timedelta(minutes=16))
    stands = world.call("GET", "/api/health")

    assert [reply.status for reply in (waits, taken, stands)] == [200, 200, 200]
    assert [reply.body["status"] for reply in (waits, taken, stands)] == ["late", "ok", "late"]
    assert [kind for kind, found in waits.body["work"].items() if found["late"]] == ["sync"]
    assert [kind for kind, found in stands.body["work"].items() if found["late"]] == ["settle"]
    assert "timer-is-late" in waits.body["remedies"]["work"]
    assert "boat" not in str(waits.body)


def test_health_says_what_to_do_about_a_schema_that_is_not_there(world: World, tmp_path: Path) -> None:
    fresh = SqlStore(f"sqlite:///{tmp_path / 'fresh.db'}")
    world.deps = replace(world.deps, store=fresh)

    reply = world.call("GET", "/api/health")
    devices = world.call("GET", "/api/devices")

    assert (reply.status, reply.body["checks"]["database"]) == (503, "unavailable")
    assert "imagedelta db upgrade" in reply.body["remedies"]["database"]
    assert (devices.status, devices.code) == (503, "dependency.schema_old")
    fresh.close()


def test_an_order_repeated_with_its_key_is_done_once_and_answered_alike(world: World) -> None:
    first = world.call("POST", "/api/uploads", headers={"Idempotency-Key": "k1"})
    again = world.call("POST", "/api/uploads", headers={"Idempotency-Key": "k1"})
    other = world.call("POST", "/api/uploads", headers={"Idempotency-Key": "k2"})

    assert again.body == first.body
    assert again.headers["Idempotency-Replayed"] == "true"
    assert other.body["uploadId"] != first.body["uploadId"]


def test_a_key_used_for_another_order_is_refused(world: World) -> None:
    world.call("POST", "/api/uploads", headers={"Idempotency-Key": "k1"})

    reply = world.call("POST", "/api/uploads", {}, headers={"Idempotency-Key": "k1"})

    assert (reply.status, reply.code) == (422, "request.idempotency_mismatch")


def test_a_refused_order_is_not_remembered(world: World) -> None:
    headers = {"Idempotency-Key": "k1"}
    refused = world.call("POST", "/api/images", {"upload": "upload-1"}, headers=headers)
    world.deps.blobs.put("intake", "upload-1", [b"archive"])
    taken = world.call("POST", "/api/images", {"upload": "upload-1"}, headers=headers)

    assert (refused.status, taken.status) == (422, 202)


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
def test_a_key_that_cannot_be_kept_is_refused(world: World, key: str) -> None:
    assert world.call("POST", "/api/uploads", headers={"Idempotency-Key": key}).status == 400


def test_every_code_that_triggers_use_has_a_remedy() -> None:
    codes = {"request.not_found", "request.method", "request.media_type", "request.too_large", "message.unknown_kind"}
    assert codes <= REMEDIES.keys()
