"""The hub's REST interface: what is asked of it, and which refusals are worth another try."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from imagedelta.errors import DependencyError, RequestError
from services.hub_connection import HubConnection
from services.hub_local import LocalHub

CONNECTION = f"HostName=http://127.0.0.1:1/iothub/north;SharedAccessKeyName=iothubowner;SharedAccessKey={base64.b64encode(b'k').decode()}"


class FakeHub:
    """Twins by path; keeps every request."""

    def __init__(self, twins: dict[str, dict[str, Any]] | None = None, status: int = 200) -> None:
        self.twins = twins or {}
        self.status = status
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.status != 200:
            return httpx.Response(self.status, text="as you wish")
        if request.url.path.endswith("/applyConfigurationContent"):
            return httpx.Response(204)
        module = request.url.path.rpartition("/")[2]
        if module not in self.twins:
            return httpx.Response(404, json={"Message": "ErrorCode:ModuleNotFound"})
        return httpx.Response(200, json=self.twins[module])


def twin(desired: dict[str, Any], version: int = 3) -> dict[str, Any]:
    return {
        "etag": "AAA=",
        "properties": {
            "desired": {**desired, "$version": version, "$metadata": {}},
            "reported": {"lastDesiredVersion": 2, "$version": 9, "$metadata": {}},
        },
    }


def hub_of(fake: FakeHub) -> LocalHub:
    client = httpx.Client(transport=httpx.MockTransport(fake))
    return LocalHub(
        "north", HubConnection.parse(CONNECTION), client=client, now=lambda: datetime(2030, 1, 1, tzinfo=UTC)
    )


def test_a_twin_is_read_without_the_hubs_bookkeeping() -> None:
    fake = FakeHub({"$edgeAgent": twin({"modules": {}})})

    found = hub_of(fake).module_twin("boat 1", "$edgeAgent")

    assert found is not None
    assert (found.desired, found.version, found.etag) == ({"modules": {}}, 3, "AAA=")
    assert found.reported == {"lastDesiredVersion": 2}
    assert fake.requests[0].url.raw_path.startswith(b"/iothub/north/twins/boat%201/modules/%24edgeAgent?api-version=")
    assert fake.requests[0].headers["Authorization"].startswith("SharedAccessSignature sr=http%3A%2F%2F127.0.0.1")


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


def test_content_is_applied_whole() -> None:
    fake = FakeHub()

    hub_of(fake).apply_content("boat", {"$edgeAgent": {"properties.desired": {}}})

    (request,) = fake.requests
    assert (request.method, request.url.path) == ("POST", "/iothub/north/devices/boat/applyConfigurationContent")
    assert json.loads(request.content) == {"modulesContent": {"$edgeAgent": {"properties.desired": {}}}}


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
        hub_of(FakeHub(status=400)).apply_content("boat", {})
    assert caught.value.code == "hub.refused"


def test_a_hub_that_does_not_answer_is_worth_another_try() -> None:
    def unplugged(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    hub = LocalHub(
        "north", HubConnection.parse(CONNECTION), client=httpx.Client(transport=httpx.MockTransport(unplugged))
    )
    with pytest.raises(DependencyError, match="north"):
        hub.module_twin("boat", "recon")
