"""One deployment set over many devices, and several sets over one."""

from __future__ import annotations

from activities.due_work import Run
from activities.release_members import ReleaseMembers
from services.store_port import MemberDue
from tests.simulators.fleet import FleetSimulator


def test_a_set_goes_from_order_to_running_modules(fleet: FleetSimulator) -> None:
    fleet.register("app:1", "app:2")
    fleet.enrol("ship-1", "app:1")

    set_id = fleet.start("app:2")
    fleet.run()

    assert (fleet.set(set_id).state, fleet.members(set_id)) == ("completed", {"ship-1": "applied"})
    assert fleet.image_id("app:2") in fleet.devices["ship-1"].images
    assert fleet.devices["ship-1"].runs(fleet.hubs["north"].images("ship-1")["app"])
    assert [mail.subject for mail in fleet.mail.taken] == [
        "March has arrived on 1 device",
        "March is complete",
    ]


def test_the_same_patch_for_20_devices_is_built_once(fleet: FleetSimulator) -> None:
    fleet.register("app:1", "app:2")
    names = [f"ship-{number:02}" for number in range(20)]
    for name in names:
        fleet.enrol(name, "app:1")

    set_id = fleet.start("app:2")
    fleet.run()

    (patch,) = fleet.patches()
    assert (patch.state, patch.sources) == ("verified", (fleet.image_id("app:1"),))
    assert fleet.blobs.containers["patches"].keys() == {patch.blob, f"{patch.blob}.chunks"}
    assert [len(fleet.devices[name].fetched) for name in names] == [1] * 20
    assert fleet.members(set_id) == dict.fromkeys(names, "applied")


def test_two_sets_that_need_the_same_image_on_the_same_device_make_one_transfer(fleet: FleetSimulator) -> None:
    fleet.register("app:1", "app:2")
    ship = fleet.enrol("ship-1", "app:1")

    first = fleet.start("app:2", workstream="engines")
    fleet.tick()
    second = fleet.start("app:2", workstream="trials", manifest=False)
    fleet.run()

    assert fleet.transfers(first) == fleet.transfers(second)
    assert len(ship.fetched) == 1
    assert [fleet.set(set_id).state for set_id in (first, second)] == ["completed", "completed"]


def test_a_newer_set_supersedes_an_older_one_and_nothing_older_is_released_after_it(fleet: FleetSimulator) -> None:
    fleet.register("app:1", "app:2", "app:3")
    ship = fleet.enrol("ship-1", "app:1")
    older = fleet.start("app:2")
    fleet.tick()
    withdrawn = fleet.outbox("ship-1")

    newer = fleet.start("app:3")
    fleet.tick()
    left = fleet.outbox("ship-1")
    fleet.run()

    assert (fleet.set(older).state, fleet.set(newer).state) == ("superseded", "completed")
    assert len(withdrawn) == 1
    assert set(left).isdisjoint(withdrawn)
    assert fleet.image_id("app:2") not in ship.images
    ReleaseMembers().do(Run(fleet.deps), MemberDue(older, "ship-1", "north"))
    assert [device for device, _ in fleet.hubs["north"].applied] == ["ship-1"]
    assert ship.runs(fleet.hubs["north"].images("ship-1")["app"])
    assert fleet.releases(older) == ()


def test_an_older_set_that_is_ready_when_a_newer_one_comes_is_not_released(fleet: FleetSimulator) -> None:
    fleet.register("app:1", "app:2", "app:3")
    fleet.enrol("ship-1", "app:1")
    older = fleet.start("app:2", release="manual")
    fleet.run()
    assert fleet.set(older).state == "ready"

    newer = fleet.start("app:3")
    fleet.run()

    assert (fleet.set(older).state, fleet.set(newer).state) == ("superseded", "completed")
    assert fleet.releases(older) == ()


def test_a_failing_device_is_told_of_once_and_the_others_go_on(fleet: FleetSimulator) -> None:
    fleet.register("app:1", "app:2")
    for name in ("ship-1", "ship-2", "ship-3"):
        fleet.enrol(name, "app:1")
    fleet.devices["ship-2"].breaks_with = "content.digest"

    set_id = fleet.start("app:2", release="device")
    fleet.run()
    fleet.run()

    failed = fleet.transfer(set_id, "ship-2")
    assert (failed.state, failed.code) == ("failed", "content.digest")
    assert fleet.member(set_id, "ship-2").code == "content.digest"
    assert fleet.members(set_id) == {"ship-1": "applied", "ship-2": "failed", "ship-3": "applied"}
    assert fleet.set(set_id).state == "completed_with_failures"
    arrived, complete = fleet.mail.taken
    assert arrived.subject == "March has arrived on 2 devices of 3"
    assert complete.subject == "March is complete, but not on every device"
    assert "1 failed: ship-2\n  Reason: content.digest." in complete.text


def test_a_device_without_inventory_waits_while_the_others_go_on(fleet: FleetSimulator) -> None:
    fleet.register("app:1", "app:2")
    fleet.enrol("ship-1", "app:1")
    late = fleet.enrol("ship-2", "app:1", silent=True)

    set_id = fleet.start("app:2", release="device")
    fleet.run()
    before = fleet.members(set_id)
    fleet.deliver(late, late.inventory())
    fleet.run()

    assert before == {"ship-1": "applied", "ship-2": "waiting_inventory"}
    assert fleet.members(set_id) == {"ship-1": "applied", "ship-2": "applied"}
    assert len(fleet.patches()) == 1


def test_a_device_that_has_everything_gets_no_byte(fleet: FleetSimulator) -> None:
    fleet.register("app:1", "app:2")
    ship = fleet.enrol("ship-1", "app:1", "app:2")

    set_id = fleet.start("app:2")
    fleet.run()

    assert (fleet.set(set_id).state, ship.fetched, fleet.patches()) == ("completed", [], [])
    assert fleet.transfer(set_id, "ship-1").state == "already_present"


def test_sets_of_different_workstreams_share_one_patch(fleet: FleetSimulator) -> None:
    fleet.register("app:1", "app:2")
    for name in ("ship-1", "ship-2"):
        fleet.enrol(name, "app:1")

    sets = [fleet.start("app:2", devices=[name], workstream=name) for name in ("ship-1", "ship-2")]
    fleet.run()

    assert len(fleet.patches()) == 1
    assert [fleet.set(set_id).state for set_id in sets] == ["completed", "completed"]
    assert [len(fleet.devices[name].fetched) for name in ("ship-1", "ship-2")] == [1, 1]
