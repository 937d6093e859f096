"""Deployment sets: ordering, refusing, and what an operator decides."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from contracts.messages import Inventory
from contracts.records import ImageRecord, Release
from contracts.requests import EnrolDevice, StartDeployment
from imagedelta.errors import REMEDIES
from services.store_port import Decisions, Origin, PlannedMember, PlannedTransfer
from tests.simulators.statements import statements
from tests.unit.triggers.hubs import VersionedHub
from tests.unit.triggers.world import START, World, make_world

APP = {version: "sha256:" + version * 64 for version in "12"}
ORDER: dict[str, Any] = {
    "name": "app 2",
    "owner": {"name": "Ada", "email": "ada@example.org"},
    "devices": {"ids": ["boat"]},
    "images": ["app:2"],
}


@pytest.fixture
def hub() -> VersionedHub:
    return VersionedHub()


@pytest.fixture
def world(tmp_path: Path, hub: VersionedHub) -> World:
    made = make_world(tmp_path, {"north": hub})
    for version, image_id in APP.items():
        made.deps.store.images.add_image(
            ImageRecord(image_id, "linux/amd64", b"{}", (), 5, "sha256:" + "b" * 64, (f"app:{version}",), START)
        )
    for device_id in ("boat", "buoy"):
        made.deps.store.devices.enrol(device_id, EnrolDevice(hub="north"), "test", START)
    return made


def start(world: World, **change: Any) -> Any:
    return world.call("POST", "/api/deployment-sets", {**ORDER, **change}, headers={"X-ImageDelta-User": "grace"})


def released(world: World, version: str, *devices: str, **options: Any) -> str:
    """A set of app:``version`` whose devices have everything already, released to them."""
    store = world.deps.store
    reference = f"app:{version}"
    order = StartDeployment.model_validate(
        {
            **ORDER,
            "name": f"set {version}",
            "devices": {"ids": devices},
            "images": None,
            "manifest": {"v": version},
            **options,
        }
    )
    frozen = {reference: {"linux/amd64": APP[version]}}
    set_id = store.sets.create(order, images=frozen, manifest={"v": version}, by="test", at=START).set_id
    ready(world, set_id, *devices)
    for device_id in devices:
        assert store.releases.claim(set_id, device_id, world.deps.settings.claim_lease, START)
        release = Release(set_id, device_id, "north", "default", ("app",), {}, {}, 2, True, START)
        assert store.releases.record(release, START)
    return set_id


def tell(world: World, device_id: str) -> None:
    """The device sends an inventory: it has nothing."""
    whole = {"installationId": device_id, "sequence": 1, "platform": "linux/amd64", "profiles": ["v1-64m"]}
    inventory = Inventory.model_validate({**whole, "freeDiskBytes": 1, "images": []})
    origin = Origin("north", device_id, "imagereconstruction", None, START)
    world.deps.store.devices.record_inventory(origin, inventory)


def ready(world: World, set_id: str, *devices: str) -> None:
    store = world.deps.store
    for device_id in devices:
        tell(world, device_id)
    plan(store, set_id, *[PlannedMember(device_id, 1, START, ()) for device_id in devices])
    store.sets.move(set_id, "planning", "preparing", "orchestrator", START)
    for within in store.sets.to_start(set_id, 100):
        store.sets.start(set_id, within, START, START)
    store.sets.settle(set_id, START)
    while set_id in store.sets.to_settle(START, 100):
        store.sets.settle(set_id, START)


def plan(store: Any, set_id: str, *members: PlannedMember) -> None:
    store.sets.begin_plan(set_id, timedelta(minutes=30), 100, START)
    store.sets.record_plan(set_id, Decisions(members), START)


def test_a_set_is_accepted_frozen_and_started(world: World) -> None:
    reply = start(world)

    set_id = reply.body["setId"]
    assert (reply.status, reply.body["state"], reply.body["orderedBy"]) == (202, "accepted", "grace")
    assert reply.body["images"] == {"app:2": {"linux/amd64": APP["2"]}}
    assert reply.headers["Location"] == f"/api/deployment-sets/{set_id}"
    assert world.durable.started == [("deploy_set", f"deploy-{set_id}", {"setId": set_id})]


def test_a_set_is_shown_with_its_members_and_events(world: World) -> None:
    path = start(world).headers["Location"]

    shown = world.call("GET", path).body
    events = world.call("GET", f"{path}/events").body

    members = world.call("GET", shown["links"]["members"]).body["items"]
    assert [(member["deviceId"], member["state"]) for member in members] == [("boat", "waiting_inventory")]
    assert members[0]["waitsFor"] == "device.no_inventory"
    assert shown["memberStates"] == {"waiting_inventory": 1}
    assert (shown["transferStages"], shown["notifications"], shown["troubles"]) == ({}, [], [])
    assert shown["waiting"] == [
        {
            "code": "device.no_inventory",
            "detail": None,
            "remedy": REMEDIES["device.no_inventory"],
            "devices": 1,
            "example": "boat",
        }
    ]
    assert (shown["plannedBytes"], shown["sentBytes"], shown["warnings"]) == (None, 0, [])
    assert events["items"][0]["who"] == "grace"


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"images": ["app:9"]}, 422, "request.unknown_image"),
        ({"devices": {"ids": ["boat", "ghost"]}}, 422, "request.unknown_device"),
        ({"devices": {"query": "tags.site = 'nowhere'"}}, 422, "request.no_device"),
        ({"devices": {"query": "tags.site = "}}, 422, "request.invalid"),
        ({"devices": {}}, 400, "request.invalid"),
        ({"devices": {"ids": []}}, 400, "request.invalid"),
        ({"canaries": ["buoy"]}, 422, "request.unknown_device"),
        ({"images": None}, 400, "request.invalid"),
        ({"images": []}, 400, "request.invalid"),
        ({"manifest": {}}, 400, "request.invalid"),
        ({"owner": {"name": "Ada", "email": "not mail"}}, 400, "request.invalid"),
        ({"owner": {"name": "Ada", "email": "a@b.example\r\nBcc: x@y.example"}}, 400, "request.invalid"),
        ({"deadline": "2030-01-01T00:00:00"}, 400, "request.invalid"),
        ({"maxBytes": 0}, 400, "request.invalid"),
        ({"priority": "now"}, 400, "request.invalid"),
        ({"surprise": 1}, 400, "request.invalid"),
        ({"workstream": "a/b"}, 400, "request.invalid"),
    ],
)
@pytest.mark.parametrize("query", [{}, {"dryRun": "true"}])
def test_an_order_that_cannot_be_is_refused_and_nothing_is_stored(
    world: World, change: dict[str, Any], status: int, code: str, query: dict[str, str]
) -> None:
    reply = world.call("POST", "/api/deployment-sets", {**ORDER, **change}, **query)

    assert (reply.status, reply.code) == (status, code)
    assert world.call("GET", "/api/deployment-sets").body["items"] == []
    assert world.call("GET", "/api/audit").body["items"] == []
    assert world.durable.started == []


def test_a_dry_run_is_asked_for_by_true_or_false(world: World) -> None:
    assert world.call("POST", "/api/deployment-sets", ORDER, dryRun="1").code == "request.invalid"
    assert world.call("GET", "/api/deployment-sets").body["items"] == []


def test_sets_are_found_by_owner_state_and_workstream(world: World) -> None:
    start(world, workstream="a")
    start(world, workstream="b", owner={"name": "Bob", "email": "bob@example.org"})

    def found(**query: str) -> list[str]:
        return [item["workstream"] for item in world.call("GET", "/api/deployment-sets", **query).body["items"]]

    assert sorted(found()) == ["a", "b"]
    assert found(owner="bob@example.org") == ["b"]
    assert found(workstream="a", state="accepted") == ["a"]
    assert found(state="completed") == []


def test_sets_of_a_device_and_those_that_have_not_ended_are_found(world: World) -> None:
    both = start(world, devices={"ids": ["boat", "buoy"]}).body["setId"]
    one = start(world).body["setId"]
    world.call("POST", f"/api/deployment-sets/{one}/cancel")

    def found(**query: str) -> list[str]:
        return [item["setId"] for item in world.call("GET", "/api/deployment-sets", **query).body["items"]]

    assert (found(device="boat"), found(device="buoy"), found(device="ghost")) == ([one, both], [both], [])
    assert (found(state="open"), found(state="open", device="boat")) == ([both], [both])
    members = world.call("GET", f"/api/deployment-sets/{both}/members", device="buoy").body["items"]
    assert [member["deviceId"] for member in members] == ["buoy"]


def test_a_cancelled_set_is_over_and_cannot_be_approved(world: World) -> None:
    path = start(world).headers["Location"]

    cancelled = world.call("POST", f"{path}/cancel")

    assert (cancelled.status, cancelled.body["state"]) == (200, "cancelled")
    assert world.call("POST", f"{path}/approve").status == 409
    assert [entry["action"] for entry in world.call("GET", "/api/audit").body["items"]] == ["set.cancel", "set.start"]


@pytest.mark.parametrize("action", ["approve", "release", "promote", "rollback"])
def test_what_does_not_fit_the_state_is_409_and_changes_nothing(world: World, action: str) -> None:
    path = start(world).headers["Location"]
    before = world.call("GET", path).body

    reply = world.call("POST", f"{path}/{action}")

    assert reply.status == 409
    assert world.call("GET", path).body == before


def test_a_device_is_excluded_and_the_set_goes_on_without_it(world: World) -> None:
    path = start(world, devices={"ids": ["boat", "buoy"]}).headers["Location"]

    reply = world.call("POST", f"{path}/members/buoy/exclude")

    assert (reply.status, reply.body["state"]) == (200, "excluded")
    assert world.call("GET", path).body["memberStates"] == {"excluded": 1, "waiting_inventory": 1}


@pytest.mark.parametrize("action", ["exclude", "retry", "skip"])
def test_a_device_that_is_no_member_is_404(world: World, action: str) -> None:
    path = start(world).headers["Location"]

    assert world.call("POST", f"{path}/members/buoy/{action}").code == "request.not_found"
    assert world.call("POST", f"/api/deployment-sets/none/members/boat/{action}").code == "request.not_found"


@pytest.mark.parametrize("action", ["approve", "cancel", "release", "promote", "rollback"])
def test_nothing_can_be_done_with_a_set_that_is_not_there(world: World, action: str) -> None:
    assert world.call("POST", f"/api/deployment-sets/none/{action}").code == "request.not_found"
    assert world.call("GET", "/api/deployment-sets/none/events").code == "request.not_found"


def test_a_member_in_conflict_is_rebased_on_what_the_hub_has_now(world: World, hub: VersionedHub) -> None:
    set_id = released_to_conflict(world)
    hub.version = 7

    reply = world.call("POST", f"/api/deployment-sets/{set_id}/members/boat/rebase")

    assert (reply.status, reply.body["state"], reply.body["agentVersion"]) == (202, "ready", 7)


def test_a_member_is_not_rebased_on_a_hub_that_has_lost_the_device(world: World) -> None:
    set_id = released_to_conflict(world)

    reply = world.call("POST", f"/api/deployment-sets/{set_id}/members/boat/rebase")

    assert (reply.status, reply.code) == (409, "request.not_in_hub")


def test_a_member_in_conflict_may_be_left_as_it_is(world: World) -> None:
    set_id = released_to_conflict(world)

    assert world.call("POST", f"/api/deployment-sets/{set_id}/members/boat/skip").body["state"] == "excluded"


def released_to_conflict(world: World) -> str:
    store = world.deps.store
    order = StartDeployment.model_validate({**ORDER, "images": None, "manifest": {"v": 2}})
    frozen = {"app:2": {"linux/amd64": APP["2"]}}
    set_id = store.sets.create(order, images=frozen, manifest={"v": 2}, by="test", at=START).set_id
    ready(world, set_id, "boat")
    claim = store.releases.claim(set_id, "boat", world.deps.settings.claim_lease, START)
    assert claim is not None
    assert store.releases.refuse(claim, "conflict", "release.conflict", "someone was faster", START)
    return set_id


def test_a_rollback_orders_again_what_the_devices_ran_before(world: World) -> None:
    first = released(world, "1", "boat", "buoy")
    second = released(world, "2", "boat", "buoy")

    reply = world.call("POST", f"/api/deployment-sets/{second}/rollback", {"name": "undo"})

    assert (reply.status, reply.body["name"], reply.body["rollbackOf"]) == (202, "undo", second)
    assert reply.body["images"] == {"app:1": {"linux/amd64": APP["1"]}}
    created = world.deps.store.sets.deployment_set(reply.body["setId"])
    assert created is not None
    assert created.manifest == {"v": "1"}
    assert created.ordinal > world.call("GET", f"/api/deployment-sets/{first}").body["ordinal"]
    members = world.call("GET", f"{reply.headers['Location']}/members").body["items"]
    assert [member["deviceId"] for member in members] == ["boat", "buoy"]


def test_how_manifests_reach_devices_is_ordered_shown_audited_and_kept_by_a_rollback(world: World) -> None:
    released(world, "1", "boat")
    second = released(world, "2", "boat", releaseBy="condition", release="device")
    by_api = start(world, releaseBy="device").body

    back = world.call("POST", f"/api/deployment-sets/{second}/rollback").body
    entries = world.deps.store.audit.list_entries(who=None, subject=by_api["setId"], limit=10, after=None).items

    assert (by_api["releaseBy"], start(world).body["releaseBy"]) == ("device", "auto")
    assert (back["releaseBy"], back["releasePolicy"]) == ("condition", "device")
    assert [entry.detail["releaseBy"] for entry in entries] == ["device"]
    assert start(world, releaseBy="tag").status == 400


def test_a_rollback_without_a_body_keeps_the_owner(world: World) -> None:
    released(world, "1", "boat")
    second = released(world, "2", "boat")

    reply = world.call("POST", f"/api/deployment-sets/{second}/rollback")

    assert (reply.body["name"], reply.body["ownerEmail"]) == ("Back from set 2", "ada@example.org")


def test_there_is_no_rollback_of_the_first_set_nor_to_different_ones(world: World) -> None:
    first = released(world, "1", "boat")
    released(world, "1", "buoy")
    both = released(world, "2", "boat", "buoy")

    assert world.call("POST", f"/api/deployment-sets/{first}/rollback").code == "request.no_previous"
    reply = world.call("POST", f"/api/deployment-sets/{both}/rollback")
    assert (reply.status, reply.code) == (409, "request.no_previous")
    assert "different sets" in reply.body["detail"]


def test_a_set_says_what_it_costs_as_a_whole_and_on_each_device(world: World) -> None:
    path = start(world).headers["Location"]
    set_id = path.rpartition("/")[2]
    store = world.deps.store
    planned = PlannedTransfer(
        *("boat", APP["2"], "app:2", False, (), "v1-64m", 5000, 5000, "normal", ("host/app:0",)),
    )
    tell(world, "boat")
    plan(store, set_id, PlannedMember("boat", 1, START, (planned,)))

    shown = world.call("GET", path).body
    members = world.call("GET", f"{path}/members").body["items"]
    transfers = world.call("GET", "/api/transfers").body["items"]
    patches = world.call("GET", "/api/patches").body["items"]

    assert (shown["plannedBytes"], shown["sentBytes"], shown["transferStages"]) == (5000, 0, {"queued": 1})
    assert [(one["plannedBytes"], one["sentBytes"]) for one in members] == [(5000, 0)]
    (warning,) = shown["warnings"]
    assert (warning["code"], warning["held"], warning["devices"]) == ("plan.unregistered_source", ["host/app:0"], 1)
    assert warning["detail"] == "app:2 costs 5000 bytes on 1 device that has host/app:0, which is not registered"
    assert [(one["stage"], one["unregistered"]) for one in transfers] == [("queued", ["host/app:0"])]
    assert [(one["targetReferences"], one["sourceReferences"]) for one in patches] == [(["app:2"], [])]


def test_a_set_that_waits_for_approval_says_what_it_would_send(world: World) -> None:
    path = start(world).headers["Location"]
    set_id = path.rpartition("/")[2]
    world.deps.store.sets.move(set_id, "accepted", "planning", "orchestrator", START)

    world.deps.store.sets.ask_approval(set_id, 123, "over maxBytes", START)

    assert world.call("GET", path).body["plannedBytes"] == 123


def test_a_set_is_as_large_and_asks_as_much_for_many_devices_as_for_few(world: World) -> None:
    names = [f"ship-{number:03d}" for number in range(120)]
    for name in names:
        world.deps.store.devices.enrol(name, EnrolDevice(hub="north"), "test", START)
    few, many = (start(world, devices={"ids": chosen}).headers["Location"] for chosen in (names[:2], names))

    def asked(path: str, **query: str) -> tuple[int, int]:
        with statements(world.deps.store) as seen:
            body = world.call("GET", path, **query).body
        return len(seen), len(str(body))

    assert asked(few)[0] == asked(many)[0]
    assert abs(asked(few)[1] - asked(many)[1]) < 20
    assert asked(f"{few}/members", limit="2")[0] == asked(f"{many}/members", limit="2")[0]


def test_members_are_listed_by_state_and_in_pages(world: World) -> None:
    path = start(world, devices={"ids": ["boat", "buoy"]}).headers["Location"]
    world.call("POST", f"{path}/members/buoy/exclude")

    first = world.call("GET", f"{path}/members", limit="1").body
    second = world.call("GET", f"{path}/members", limit="1", after=first["next"]).body
    excluded = world.call("GET", f"{path}/members", state="excluded").body

    assert [item["deviceId"] for item in (*first["items"], *second["items"])] == ["boat", "buoy"]
    assert second["next"] is None
    assert [item["deviceId"] for item in excluded["items"]] == ["buoy"]
    assert world.call("GET", f"{path}/members", state="lost").code == "request.invalid"


def test_what_went_wrong_is_counted_by_reason_and_listed_with_what_to_do(world: World) -> None:
    path = start(world, devices={"ids": ["boat", "buoy"]}).headers["Location"]
    set_id = path.rpartition("/")[2]
    for device_id in ("boat", "buoy"):
        move = ("waiting_inventory", "planned", "failed")
        for old, new in pairwise(move):
            reason = {"code": "plan.needs_approval"} if new == "failed" else {}
            world.deps.store.sets.move_member(set_id, device_id, old, new, "orchestrator", START, **reason)

    (trouble,) = world.call("GET", path).body["troubles"]

    assert (trouble["state"], trouble["devices"], trouble["named"]) == ("failed", 2, ["boat", "buoy"])
    assert trouble["remedy"] == REMEDIES["plan.needs_approval"]


@pytest.mark.parametrize("collection", ["members", "releases", "notifications", "events"])
def test_every_list_of_a_set_is_linked_and_404_without_the_set(world: World, collection: str) -> None:
    shown = world.call("GET", start(world).headers["Location"]).body

    assert world.call("GET", shown["links"][collection]).status == 200
    assert world.call("GET", f"/api/deployment-sets/none/{collection}").code == "request.not_found"
