"""Devices: enrolling, looking, and what an operator may do with one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.messages import Inventory
from imagedelta.errors import REMEDIES
from services.store_port import Origin
from tests.unit.triggers.hubs import VersionedHub
from tests.unit.triggers.world import START, World, make_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, {"north": VersionedHub(), "south": VersionedHub()})


def enrol(world: World, device_id: str = "boat", **change: Any) -> Any:
    return world.call("PUT", f"/api/devices/{device_id}", {"hub": "north", **change})


def test_a_new_device_is_201_and_a_changed_one_200(world: World) -> None:
    first = enrol(world, tags={"site": "a"})
    second = enrol(world, tags={"site": "b"}, bytesPerSecond=1000)

    assert (first.status, first.body["state"], first.body["tags"]) == (201, "enrolled", {"site": "a"})
    assert (second.status, second.body["tags"], second.body["bytesPerSecond"]) == (200, {"site": "b"}, 1000)
    assert world.call("GET", "/api/devices/boat").body == second.body


def test_what_a_device_may_take_of_its_link_is_kept_and_shown(world: World) -> None:
    reply = enrol(world, linkRate=5.0, linkHours="22-6, 12-13:30")

    assert (reply.body["linkRate"], reply.body["linkHours"]) == (5, "22-6, 12-13:30")
    assert enrol(world).body["linkHours"] is None


@pytest.mark.parametrize(
    ("link", "status"),
    [
        ({"linkRate": -1}, 400),
        ({"linkRate": 10**12 + 1}, 400),
        ({"linkRate": 1.5}, 400),
        ({"linkRate": "9"}, 400),
        ({"linkHours": "25-26"}, 422),
        ({"linkHours": "1-1"}, 422),
        ({"linkHours": "at night"}, 400),
        ({"linkHours": ",".join(["1-2"] * 13)}, 400),
        ({"linkHours": "1-2" + " " * 200}, 400),
    ],
)
def test_what_no_device_could_follow_is_refused(world: World, link: dict[str, Any], status: int) -> None:
    reply = enrol(world, **link)

    assert (reply.status, reply.code) == (status, "request.invalid")


def test_enrolling_has_its_twin_written_now(world: World) -> None:
    enrol(world)

    assert world.durable.started == [("nudge", "nudge", {})]


def test_a_device_of_a_hub_that_is_not_configured_is_refused(world: World) -> None:
    reply = enrol(world, hub="east")

    assert (reply.status, reply.code) == (422, "request.unknown_hub")
    assert "north, south" in reply.body["detail"]
    assert world.call("GET", "/api/devices/boat").status == 404


@pytest.mark.parametrize("device_id", ["a b", "-boat", "x" * 129, "a%00"])
def test_an_id_that_iot_hub_would_not_take_is_refused(world: World, device_id: str) -> None:
    assert enrol(world, device_id).code == "request.invalid"


def test_devices_are_found_by_hub_state_and_tag(world: World) -> None:
    enrol(world, "a", tags={"site": "x"})
    enrol(world, "b", hub="south", tags={"site": "x"})
    enrol(world, "c", tags={"site": "y"})

    def found(**query: str) -> list[str]:
        return [item["deviceId"] for item in world.call("GET", "/api/devices", **query).body["items"]]

    assert found() == ["a", "b", "c"]
    assert found(tag="site=x") == ["a", "b"]
    assert found(tag="site=x", hub="north") == ["a"]
    assert found(state="active") == []
    assert world.call("GET", "/api/devices", tag="site").code == "request.invalid"


def test_a_list_is_read_page_by_page(world: World) -> None:
    for name in ("a", "b", "c"):
        enrol(world, name)

    first = world.call("GET", "/api/devices", limit="2").body
    second = world.call("GET", "/api/devices", limit="2", after=first["next"]).body

    names = [item["deviceId"] for item in first["items"] + second["items"]]
    assert (names, second["next"]) == (["a", "b", "c"], None)


def test_who_changed_a_device_stands_in_the_audit_log(world: World) -> None:
    world.call("PUT", "/api/devices/boat", {"hub": "north"}, headers={"X-ImageDelta-User": "ada"})
    world.call("POST", "/api/devices/boat/resync")

    entries = world.call("GET", "/api/audit", subject="boat").body["items"]
    assert {(entry["who"], entry["action"]) for entry in entries} == {
        ("ada", "device.enrol"),
        ("function-key", "device.resync"),
    }
    assert len(world.call("GET", "/api/audit", who="ada").body["items"]) == 1
    assert len(world.call("GET", "/api/audit", action="device.resync").body["items"]) == 1
    assert world.call("GET", "/api/audit", to="2020-01-01T00:00:00Z").body["items"] == []
    assert len(world.call("GET", "/api/audit", **{"from": "2020-01-01T00:00:00Z"}).body["items"]) == 2


def test_a_retired_device_stays_retired(world: World) -> None:
    enrol(world)

    retired = world.call("POST", "/api/devices/boat/retire")

    assert (retired.status, retired.body["state"]) == (200, "retired")
    assert world.call("POST", "/api/devices/boat/resync").status == 409


def test_a_replaced_device_has_no_images_any_more(world: World) -> None:
    enrol(world)

    replaced = world.call("POST", "/api/devices/boat/replace")

    assert (replaced.status, replaced.body["state"]) == (200, "enrolled")
    assert world.call("GET", "/api/devices/boat/images").body == {"items": []}


@pytest.mark.parametrize("action", ["retire", "replace", "resync"])
def test_nothing_can_be_done_with_a_device_that_is_not_enrolled(world: World, action: str) -> None:
    assert world.call("POST", f"/api/devices/none/{action}").code == "request.not_found"
    assert world.call("GET", "/api/devices/none/images").code == "request.not_found"
    assert world.call("GET", "/api/audit").body["items"] == []


def test_nothing_is_stored_of_an_enrolment_that_is_refused(world: World) -> None:
    bodies = ({"hub": "north", "platform": "windows"}, {"hub": "north", "bytesPerSecond": 0}, {})
    assert [world.call("PUT", "/api/devices/boat", body).status for body in bodies] == [400, 400, 400]
    world.deps = replace(world.deps, hubs={})
    assert world.call("PUT", "/api/devices/boat", {"hub": "north"}).code == "request.unknown_hub"

    assert world.call("GET", "/api/devices").body["items"] == []


def test_a_device_says_what_it_waits_for_and_which_of_its_images_are_not_registered(world: World) -> None:
    silent = enrol(world).body
    claim = world.deps.store.devices.claim_sync("boat", timedelta(minutes=2), START)
    assert claim is not None
    world.deps.store.devices.sync_failed(claim, "hub.unknown_device", START)
    lost = world.call("GET", "/api/devices/boat").body
    image = {"imageId": "sha256:" + "5" * 64, "references": ["app:0"]}
    whole = {"installationId": "disk", "sequence": 1, "platform": "linux/amd64", "profiles": [], "freeDiskBytes": 1}
    origin = Origin("north", "boat", "imagereconstruction", None, START)
    world.deps.store.devices.record_inventory(origin, Inventory.model_validate({**whole, "images": [image]}))

    (found,) = world.call("GET", "/api/devices/boat/images").body["items"]

    assert (silent["waitsFor"], silent["remedy"]) == ("device.no_inventory", REMEDIES["device.no_inventory"])
    assert lost["waitsFor"] == "hub.unknown_device"
    assert (found["references"], found["registered"]) == (["app:0"], False)


def test_a_device_is_given_another_identity_and_keeps_its_id(world: World) -> None:
    enrol(world)
    enrol(world, "tug")

    moved = world.call("POST", "/api/devices/boat/rebind", {"hub": "south", "hubDeviceId": "vessel"})
    again = world.call("POST", "/api/devices/boat/rebind", {"hub": "south"})
    taken = world.call("POST", "/api/devices/tug/rebind", {"hub": "south", "hubDeviceId": "vessel"})
    nowhere = world.call("POST", "/api/devices/boat/rebind", {"hub": "east"})
    nobody = world.call("POST", "/api/devices/none/rebind", {"hub": "south"})

    assert (moved.status, moved.body["hub"], moved.body["hubDeviceId"]) == (200, "south", "vessel")
    assert (again.status, again.body["hubDeviceId"]) == (200, "vessel")
    assert (taken.status, taken.body["code"]) == (409, "request.binding_taken")
    assert (nowhere.status, nowhere.body["code"]) == (422, "request.unknown_hub")
    assert nobody.status == 404
    entries = world.call("GET", "/api/audit", subject="boat").body["items"]
    assert {"old": "north/boat", "new": "south/vessel"} in [entry["detail"] for entry in entries]


@pytest.mark.parametrize("name", ["", "a b", "x" * 129, "a/b"])
def test_what_no_hub_takes_as_an_id_is_refused(world: World, name: str) -> None:
    enrol(world)

    assert world.call("POST", "/api/devices/boat/rebind", {"hub": "south", "hubDeviceId": name}).status == 400


def test_silent_and_missing_devices_are_listed(world: World) -> None:
    enrol(world)
    enrol(world, "tug", tags={"silent-after-hours": "1"})
    store, later = world.deps.store, world.deps.now() + timedelta(hours=2)
    store.devices.notice_silent(store.devices.to_notice(later, 10), later)

    def listed(**query: str) -> list[str]:
        return [item["deviceId"] for item in world.call("GET", "/api/devices", **query).body["items"]]

    assert (listed(silent="true"), listed(silent="false"), listed(missing="true")) == (["tug"], ["boat"], [])
    assert world.call("GET", "/api/devices/tug").body["silentSince"] is not None
    assert world.call("GET", "/api/health").body["devices"] == {"silent": 1, "missing": 0}
    assert world.call("GET", "/api/devices", silent="yes").status == 400
