"""Hubs that are down, workers that die, hardware that changes, people who change their minds."""

from __future__ import annotations

import pytest

from tests.simulators.calls import Crash
from tests.simulators.fleet import FleetSimulator


@pytest.fixture
def two_ships(fleet: FleetSimulator) -> FleetSimulator:
    """ship-1 in hub north and ship-2 in hub south, both with app:1."""
    fleet.register("app:1", "app:2", "app:3")
    fleet.enrol("ship-1", "app:1", hub="north")
    fleet.enrol("ship-2", "app:1", hub="south")
    return fleet


def test_a_hub_that_is_down_holds_up_only_its_own_devices(two_ships: FleetSimulator) -> None:
    fleet = two_ships
    set_id = fleet.start("app:2", release="device")
    fleet.tick()
    fleet.sail()
    for call in ("modules_content", "update_desired"):
        fleet.hubs["north"].calls.fail(call)

    fleet.tick()
    meanwhile = fleet.members(set_id)
    fleet.now.forward(minutes=10)
    fleet.run()

    assert meanwhile == {"ship-1": "releasing", "ship-2": "released"}
    assert fleet.set(set_id).state == "completed"
    assert [len(hub.applied) for hub in fleet.hubs.values()] == [1, 1]


def test_a_release_whose_worker_died_gives_way_to_a_newer_set(two_ships: FleetSimulator) -> None:
    fleet = two_ships
    older = fleet.start("app:2", devices=["ship-1"])
    fleet.tick()
    fleet.sail()
    fleet.hubs["north"].calls.fail("apply_content", error=Crash())
    with pytest.raises(Crash):
        fleet.tick()

    newer = fleet.start("app:3", devices=["ship-1"])
    fleet.now.forward(minutes=10)
    fleet.run()
    fleet.now.forward(minutes=10)
    fleet.run()

    assert fleet.members(older) == {"ship-1": "superseded"}
    assert fleet.members(newer) == {"ship-1": "applied"}
    assert (len(fleet.hubs["north"].applied), fleet.releases(older)) == (1, ())


def test_a_newer_set_of_the_same_image_keeps_the_bundle_that_is_on_its_way(two_ships: FleetSimulator) -> None:
    fleet = two_ships
    older = fleet.start("app:2", devices=["ship-1"])
    fleet.tick()

    newer = fleet.start("app:2", devices=["ship-1"])
    fleet.run()

    assert (fleet.set(older).state, fleet.set(newer).state) == ("superseded", "completed")
    assert len(fleet.devices["ship-1"].fetched) == 1


def test_a_cancelled_set_withdraws_only_bundles_that_no_other_set_needs(two_ships: FleetSimulator) -> None:
    fleet = two_ships
    cancelled = fleet.start("app:2", workstream="engines")
    other = fleet.start("app:2", workstream="trials", devices=["ship-2"], manifest=False)
    fleet.tick()

    fleet.deps.store.sets.cancel(cancelled, "olga", fleet.now())
    fleet.tick()
    left = {name: len(fleet.outbox(name)) for name in ("ship-1", "ship-2")}
    fleet.run()

    assert left == {"ship-1": 0, "ship-2": 1}
    assert fleet.devices["ship-1"].fetched == []
    assert (fleet.set(cancelled).state, fleet.set(other).state) == ("cancelled", "completed")
    assert all(hub.applied == [] for hub in fleet.hubs.values())


def test_modules_that_do_not_run_in_time_are_told_of_once_and_may_still_recover(two_ships: FleetSimulator) -> None:
    fleet = two_ships
    set_id = fleet.start("app:2", devices=["ship-1"])
    fleet.tick()
    fleet.sail()
    ship = fleet.devices["ship-1"]
    image = ship.images.pop(fleet.image_id("app:2"))
    fleet.tick()
    fleet.run_modules(ship)
    fleet.tick()
    patient = fleet.members(set_id)

    fleet.now.forward(hours=2)
    fleet.tick()
    fleet.tick()
    failed = fleet.member(set_id, "ship-1")
    ship.images[fleet.image_id("app:2")] = image
    fleet.run_modules(ship)
    fleet.tick()

    assert patient == {"ship-1": "released"}
    assert (failed.state, failed.code) == ("apply_failed", "release.unhealthy")
    assert [mail.subject.partition("March ")[2] for mail in fleet.mail.taken] == [
        "has arrived on 1 device",
        "is complete, but not on every device",
    ]
    assert "release.unhealthy" in fleet.mail.taken[1].text


def test_a_device_whose_link_is_down_after_its_release_stays_released(two_ships: FleetSimulator) -> None:
    fleet = two_ships
    set_id = fleet.start("app:2", devices=["ship-1"])
    fleet.tick()
    fleet.sail()
    fleet.tick()

    fleet.now.forward(days=30)
    fleet.tick()
    weeks_later = fleet.members(set_id)
    fleet.sail()
    fleet.now.forward(hours=1)
    fleet.tick()

    assert weeks_later == {"ship-1": "released"}
    assert fleet.set(set_id).state == "completed"


def test_what_was_sent_to_replaced_hardware_is_sent_again(two_ships: FleetSimulator) -> None:
    fleet = two_ships
    set_id = fleet.start("app:2", devices=["ship-1"], release="manual")
    fleet.run()
    ship = fleet.devices["ship-1"]
    ship.images.clear()
    ship.layers.clear()
    ship.installation, ship.inventories = "new disk", 0

    fleet.deliver(ship, ship.inventory(results=False))
    lost = fleet.members(set_id)
    fleet.run()

    transfer = fleet.transfer(set_id, "ship-1")
    assert lost == {"ship-1": "in_transit"}
    assert (transfer.state, transfer.attempt, transfer.sources) == ("succeeded", 2, ())
    assert fleet.members(set_id) == {"ship-1": "ready"}


def test_an_image_that_vanishes_before_the_release_is_sent_again(two_ships: FleetSimulator) -> None:
    fleet = two_ships
    set_id = fleet.start("app:2", devices=["ship-1"], release="manual")
    fleet.run()
    ship = fleet.devices["ship-1"]
    ship.drop(fleet.image_id("app:2"))

    fleet.deliver(ship, ship.inventory(results=False))
    fleet.run()

    assert fleet.transfer(set_id, "ship-1").attempt == 2
    assert (fleet.members(set_id), len(ship.fetched)) == ({"ship-1": "ready"}, 2)


def test_a_retired_device_is_left_out_and_its_outbox_is_emptied(two_ships: FleetSimulator) -> None:
    fleet = two_ships
    set_id = fleet.start("app:2")
    fleet.tick()

    fleet.deps.store.devices.retire("ship-1", "olga", fleet.now())
    fleet.run()

    assert fleet.outbox("ship-1") == []
    assert fleet.members(set_id) == {"ship-1": "excluded", "ship-2": "applied"}
    assert fleet.set(set_id).state == "completed_with_failures"


def test_a_patch_whose_builder_died_with_its_set_is_built_for_the_next_set(
    two_ships: FleetSimulator,
) -> None:
    fleet = two_ships
    dead = fleet.start("app:2", devices=["ship-1"])
    fleet.blobs.calls.fail("put_if_absent", error=Crash())
    with pytest.raises(Crash):
        fleet.tick()
    fleet.deps.store.sets.cancel(dead, "olga", fleet.now())

    other = fleet.start("app:2", devices=["ship-2"])
    fleet.run()

    (built,) = fleet.patches()
    assert built.state == "verified"
    assert fleet.set(other).state == "completed"


@pytest.mark.parametrize("call", ["put", "compose_if_absent", "put_if_absent", "read_at", "read"])
def test_storage_that_does_not_answer_once_delays_nothing(two_ships: FleetSimulator, call: str) -> None:
    fleet = two_ships
    set_id = fleet.start("app:2")
    fleet.blobs.calls.fail(call)

    fleet.run()

    assert fleet.set(set_id).state == "completed"
    assert [len(device.fetched) for device in fleet.devices.values()] == [1, 1]
