"""The local IoT hub: REST shapes, twins, limits, queries and signatures."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from imagedelta_local.iothub.answers import HubError
from imagedelta_local.iothub.device_api import DeviceApi
from imagedelta_local.iothub.query import parse
from imagedelta_local.iothub.sas import Token, sign
from imagedelta_local.iothub.service_api import ServiceApi
from imagedelta_local.iothub.store import HubStore
from imagedelta_local.iothub.stream import EventStream
from imagedelta_local.iothub.twins import merge, own_properties

Request = Callable[..., Awaitable[tuple[int, Any, Any]]]

MANIFEST = {
    "modulesContent": {
        "$edgeAgent": {"properties.desired": {"schemaVersion": "1.1", "modules": {"app": {"version": "1"}}}},
        "$edgeHub": {"properties.desired": {"routes": {}}},
        "settings": {"properties.desired": {"level": 3}},
    }
}


class Hub:
    """A hub served in this process; requests are signed by the service policy unless said otherwise."""

    def __init__(self, path: Path) -> None:
        self.store = HubStore(path)
        self.key = self.store.ensure_hub("north")
        self.stream = EventStream(self.store)

    def run(self, body: Callable[[Request], Awaitable[None]]) -> None:
        async def main() -> None:
            application = web.Application()
            DeviceApi(self.store, self.stream).add_routes(application.router)
            ServiceApi(self.store).add_routes(application.router)
            async with TestClient(TestServer(application)) as client:

                async def request(
                    method: str, path: str, body: Any = None, auth: str = "", **headers: str
                ) -> tuple[int, Any, Any]:
                    headers["Authorization"] = auth or self.service_token()
                    data = body if isinstance(body, bytes) else json.dumps(body) if body is not None else None
                    answer = await client.request(method, f"/iothub/north{path}", data=data, headers=headers)
                    text = await answer.text()
                    return answer.status, json.loads(text) if text else None, answer.headers

                await body(request)

        asyncio.run(main())

    def service_token(self, resource: str = "", policy: str = "iothubowner", seconds: int = 60) -> str:
        return token(self.key, f"127.0.0.1/iothub/north{resource}", policy, seconds)


def token(key: str, resource: str, policy: str = "", seconds: int = 60) -> str:
    encoded, expiry = quote(resource, safe=""), str(int(time.time()) + seconds)
    signature = quote(sign(key, encoded, expiry), safe="")
    return f"SharedAccessSignature sr={encoded}&sig={signature}&se={expiry}" + (f"&skn={policy}" if policy else "")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path / "iothub.sqlite")
    yield made
    made.store.close()


# Identities


def test_an_edge_device_is_created_with_its_agent_and_hub_and_its_keys(hub: Hub) -> None:
    async def body(request: Request) -> None:
        status, device, headers = await request("PUT", "/devices/d", {"capabilities": {"iotEdge": True}})
        _, modules, _ = await request("GET", "/devices/d/modules")
        again, error, error_headers = await request("PUT", "/devices/d", {})

        assert status == 200
        assert device["authentication"]["symmetricKey"]["primaryKey"]
        assert headers["ETag"] == f'"{device["etag"]}"'
        assert [module["moduleId"] for module in modules] == ["$edgeAgent", "$edgeHub"]
        assert (again, error_headers["iothub-errorcode"]) == (409, "DeviceAlreadyExists")
        assert error["Message"].startswith("ErrorCode:DeviceAlreadyExists")

    hub.run(body)


def test_an_identity_keeps_its_keys_when_it_is_updated_and_can_be_deleted(hub: Hub) -> None:
    async def body(request: Request) -> None:
        await request("PUT", "/devices/d", {})
        _, module, _ = await request("PUT", "/devices/d/modules/m", {})
        status, updated, _ = await request("PUT", "/devices/d/modules/m", {"status": "disabled"}, **{"If-Match": "*"})
        gone, _, _ = await request("DELETE", "/devices/d")
        missing, _, headers = await request("GET", "/devices/d/modules/m")

        assert (status, updated["status"], updated["authentication"]) == (200, "disabled", module["authentication"])
        assert (gone, missing, headers["iothub-errorcode"]) == (204, 404, "DeviceNotFound")

    hub.run(body)


def test_a_module_needs_its_device(hub: Hub) -> None:
    async def body(request: Request) -> None:
        assert (await request("PUT", "/devices/nobody/modules/m", {}))[0] == 404
        assert (await request("PUT", "/devices/bad%20id", {}))[0] == 400

    hub.run(body)


# Twins


def test_a_patch_merges_counts_versions_and_deletes_with_null(hub: Hub) -> None:
    async def body(request: Request) -> None:
        await request("PUT", "/devices/d", {})
        await request("PATCH", "/twins/d", {"tags": {"a": {"x": 1, "y": 2}}, "properties": {"desired": {"k": 1}}})
        patch = {"tags": {"a": {"x": None}}, "properties": {"desired": {"l": 2}}}
        status, twin, _ = await request("PATCH", "/twins/d", patch)

        assert (status, twin["tags"]) == (200, {"a": {"y": 2}})
        desired = twin["properties"]["desired"]
        assert (desired["k"], desired["l"], desired["$version"]) == (1, 2, 3)

    hub.run(body)


def test_a_patch_for_an_older_version_is_refused(hub: Hub) -> None:
    async def body(request: Request) -> None:
        await request("PUT", "/devices/d", {})
        _, old, _ = await request("GET", "/twins/d")
        current = {"If-Match": f'"{old["etag"]}"'}

        first, _, _ = await request("PATCH", "/twins/d", {"tags": {"a": 1}}, **current)
        second, _, headers = await request("PATCH", "/twins/d", {"tags": {"a": 2}}, **current)

        assert (first, second, headers["iothub-errorcode"]) == (200, 412, "PreconditionFailed")

    hub.run(body)


@pytest.mark.parametrize(
    ("desired", "code"),
    [
        ({f"k{n}": "x" * 4000 for n in range(9)}, "TwinDocumentTooLarge"),
        ({"k": "x" * 4097}, "ArgumentInvalid"),
        ({"a.b": 1}, "ArgumentInvalid"),
        ({"a b": 1}, "ArgumentInvalid"),
        ({"$x": 1}, "ArgumentInvalid"),
        ([1], "ArgumentInvalid"),
    ],
)
def test_desired_properties_beyond_the_hubs_limits_are_refused_whole(hub: Hub, desired: Any, code: str) -> None:
    async def body(request: Request) -> None:
        await request("PUT", "/devices/d", {})
        status, _, headers = await request("PATCH", "/twins/d", {"properties": {"desired": desired}})
        _, twin, _ = await request("GET", "/twins/d")

        assert (status, headers["iothub-errorcode"]) == (400, code)
        assert twin["properties"]["desired"]["$version"] == 1

    hub.run(body)


def test_a_deployment_replaces_desired_properties_and_creates_modules(hub: Hub) -> None:
    async def body(request: Request) -> None:
        await request("PUT", "/devices/d", {"capabilities": {"iotEdge": True}})
        status, _, _ = await request("POST", "/devices/d/applyConfigurationContent", MANIFEST)
        second = json.loads(json.dumps(MANIFEST))
        second["modulesContent"]["$edgeAgent"]["properties.desired"]["modules"] = {"tool": {}}
        await request("POST", "/devices/d/applyConfigurationContent", second)
        _, agent, _ = await request("GET", "/twins/d/modules/%24edgeAgent")
        _, settings, _ = await request("GET", "/twins/d/modules/settings")

        assert status == 204
        assert agent["properties"]["desired"]["modules"] == {"tool": {}}
        assert agent["properties"]["desired"]["$version"] == 3
        assert settings["properties"]["desired"]["level"] == 3
        assert (await request("GET", "/devices/d/modules/app"))[0] == 200
        assert (await request("GET", "/devices/d/modules/tool"))[0] == 200

    hub.run(body)


@pytest.mark.parametrize(
    "content",
    [{}, {"app": {"properties.desired": {}}}, {"$edgeAgent": {"properties.desired.modules.x": {}}}, {"$edgeAgent": 1}],
)
def test_a_deployment_that_cannot_be_is_refused_whole(hub: Hub, content: Any) -> None:
    async def body(request: Request) -> None:
        await request("PUT", "/devices/d", {"capabilities": {"iotEdge": True}})
        path = "/devices/d/applyConfigurationContent"
        status, _, _ = await request("POST", path, {"modulesContent": content})

        assert status == 400
        assert (await request("GET", "/devices/d/modules/app"))[0] == 404

    hub.run(body)


def content(*modules: str) -> Any:
    named = {module: {"settings": {"image": f"{module}:1"}} for module in modules}
    return {"modulesContent": {"$edgeAgent": {"properties.desired": {"schemaVersion": "1.1", "modules": named}}}}


def layer(module: str, image: str) -> Any:
    name = f"properties.desired.modules.{module}"
    return {"modulesContent": {"$edgeAgent": {name: {"settings": {"image": image}}}}}


def test_devices_get_the_deployments_whose_condition_they_meet(hub: Hub) -> None:
    async def body(request: Request) -> None:
        async def images(device: str) -> Any:
            _, twin, _ = await request("GET", f"/twins/{device}/modules/$edgeAgent")
            modules = twin["properties"]["desired"].get("modules", {})
            return {name: module["settings"]["image"] for name, module in modules.items()}

        async def order(name: str, condition: str, priority: int, what: Any) -> int:
            order = {"id": name, "targetCondition": condition, "priority": priority, "content": what}
            return (await request("PUT", f"/configurations/{name}", order))[0]

        for device, site in (("a", "north"), ("b", "south")):
            await request("PUT", f"/devices/{device}", {"capabilities": {"iotEdge": True}})
            await request("PATCH", f"/twins/{device}", {"tags": {"site": site}})
        assert await order("base", "*", 1, content("app")) == 200
        assert (await images("a"), await images("b")) == ({"app": "app:1"}, {"app": "app:1"})
        await order("north", "tags.site = 'north'", 5, content("radar"))
        await order("low", "*", 0, layer("never", "x:1"))
        await order("high", "tags.site in ['north']", 6, layer("sonar", "sonar:2"))
        assert await images("a") == {"radar": "radar:1", "sonar": "sonar:2"}
        assert await images("b") == {"app": "app:1"}
        _, before, _ = await request("GET", "/twins/b/modules/$edgeAgent")

        await request("PATCH", "/twins/a", {"tags": {"site": "south"}})
        await request("PATCH", "/twins/b", {"tags": {"name": "boreas"}})
        await request("PUT", "/devices/new", {"capabilities": {"iotEdge": True}})
        _, after, _ = await request("GET", "/twins/b/modules/$edgeAgent")

        assert (await images("a"), await images("new")) == ({"app": "app:1"}, {"app": "app:1"})
        assert after["properties"]["desired"]["$version"] == before["properties"]["desired"]["$version"]

    hub.run(body)


def test_an_agent_says_which_deployments_its_device_meets_and_which_count(hub: Hub) -> None:
    async def body(request: Request) -> None:
        async def order(name: str, condition: str, priority: int, what: Any) -> None:
            order = {"id": name, "targetCondition": condition, "priority": priority, "content": what}
            assert (await request("PUT", f"/configurations/{name}", order))[0] == 200

        async def said(device: str) -> Any:
            _, twin, _ = await request("GET", f"/twins/{device}/modules/$edgeAgent")
            query = {"query": f"select * from devices.modules where deviceId = '{device}' and moduleId = '$edgeAgent'"}
            _, (found,), _ = await request("POST", "/devices/query", query)
            assert found.get("configurations") == twin.get("configurations")
            states = twin.get("configurations")
            return states and {name: state["status"] for name, state in states.items()}

        for device, site in (("a", "north"), ("b", "south")):
            await request("PUT", f"/devices/{device}", {"capabilities": {"iotEdge": True}})
            await request("PATCH", f"/twins/{device}", {"tags": {"site": site}})
        assert await said("a") is None
        await order("sonar", "tags.site = 'north'", 6, layer("sonar", "sonar:2"))
        assert (await said("a"), await said("b")) == ({"sonar": "Targeted"}, {}), "there is nothing below the layer"
        await order("base", "*", 1, content("app"))
        await order("north", "tags.site = 'north'", 5, content("radar"))
        await order("low", "*", 0, layer("never", "x:1"))

        assert await said("a") == {"low": "Targeted", "base": "Targeted", "north": "Applied", "sonar": "Applied"}
        assert await said("b") == {"low": "Targeted", "base": "Applied"}

    hub.run(body)


def test_a_deployment_is_ordered_once_listed_and_deleted(hub: Hub) -> None:
    async def body(request: Request) -> None:
        order = {"id": "one", "targetCondition": "*", "priority": 1, "content": content("app")}
        first, made, _ = await request("PUT", "/configurations/one", order)
        again, _, headers = await request("PUT", "/configurations/one", order)
        _, listed, _ = await request("GET", "/configurations")
        stale, _, _ = await request("DELETE", "/configurations/one", **{"If-Match": '"old"'})
        gone, _, _ = await request("DELETE", "/configurations/one", **{"If-Match": f'"{made["etag"]}"'})

        assert (first, again, headers["iothub-errorcode"]) == (200, 409, "ConfigurationAlreadyExists")
        assert [(one["id"], one["content"]) for one in listed] == [("one", content("app"))]
        assert (stale, gone, (await request("DELETE", "/configurations/one"))[0]) == (412, 204, 404)

    hub.run(body)


@pytest.mark.parametrize(
    "change",
    [
        {"targetCondition": "tags.a ="},
        {"targetCondition": None},
        {"targetCondition": "tags.a = 'x' and " * 1000},
        {"priority": -1},
        {"priority": "1"},
        {"priority": True},
        {"content": None},
        {"content": {"modulesContent": []}},
        {"content": {"deviceContent": {"properties.desired.x": 1}}},
        {"content": {"modulesContent": {"app": {"desired": {}}}}},
        {"content": {"modulesContent": {"app": {"properties.desired": 7}}}},
        {"content": {"modulesContent": {"app": {"properties.desired.": 7}}}},
        {"content": {"modulesContent": {"app": {"properties.desired.a b": 7}}}},
        {"content": {"modulesContent": {"app": {"properties.desired." + "a." * 20 + "a": 7}}}},
        {"content": {"modulesContent": {"app": {"properties.desired.a": "x" * 5000}}}},
        {"content": {"modulesContent": {"app": {"properties.desired": {str(n): "x" * 4000 for n in range(9)}}}}},
    ],
)
def test_a_deployment_that_cannot_be_is_not_taken(hub: Hub, change: Any) -> None:
    async def body(request: Request) -> None:
        order = {"id": "one", "targetCondition": "*", "priority": 1, "content": content("app"), **change}

        assert (await request("PUT", "/configurations/one", order))[0] == 400
        assert (await request("PUT", "/configurations/ONE", {**order, "targetCondition": "*"}))[0] == 400
        assert (await request("GET", "/configurations"))[1] == []

    hub.run(body)


def test_devices_are_found_by_tags_page_by_page(hub: Hub) -> None:
    async def body(request: Request) -> None:
        for number in range(5):
            await request("PUT", f"/devices/d{number}", {})
            await request("PATCH", f"/twins/d{number}", {"tags": {"site": "x" if number != 2 else "y", "n": number}})
        query = {"query": "SELECT * FROM devices WHERE tags.site = 'x' AND deviceId != 'd4'"}
        pages, token = [], ""
        while True:
            headers = {"x-ms-max-item-count": "2", **({"x-ms-continuation": token} if token else {})}
            _, page, answer = await request("POST", "/devices/query", query, **headers)
            pages.append([twin["deviceId"] for twin in page])
            token = answer.get("x-ms-continuation", "")
            if not token:
                break

        assert pages == [["d0", "d1"], ["d3"]]
        assert (await request("POST", "/devices/query", {"query": "drop table devices"}))[0] == 400

    hub.run(body)


def test_modules_of_named_devices_are_found_and_no_others(hub: Hub) -> None:
    async def body(request: Request) -> None:
        for device in ("a", "b'b", "c"):
            await request("PUT", f"/devices/{quote(device)}", {"capabilities": {"iotEdge": True}})
        text = r"select * from devices.modules where moduleId = '$edgeAgent' and deviceId in ['a', 'b\'b', 'nobody']"

        _, page, _ = await request("POST", "/devices/query", {"query": text})

        assert [(twin["deviceId"], twin["moduleId"]) for twin in page] == [("a", "$edgeAgent"), ("b'b", "$edgeAgent")]

    hub.run(body)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("select * from devices", True),
        ("select * from devices where tags.a = 'it''s'", True),
        (r"select * from devices where tags.a = 'it\'s'", True),
        (r"select * from devices where tags.a = 'i\u0074\'s'", True),
        ("select * from devices where tags.n = 5 and tags.on = true", True),
        ("select * from devices where tags.n in [4, 5]", True),
        ("select * from devices where tags.n <> 5", False),
        ("select * from devices where is_defined(tags.a)", True),
        ("select * from devices where is_defined(tags.zzz)", False),
    ],
)
def test_conditions_of_a_query(query: str, found: bool) -> None:
    assert parse(query).accepts({"tags": {"a": "it's", "n": 5, "on": True}}) is found


@pytest.mark.parametrize(
    "query",
    [
        "select * from devices where",
        "select * from devices where tags.a",
        "select * from devices where tags.a = ",
        "select * from devices where tags.a = 'x' or tags.b = 'y'",
        "select * from devices where tags.a = 'open",
        "select count() from devices",
        "select * from devices where " + "tags.a = 'x' and " * 1000 + "tags.a = 'x'",
    ],
)
def test_a_query_that_is_not_served_is_refused(query: str) -> None:
    with pytest.raises(HubError):
        parse(query)


def test_merging_keeps_what_is_not_named() -> None:
    assert merge({"a": {"b": 1}, "c": 2}, {"a": {"d": {"e": None}}, "c": None}) == {"a": {"b": 1, "d": {}}}


def test_nesting_is_bounded() -> None:
    deep: Any = {}
    for _ in range(20):
        deep = {"a": deep}

    with pytest.raises(HubError, match="nested"):
        own_properties(deep, "desired")


# Signatures


@pytest.mark.parametrize(
    ("resource", "policy", "seconds", "status"),
    [
        ("", "iothubowner", 60, 404),
        ("", "iothubowner", -60, 401),
        ("", "reader", 60, 401),
        ("/devices/d", "iothubowner", 60, 401),
        ("-south", "iothubowner", 60, 401),
    ],
)
def test_only_a_valid_signature_of_the_policy_opens_the_service_side(
    hub: Hub, resource: str, policy: str, seconds: int, status: int
) -> None:
    async def body(request: Request) -> None:
        auth = hub.service_token(resource, policy, seconds)

        assert (await request("GET", "/twins/d", auth=auth))[0] == status

    hub.run(body)


@pytest.mark.parametrize(
    "header", ["", "Bearer x", "SharedAccessSignature sr=a", "SharedAccessSignature sr=a&sig=b&se=x"]
)
def test_a_broken_signature_is_refused_not_a_crash(header: str) -> None:
    with pytest.raises(HubError):
        Token.parse(header).require("a2V5", "/iothub/north")


# The device side


def test_a_module_reads_its_twin_and_reports_with_its_own_key(hub: Hub) -> None:
    async def body(request: Request) -> None:
        await request("PUT", "/devices/d", {})
        _, module, _ = await request("PUT", "/devices/d/modules/m", {})
        await request("PATCH", "/twins/d/modules/m", {"properties": {"desired": {"pause": True}}})
        key = module["authentication"]["symmetricKey"]["primaryKey"]
        own = token(key, "127.0.0.1/iothub/north/devices/d/modules/m")
        foreign = token(key, "127.0.0.1/iothub/north/devices/d")

        _, twin, _ = await request("GET", "/devices/d/modules/m/twin", auth=own)
        path = "/devices/d/modules/m/twin/properties/reported"
        first, _, _ = await request("PATCH", path, {"a": 1, "b": 1}, auth=own)
        await request("PATCH", path, {"b": None}, auth=own)
        _, seen, _ = await request("GET", "/twins/d/modules/m")

        assert (twin["desired"]["pause"], twin["desired"]["$version"], first) == (True, 2, 204)
        assert (seen["properties"]["reported"]["a"], "b" in seen["properties"]["reported"]) == (1, False)
        assert (await request("GET", "/devices/d/modules/m/twin", auth=foreign))[0] == 200
        assert (await request("GET", "/devices/d/twin", auth=own))[0] == 401
        assert (await request("GET", "/devices/d/modules/m/twin"))[0] == 401

    hub.run(body)


def test_a_twin_tells_when_each_property_was_reported(hub: Hub) -> None:
    async def body(request: Request) -> None:
        await request("PUT", "/devices/d", {})
        _, module, _ = await request("PUT", "/devices/d/modules/m", {})
        own = token(
            module["authentication"]["symmetricKey"]["primaryKey"], "127.0.0.1/iothub/north/devices/d/modules/m"
        )
        path = "/devices/d/modules/m/twin/properties/reported"

        async def times(patch: Any) -> Any:
            await request("PATCH", path, patch, auth=own)
            _, twin, _ = await request("GET", "/twins/d/modules/m")
            return twin["properties"]["reported"]["$metadata"]

        first = await times({"lastDesiredVersion": 2, "modules": {"app": {"state": "running"}}, "gone": 1})
        await asyncio.sleep(0.002)
        second = await times({"modules": {"app": {"state": "failed"}}, "gone": None})

        assert second["lastDesiredVersion"] == first["lastDesiredVersion"]
        assert second["modules"]["app"]["state"]["$lastUpdated"] > first["modules"]["app"]["state"]["$lastUpdated"]
        assert ("gone" in first, "gone" in second) == (True, False)

    hub.run(body)


def test_a_disabled_device_is_shut_out_with_its_modules(hub: Hub) -> None:
    async def body(request: Request) -> None:
        await request("PUT", "/devices/d", {})
        _, module, _ = await request("PUT", "/devices/d/modules/m", {})
        await request("PUT", "/devices/d", {"status": "disabled"}, **{"If-Match": "*"})
        key = module["authentication"]["symmetricKey"]["primaryKey"]
        own = token(key, "127.0.0.1/iothub/north/devices/d/modules/m")

        assert (await request("POST", "/devices/d/modules/m/messages/events", b"x", auth=own))[0] == 401
        assert hub.stream.after("north", 0, 10) == []

    hub.run(body)


def test_messages_keep_their_order_and_checkpoints_survive(hub: Hub, tmp_path: Path) -> None:
    async def body(request: Request) -> None:
        await request("PUT", "/devices/d", {})
        _, module, _ = await request("PUT", "/devices/d/modules/m", {})
        own = token(module["authentication"]["symmetricKey"]["primaryKey"], "x/iothub/north/devices/d/modules/m")
        for number in range(5):
            await request("POST", "/devices/d/modules/m/messages/events", str(number).encode(), auth=own)

    hub.run(body)
    hub.stream.set_checkpoint("north", "f/$Default", hub.stream.after("north", 0, 2)[-1].sequence)
    again = EventStream(HubStore(tmp_path / "iothub.sqlite"))

    left = again.after("north", again.checkpoint("north", "f/$Default"), 10)

    assert [item.body for item in left] == [b"2", b"3", b"4"]
    again._store.close()
