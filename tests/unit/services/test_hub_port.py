"""The hub's REST interface: what is asked of it, and which refusals are worth another try."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from imagedelta.errors import DependencyError, RequestError
from services.hubs.connection import HubConnection
from services.hubs.documents import agent_queries
from services.hubs.hub import IotHub
from services.hubs.rest import RestCalls
from services.hubs.sdk import SdkCalls
from services.hubs.transport import HubTransport
from services.identity import Identity
from services.ports import Deployment, DeviceTags

CONNECTION = HubConnection("north.example", "iothubowner", b"k")


@pytest.fixture(params=[RestCalls, SdkCalls], autouse=True)
def calls(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test is for both ways to ask."""
    monkeypatch.setattr(f"{__name__}.CALLS", request.param)


CALLS: type[RestCalls | SdkCalls] = RestCalls


class FakeHub:
    """Twins by path; keeps every request."""

    def __init__(self, twins: dict[str, dict[str, Any]] | None = None, status: int = 200) -> None:
        self.twins = twins or {}
        self.status = status
        self.rows = 100
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.status != 200:
            return httpx.Response(self.status, text="as you wish")
        if request.url.path.endswith("/applyConfigurationContent"):
            return httpx.Response(204)
        if request.url.path.endswith("/devices/query"):
            return self._page(request)
        module = request.url.path.rpartition("/")[2]
        if module not in self.twins:
            return httpx.Response(404, json={"Message": "ErrorCode:ModuleNotFound"})
        return httpx.Response(200, json=self.twins[module])

    def _page(self, request: httpx.Request) -> httpx.Response:
        """``rows`` twins a page of the devices that ``twins`` has as $edgeAgent, by device."""
        query = json.loads(request.content)["query"]
        found = [{**twin, "deviceId": device} for device, twin in self.twins.items() if f"'{device}'" in query]
        start = int(request.headers.get("x-ms-continuation", 0))
        more = {"x-ms-continuation": str(start + self.rows)} if start + self.rows < len(found) else {}
        return httpx.Response(200, json=found[start : start + self.rows], headers=more)


def twin(desired: dict[str, Any], version: int = 3) -> dict[str, Any]:
    return {
        "etag": "AAA=",
        "properties": {
            "desired": {**desired, "$version": version, "$metadata": {}},
            "reported": {"lastDesiredVersion": 2, "$version": 9, "$metadata": {}},
        },
    }


def unread(response: httpx.Response) -> httpx.Response:
    """As it comes from a socket: httpx reads what a test made in memory at once."""
    if response.is_closed:
        return httpx.Response(response.status_code, headers=response.headers, stream=httpx.ByteStream(response.content))
    return response


def hub_of(fake: FakeHub) -> IotHub:
    return hub_with(fake)


def hub_with(answer: Callable[[httpx.Request], httpx.Response]) -> IotHub:
    client = httpx.Client(transport=httpx.MockTransport(lambda request: unread(answer(request))))
    transport = HubTransport("north", CONNECTION.url, client)
    at = datetime(2030, 1, 1, tzinfo=UTC)
    return IotHub(CALLS("north", CONNECTION, Identity({}), transport=transport, now=lambda: at))


def test_a_twin_is_read_without_the_hubs_bookkeeping() -> None:
    fake = FakeHub({"$edgeAgent": twin({"modules": {}})})

    found = hub_of(fake).module_twin("boat 1", "$edgeAgent")

    assert found is not None
    assert (found.desired, found.version, found.etag) == ({"modules": {}}, 3, "AAA=")
    assert found.reported == {"lastDesiredVersion": 2}
    assert fake.requests[0].url.raw_path == b"/twins/boat%201/modules/%24edgeAgent?api-version=2021-04-12"
    assert fake.requests[0].headers["Authorization"].startswith("SharedAccessSignature sr=north.example&sig=")


def test_a_device_the_hub_does_not_know_has_no_twin_and_no_content() -> None:
    hub = hub_of(FakeHub())

    assert hub.module_twin("boat", "$edgeAgent") is None
    assert hub.modules_content("boat") is None


def test_content_is_gathered_from_the_modules_the_agent_names() -> None:
    fake = FakeHub(
        {
            "$edgeAgent": twin({"modules": {"app": {}, "plain": {}}}),
            "$edgeHub": twin({"routes": {}}),
            "app": twin({"interval": 10}),
            "plain": twin({}),
        }
    )

    assert hub_of(fake).modules_content("boat") == {
        "$edgeAgent": {"properties.desired": {"modules": {"app": {}, "plain": {}}}},
        "$edgeHub": {"properties.desired": {"routes": {}}},
        "app": {"properties.desired": {"interval": 10}},
    }


def test_content_is_applied_whole_on_the_deployment_that_was_read() -> None:
    fake = FakeHub({"$edgeAgent": twin({"modules": {}}, version=7)})

    hub_of(fake).apply_content("boat", {"$edgeAgent": {"properties.desired": {}}}, on=7)

    request = fake.requests[-1]
    assert (request.method, request.url.path) == ("POST", "/devices/boat/applyConfigurationContent")
    assert json.loads(request.content) == {"modulesContent": {"$edgeAgent": {"properties.desired": {}}}}


def test_content_is_not_applied_on_a_deployment_that_has_changed() -> None:
    fake = FakeHub({"$edgeAgent": twin({"modules": {}}, version=8)})

    with pytest.raises(RequestError) as caught:
        hub_of(fake).apply_content("boat", {"$edgeAgent": {"properties.desired": {}}}, on=7)

    assert caught.value.code == "hub.changed"
    assert [request.method for request in fake.requests] == ["GET"]


def test_the_agents_of_many_devices_are_read_by_one_query_each_hundred() -> None:
    devices = [f"boat-{number}" for number in range(250)]
    fake = FakeHub({device: twin({"modules": {}}, version=3) for device in devices[:240]})

    found = hub_of(fake).agents(devices)

    assert list(found) == devices[:240]
    assert {agent.version for agent in found.values()} == {3}
    assert len(fake.requests) == 3


def test_smaller_pages_than_asked_for_are_read_to_their_end() -> None:
    fake = FakeHub({f"boat-{number}": twin({}) for number in range(9)})
    fake.rows = 2

    assert len(hub_of(fake).agents([f"boat-{number}" for number in range(9)])) == 9
    assert len(fake.requests) == 5


def test_no_query_is_longer_than_the_hub_takes_and_ids_are_quoted() -> None:
    longest = ["".join(["'" * 100, f"{number:028d}"]) for number in range(150)]

    queries = list(agent_queries([*longest, *longest]))

    assert max(len(query) for query, _ in queries) <= 8192
    assert sum(many for _, many in queries) == 150
    assert "\\'\\'" in queries[0][0]


@pytest.mark.parametrize(
    ("changed", "seen"),
    [
        ({"$lastUpdated": "2026-11-29T08:00:00.1234567Z"}, datetime(2026, 11, 29, 8, 0, 0, 123456, tzinfo=UTC)),
        ({"$lastUpdated": "2026-11-29T08:00:00"}, datetime(2026, 11, 29, 8, tzinfo=UTC)),
        ({"$lastUpdated": "0001-01-01T00:00:00+14:00"}, None),
        ({"$lastUpdated": "soon"}, None),
        ({"$lastUpdated": 7}, None),
        ("never", None),
    ],
)
def test_when_a_device_took_note_of_its_deployment_is_read_from_the_twins_times(
    changed: object, seen: datetime | None
) -> None:
    document = twin({})
    document["properties"]["reported"]["$metadata"] = {"lastDesiredVersion": changed}

    found = hub_of(FakeHub({"$edgeAgent": document})).module_twin("boat", "$edgeAgent")

    assert found is not None
    assert found.seen_at == seen


def test_desired_properties_are_merged_by_the_hub() -> None:
    fake = FakeHub({"recon": twin({"paused": True}, version=4)})

    changed = hub_of(fake).update_desired("boat", "recon", {"paused": True, "old": None})

    assert changed.version == 4
    assert json.loads(fake.requests[0].content) == {"properties": {"desired": {"paused": True, "old": None}}}


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_a_busy_hub_is_worth_another_try(status: int) -> None:
    with pytest.raises(DependencyError):
        hub_of(FakeHub(status=status)).module_twin("boat", "recon")


def test_content_the_hub_refuses_is_final() -> None:
    with pytest.raises(RequestError) as caught:
        hub_of(FakeHub(status=400)).apply_content("boat", {}, on=1)
    assert caught.value.code == "hub.refused"


def test_a_hub_that_does_not_answer_is_worth_another_try() -> None:
    def unplugged(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(DependencyError, match="north"):
        hub_with(unplugged).module_twin("boat", "recon")


DEPLOYMENT = Deployment("north-1", "tags.site = 'north'", 5, {"$edgeAgent": {"properties.desired": {"modules": {}}}})


class FakeDeployments:
    """Configurations by id; other fields than ours come with them, as from IoT Hub."""

    def __init__(self, **known: Any) -> None:
        self.known: dict[str, Any] = known

    def __call__(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.rpartition("/")[2]
        if name == "configurations":
            return httpx.Response(200, json=list(self.known.values()))
        if request.method == "PUT" and name not in self.known:
            self.known[name] = {**json.loads(request.content), "etag": "x", "labels": {}, "schemaVersion": "1.0"}
            return httpx.Response(200, json=self.known[name])
        if request.method == "PUT":
            return httpx.Response(409)
        if name not in self.known:
            return httpx.Response(404)
        if request.method == "DELETE":
            assert request.headers["if-match"] == "*"
            del self.known[name]
            return httpx.Response(204)
        return httpx.Response(200, json=self.known[name])


def test_a_deployment_is_made_once_read_back_and_deleted() -> None:
    hub = hub_with(FakeDeployments())

    hub.create_deployment(DEPLOYMENT)
    hub.create_deployment(DEPLOYMENT)
    made = hub.deployments()
    hub.delete_deployment("north-1")
    hub.delete_deployment("north-1")

    assert (made, hub.deployments()) == ([DEPLOYMENT], [])


class FakeTags:
    """The twin of one device; the tags change with each write, and so does the etag."""

    def __init__(self) -> None:
        self.tags: dict[str, Any] = {"site": "north"}
        self.etag = "1"

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path != "/twins/boat":
            return httpx.Response(404)
        if request.method == "PATCH":
            if request.headers["if-match"] != f'"{self.etag}"':
                return httpx.Response(412)
            self.tags |= json.loads(request.content)["tags"]
            self.etag += "1"
        return httpx.Response(200, json={"deviceId": "boat", "etag": self.etag, "tags": self.tags})


def test_tags_are_merged_into_the_twin_that_was_read() -> None:
    hub = hub_with(FakeTags())
    read = hub.device_tags("boat")
    assert read == DeviceTags({"site": "north"}, "1")

    hub.set_tags("boat", {"ring": {"of": 2}}, etag=read.etag)
    with pytest.raises(RequestError) as changed:
        hub.set_tags("boat", {"ring": {"of": 3}}, etag=read.etag)
    with pytest.raises(RequestError) as unknown:
        hub.set_tags("raft", {}, etag=read.etag)

    assert (changed.value.code, unknown.value.code) == ("hub.changed", "hub.unknown_device")
    assert hub.device_tags("boat") == DeviceTags({"site": "north", "ring": {"of": 2}}, "11")
    assert hub.device_tags("raft") is None


def test_an_agent_is_read_with_the_deployments_that_its_device_meets() -> None:
    states = {"base": {"status": "Applied"}, "layer": {"status": "Targeted"}, "odd": 7}
    fake = FakeHub({"$edgeAgent": {**twin({}), "configurations": states}})

    found = hub_of(fake).module_twin("boat", "$edgeAgent")

    assert found is not None
    assert found.configurations == {"base": "applied", "layer": "targeted"}


def test_another_deployment_under_the_same_id_is_left_alone() -> None:
    hub = hub_with(FakeDeployments())
    hub.create_deployment(DEPLOYMENT)

    with pytest.raises(RequestError) as caught:
        hub.create_deployment(replace(DEPLOYMENT, priority=6))

    assert caught.value.code == "hub.deployment_exists"
    assert hub.deployments() == [DEPLOYMENT]


def test_configurations_of_twins_are_not_among_the_deployments() -> None:
    other = {"id": "t", "targetCondition": "*", "priority": 1, "content": {"deviceContent": {}}}

    assert hub_with(FakeDeployments(t=other)).deployments() == []


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[",
        b'[{"id": "a"}]',
        b'[{"targetCondition": "*", "priority": 1, "content": {"modulesContent": {}}}]',
        b'[{"id": "a", "targetCondition": "*", "priority": "high", "content": {"modulesContent": {}}}]',
    ],
)
def test_deployments_that_are_none_are_a_hub_that_does_not_answer(body: bytes) -> None:
    with pytest.raises(DependencyError):
        hub_with(lambda request: httpx.Response(200, content=body)).deployments()


@pytest.mark.parametrize(
    ("header", "rest"),
    [
        ("7", timedelta(seconds=7)),
        ("Tue, 01 Jan 2030 00:00:30 GMT", timedelta(seconds=30)),
        ("Tue, 01 Jan 2020 00:00:00 GMT", timedelta(0)),
        ("9" * 200, timedelta(hours=1)),
        ("-5", None),
        ("later", None),
        ("", None),
    ],
)
def test_a_hub_that_asks_to_be_left_alone_says_for_how_long(header: str, rest: timedelta | None) -> None:
    def busy(request: httpx.Request) -> httpx.Response:
        return httpx.Response(429, headers={"retry-after": header} if header else {})

    with pytest.raises(DependencyError) as caught:
        hub_with(busy).module_twin("boat", "recon")
    assert caught.value.retry_after == rest


class Endless(httpx.SyncByteStream):
    """An answer that never ends; ``pause`` before each piece."""

    def __init__(self, piece: bytes, pause: Callable[[], None] = lambda: None) -> None:
        self.piece, self.pause, self.closed = piece, pause, False

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self.pause()
            yield self.piece

    def close(self) -> None:
        self.closed = True


def test_an_answer_without_end_is_left_off() -> None:
    endless = Endless(b" " * (1 << 20))

    with pytest.raises(DependencyError, match="more than"):
        hub_with(lambda request: httpx.Response(200, stream=endless)).module_twin("boat", "recon")
    assert endless.closed


def test_an_answer_that_comes_byte_by_byte_is_left_off(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("services.hubs.transport.time.monotonic", lambda: clock[0])
    slow = Endless(b" ", lambda: clock.__setitem__(0, clock[0] + 9))

    with pytest.raises(DependencyError, match="seconds"):
        hub_with(lambda request: httpx.Response(200, stream=slow)).module_twin("boat", "recon")


def test_a_query_without_end_is_left_off() -> None:
    def endless(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=[], headers={"x-ms-continuation": "again"})

    with pytest.raises(DependencyError, match="last page"):
        hub_with(endless).agents(["boat"])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"7",
        b"\xff\xfe",
        b"{}",
        b'{"properties": []}',
        b'{"properties": {"desired": null}}',
        b'{"properties": {"desired": {}}}',
        b'{"properties": {"desired": {"$version": "3"}}}',
        b'{"properties": {"desired": {"$version": true}}}',
        b'{"properties": {"desired": {"$version": -1}}}',
        b'{"properties": {"desired": {"$version": 1e9}}}',
        b'{"properties": {"desired": {"$version": 1' + b"0" * 5000 + b"}}}",
        b'{"properties": {"desired": {"$version": 1}, "reported": 7}}',
        b"[" * 100_000,
    ],
)
def test_an_answer_that_is_no_twin_is_a_hub_that_does_not_answer(body: bytes) -> None:
    hub = hub_with(lambda request: httpx.Response(200, content=body))

    with pytest.raises(DependencyError) as twin_error:
        hub.module_twin("boat", "recon")
    if body != b"[]":  # a query that finds nothing
        with pytest.raises(DependencyError):
            hub.agents(["boat"])
    assert twin_error.value.code == "dependency.hub"


def test_rows_of_a_query_that_nobody_asked_for_are_left_out() -> None:
    rows: list[object] = [{**twin({}), "deviceId": "other"}, {"deviceId": 7}, {}]

    assert hub_with(lambda request: httpx.Response(200, json=rows)).agents(["boat"]) == {}


def test_a_write_that_is_sent_elsewhere_was_not_done() -> None:
    def moved(request: httpx.Request) -> httpx.Response:
        return httpx.Response(302, headers={"location": "http://elsewhere/"})

    with pytest.raises(DependencyError):
        hub_with(moved).update_desired("boat", "recon", {})
