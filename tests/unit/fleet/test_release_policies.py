"""Who is released when: cost guard, canaries, policies, conflicts, rollback."""

from __future__ import annotations

from typing import Any

import pytest

from imagedelta.errors import RequestError
from tests.simulators.fleet import FleetSimulator

SHIPS = ("ship-1", "ship-2")


def a_fleet(fleet: FleetSimulator) -> FleetSimulator:
    fleet.register("app:1", "app:2")
    for name, hub in zip(SHIPS, ("north", "south"), strict=True):
        fleet.enrol(name, "app:1", hub=hub)
    return fleet


def deployed(fleet: FleetSimulator) -> list[str]:
    """Devices whose manifest was written, in order, each as often as it was."""
    return sorted(device for hub in fleet.hubs.values() for device, _ in hub.applied)


def test_the_cost_guard_waits_for_approval_and_the_set_goes_on_after_it(fleet: FleetSimulator) -> None:
    set_id = a_fleet(fleet).start("app:2", max_bytes_per_device=1)
    fleet.run()
    waiting = fleet.set(set_id)
    asked = (fleet.deps.store.sets.figures([set_id])[set_id].planned_bytes, waiting.asked_bytes)
    nothing = ({patch.state for patch in fleet.patches()}, fleet.outbox("ship-1"), fleet.members(set_id))

    fleet.deps.store.sets.approve(set_id, "olga", fleet.now())
    fleet.run()

    assert (waiting.state, waiting.code) == ("awaiting_approval", "plan.needs_approval")
    assert nothing == ({"requested"}, [], dict.fromkeys(SHIPS, "planned"))
    assert asked[0] == asked[1] > 0, "the guard's figure is the one that everybody is shown"
    assert fleet.set(set_id).state == "completed"
    assert [mail.subject.partition("March ")[2] for mail in fleet.mail.taken] == [
        "waits for your approval",
        "has arrived on 2 devices",
        "is complete",
    ]


def test_a_set_that_only_a_full_bundle_could_serve_waits_where_that_is_forbidden(fleet: FleetSimulator) -> None:
    fleet.register("app:1")
    fleet.enrol("ship-1")

    set_id = fleet.start("app:1", allow_full_bundles=False)
    fleet.run()

    assert fleet.set(set_id).state == "awaiting_approval"
    assert fleet.outbox("ship-1") == []


@pytest.mark.parametrize(
    "guard", [{"max_bytes_per_device": 5_000}, {"max_bytes": 5_000}, {"allow_full_bundles": False}], ids=str
)
def test_a_device_that_comes_late_is_held_back_by_the_cost_guard_until_it_is_approved(
    fleet: FleetSimulator, guard: dict[str, Any]
) -> None:
    fleet.register("app:1", "app:2")
    fleet.enrol("ship-1", "app:1")
    late = fleet.enrol("ship-2", silent=True)
    set_id = fleet.start("app:2", release="device", **guard)
    fleet.run()
    fleet.deliver(late, late.inventory())
    fleet.run()
    held = fleet.member(set_id, "ship-2")
    paid = late.bytes_fetched

    fleet.deps.store.sets.approve(set_id, "olga", fleet.now())
    fleet.run()

    assert (held.state, held.code, paid) == ("failed", "plan.needs_approval", 0)
    assert fleet.members(set_id) == dict.fromkeys(SHIPS, "applied")
    assert [mail.subject.partition("March ")[2] for mail in fleet.mail.taken if "ship-2" in mail.subject] == [
        "waits for your approval of 1 device: ship-2"
    ]


def test_a_full_bundle_after_a_lost_source_is_not_sent_where_it_is_forbidden(fleet: FleetSimulator) -> None:
    fleet.register("app:1", "app:2")
    ship = fleet.enrol("ship-1", "app:1")
    ship.drop(fleet.image_id("app:1"))

    set_id = fleet.start("app:2", allow_full_bundles=False)
    fleet.run()

    member = fleet.member(set_id, "ship-1")
    assert (member.state, member.code, len(ship.fetched)) == ("failed", "plan.needs_approval", 1)


def test_canaries_go_first_and_the_rest_waits_for_promote(fleet: FleetSimulator) -> None:
    set_id = a_fleet(fleet).start("app:2", canaries=["ship-2"])
    fleet.run()
    first = (deployed(fleet), fleet.members(set_id), fleet.set(set_id).state)

    fleet.deps.store.sets.promote(set_id, "olga", fleet.now())
    fleet.run()

    assert first == (["ship-2"], {"ship-1": "ready", "ship-2": "applied"}, "releasing")
    assert deployed(fleet) == ["ship-1", "ship-2"]
    assert fleet.set(set_id).state == "completed"


def test_policy_set_releases_nobody_before_everybody_has_the_images(fleet: FleetSimulator) -> None:
    set_id = a_fleet(fleet).start("app:2", release="set")
    fleet.tick()
    fleet.sail("ship-1")
    fleet.tick()
    early = (deployed(fleet), fleet.members(set_id))

    fleet.run()

    assert early == ([], {"ship-1": "ready", "ship-2": "in_transit"})
    assert deployed(fleet) == list(SHIPS)


def test_policy_set_goes_on_once_an_operator_excludes_who_holds_it_up(fleet: FleetSimulator) -> None:
    a_fleet(fleet).devices["ship-1"].breaks_with = "content.digest"
    set_id = fleet.start("app:2", release="set")
    fleet.run()
    held_up = (deployed(fleet), fleet.set(set_id).state)

    fleet.deps.store.sets.exclude_member(set_id, "ship-1", "olga", fleet.now())
    fleet.run()

    assert held_up == ([], "in_transit")
    assert deployed(fleet) == ["ship-2"]
    assert fleet.set(set_id).state == "completed_with_failures"


def test_policy_device_releases_each_as_soon_as_its_images_are_there(fleet: FleetSimulator) -> None:
    set_id = a_fleet(fleet).start("app:2", release="device")
    fleet.tick()
    fleet.sail("ship-1")
    fleet.tick()
    early = (deployed(fleet), fleet.members(set_id))

    fleet.run()

    assert early == (["ship-1"], {"ship-1": "released", "ship-2": "in_transit"})
    assert deployed(fleet) == list(SHIPS)


def test_policy_manual_waits_for_the_order_to_release(fleet: FleetSimulator) -> None:
    set_id = a_fleet(fleet).start("app:2", release="manual")
    fleet.tick()
    with pytest.raises(RequestError, match=r"ship-1 \(in_transit\): app:2"):
        fleet.deps.store.sets.request_release(set_id, "olga", fleet.now())
    fleet.run()
    early = (deployed(fleet), fleet.set(set_id).state)

    fleet.deps.store.sets.request_release(set_id, "olga", fleet.now())
    fleet.run()

    assert early == ([], "ready")
    assert deployed(fleet) == list(SHIPS)
    assert fleet.set(set_id).state == "completed"


def in_conflict(fleet: FleetSimulator) -> str:
    """A set that is in conflict on ship-1, whose deployment somebody changed after it was planned."""
    set_id = a_fleet(fleet).start("app:2", release="device")
    fleet.tick()
    fleet.hubs["north"].change_by_somebody_else("ship-1", {"radar": MODULE})
    fleet.run()
    return set_id


MODULE = {"type": "docker", "settings": {"image": "mcr.example/radar:9", "createOptions": "{}"}}


def test_a_deployment_that_somebody_else_changed_is_a_conflict_and_is_not_overwritten(fleet: FleetSimulator) -> None:
    set_id = in_conflict(fleet)

    member = fleet.member(set_id, "ship-1")
    assert (member.state, member.code) == ("conflict", "release.conflict")
    assert fleet.hubs["north"].images("ship-1") == {"radar": "mcr.example/radar:9"}
    assert deployed(fleet) == ["ship-2"]
    fleet.now.forward(minutes=5)
    fleet.tick()
    assert [mail.subject.partition("March ")[2] for mail in fleet.mail.taken] == [
        "has arrived on 2 devices",
        "was not released on 1 device: ship-1",
    ]


def test_a_rebase_releases_on_top_of_what_somebody_else_changed(fleet: FleetSimulator) -> None:
    set_id = in_conflict(fleet)
    twin = fleet.hubs["north"].module_twin("ship-1", "$edgeAgent")
    assert twin is not None

    fleet.deps.store.sets.rebase_member(set_id, "ship-1", twin.version, "olga", fleet.now())
    fleet.run()

    assert sorted(fleet.hubs["north"].images("ship-1")) == ["app", "radar"]
    assert deployed(fleet) == list(SHIPS)
    assert fleet.members(set_id)["ship-2"] == "applied"


def test_an_image_lost_during_a_conflict_is_sent_again_after_the_rebase_and_before_the_release(
    fleet: FleetSimulator,
) -> None:
    set_id = in_conflict(fleet)
    ship = fleet.devices["ship-1"]
    ship.drop(fleet.image_id("app:2"))
    fleet.now.forward(minutes=1)
    fleet.deliver(ship, ship.inventory(results=False))
    twin = fleet.hubs["north"].module_twin("ship-1", "$edgeAgent")
    assert twin is not None

    rebased = fleet.deps.store.sets.rebase_member(set_id, "ship-1", twin.version, "olga", fleet.now())
    fleet.run()

    assert rebased.state == "in_transit"
    assert (fleet.transfer(set_id, "ship-1").state, fleet.transfer(set_id, "ship-1").attempt) == ("succeeded", 2)
    assert deployed(fleet) == list(SHIPS)


def test_a_skip_leaves_the_device_as_somebody_else_made_it(fleet: FleetSimulator) -> None:
    set_id = in_conflict(fleet)

    fleet.deps.store.sets.skip_member(set_id, "ship-1", "olga", fleet.now())
    fleet.run()

    assert sorted(fleet.hubs["north"].images("ship-1")) == ["radar"]
    assert fleet.set(set_id).state == "completed_with_failures"


def test_a_rollback_is_a_new_set_that_costs_no_bytes(fleet: FleetSimulator) -> None:
    first = a_fleet(fleet).start("app:1")
    fleet.run()
    second = fleet.start("app:2")
    fleet.run()
    ran = fleet.hubs["north"].images("ship-1")
    paid = [fleet.devices[name].bytes_fetched for name in SHIPS]

    back = fleet.roll_back(second)
    fleet.run()

    assert [fleet.set(one).state for one in (first, second, back)] == ["completed"] * 3
    assert fleet.set(back).rollback_of == second
    assert [fleet.devices[name].bytes_fetched for name in SHIPS] == paid
    assert fleet.hubs["north"].images("ship-1") == _pinned(fleet, first, "ship-1") != ran


def _pinned(fleet: FleetSimulator, set_id: str, device_id: str) -> dict[str, str]:
    (release,) = [one for one in fleet.releases(set_id) if one.device_id == device_id]
    modules = release.content["$edgeAgent"]["properties.desired"]["modules"]
    return {name: module["settings"]["image"] for name, module in modules.items()}


def test_a_set_past_its_deadline_is_overdue_and_goes_on(fleet: FleetSimulator) -> None:
    set_id = a_fleet(fleet).start("app:2", deadline=fleet.now.forward(hours=1))
    fleet.tick()
    fleet.now.forward(hours=2)
    fleet.tick()
    overdue = fleet.set(set_id)

    fleet.run()

    assert (overdue.overdue, overdue.state) == (True, "in_transit")
    assert fleet.set(set_id).state == "completed"
    assert [mail.subject.partition("March ")[2] for mail in fleet.mail.taken] == [
        "is past its deadline",
        "has arrived on 2 devices",
        "is complete",
    ]
