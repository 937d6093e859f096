"""Which images a bundle starts from, and what happens when they are not there."""

from __future__ import annotations

from dataclasses import replace

from imagedelta.bundles import Ed25519Sealer
from imagedelta.bundles.keys import generate_private_key
from tests.simulators.fleet import FleetSimulator, an_app
from tests.simulators.fleet_device import FleetDevice


def test_a_missing_source_is_planned_anew_with_the_next_one_until_only_a_full_bundle_is_left(
    fleet: FleetSimulator,
) -> None:
    fleet.register("app:1", "app:2", "tool:1")
    ship = fleet.enrol("ship-1", "app:1", "tool:1")
    for reference in ("app:1", "tool:1"):
        ship.drop(fleet.image_id(reference))

    set_id = fleet.start("app:2")
    fleet.run()

    transfer = fleet.transfer(set_id, "ship-1")
    assert (transfer.state, transfer.attempt, transfer.sources) == ("succeeded", 2, ())
    assert fleet.members(set_id) == {"ship-1": "applied"}


def test_each_source_that_a_device_lost_is_tried_once_before_a_full_bundle(fleet: FleetSimulator) -> None:
    fleet.register("app:1", "app:2", "tool:1")
    ship = fleet.enrol("ship-1", "app:1", "tool:1")
    for reference in ("app:1", "tool:1"):
        ship.drop(fleet.image_id(reference))

    set_id = fleet.start("app:2")
    tried = []
    for _ in range(4):
        fleet.tick()
        tried.append(fleet.transfer(set_id, "ship-1").sources)
        fleet.deliver(ship, *ship.fetch(fleet.blobs))  # its reports alone: no inventory tells of the rest

    assert tried[:3] == [(fleet.image_id("app:1"),), (fleet.image_id("tool:1"),), ()]
    assert fleet.transfer(set_id, "ship-1").state == "succeeded"
    assert len(ship.fetched) == 3


def a_ship_that_lost_all(fleet: FleetSimulator, number: int) -> FleetDevice:
    """A device whose ``number`` sources for the next app are gone, and of which only its reports arrive."""
    references = [f"app:{at}" for at in range(1, number + 1)]
    fleet.register(*references, f"app:{number + 1}")
    ship = fleet.enrol("ship-1", *references)
    for reference in references:
        ship.drop(fleet.image_id(reference))
    return ship


def test_the_last_attempt_is_a_full_bundle_however_many_sources_are_left(fleet: FleetSimulator) -> None:
    ship = a_ship_that_lost_all(fleet, 6)
    attempts = fleet.deps.settings.max_attempts

    set_id = fleet.start("app:7")
    for _ in range(attempts):
        fleet.tick()
        fleet.deliver(ship, *ship.fetch(fleet.blobs))

    transfer = fleet.transfer(set_id, "ship-1")
    assert (transfer.state, transfer.attempt, transfer.sources) == ("succeeded", attempts, ())
    assert len(ship.fetched) == attempts


def test_sources_that_are_lost_in_every_attempt_end_as_failed(fleet: FleetSimulator) -> None:
    ship = a_ship_that_lost_all(fleet, 2)
    set_id = fleet.start("app:3")
    fleet.tick()
    attempts = fleet.deps.settings.max_attempts
    reports = []
    for attempt in range(1, attempts + 1):
        transfer = fleet.transfer(set_id, "ship-1")
        reports.append((transfer.state, transfer.attempt))
        fleet.deliver(ship, ship.report(fleet.head_of(transfer), attempt, "source_missing", code="source.missing"))
        fleet.tick()

    transfer = fleet.transfer(set_id, "ship-1")
    assert reports == [("published", attempt) for attempt in range(1, attempts + 1)]
    assert (transfer.state, transfer.code) == ("failed", "source.missing")


def test_a_device_with_no_usable_source_gets_a_full_bundle(fleet: FleetSimulator) -> None:
    fleet.register("app:1", "app:2")
    fresh = fleet.enrol("ship-1")
    equipped = fleet.enrol("ship-2", "app:1")

    set_id = fleet.start("app:2")
    fleet.run()

    assert fleet.transfer(set_id, "ship-1").sources == ()
    assert fleet.members(set_id) == {"ship-1": "applied", "ship-2": "applied"}
    assert equipped.bytes_fetched < fresh.bytes_fetched / 4


def test_an_image_on_the_device_that_nobody_registered_is_no_source(fleet: FleetSimulator) -> None:
    fleet.register("app:2")
    stranger = fleet.enrol("ship-1")
    stranger.keep(an_app("app:1"), "app:1")
    fleet.deliver(stranger, stranger.inventory())

    set_id = fleet.start("app:2")
    fleet.run()

    assert fleet.transfer(set_id, "ship-1").sources == ()
    assert fleet.members(set_id) == {"ship-1": "applied"}


def test_a_device_that_trusts_no_cloud_key_fails_with_its_code_and_the_others_go_on(fleet: FleetSimulator) -> None:
    fleet.register("app:1", "app:2")
    fleet.enrol("ship-1", "app:1")
    other = fleet.enrol("ship-2", "app:1")
    foreign = Ed25519Sealer(generate_private_key())
    other.trusted = {foreign.key_id: foreign.public_key}
    fleet.deliver(other, other.inventory())

    set_id = fleet.start("app:2", release="device")
    fleet.run()

    failed = fleet.transfer(set_id, "ship-2")
    assert (failed.state, failed.code) == ("failed", "seal.no_trusted_key")
    assert fleet.members(set_id) == {"ship-1": "applied", "ship-2": "failed"}
    assert other.fetched == []


def test_a_set_warns_of_what_an_unregistered_image_on_a_device_costs(fleet: FleetSimulator) -> None:
    fleet.register("app:1", "app:2")
    ship = fleet.enrol("ship-1", "app:1")
    (known,) = ship.images.values()
    stray = replace(known, reference="localhost:5000/app:0")
    ship.images = {"sha256:" + "5" * 64: stray}
    fleet.deliver(ship, ship.inventory())

    set_id = fleet.start("app:2")
    fleet.tick()
    warned = fleet.deps.store.sets.unregistered(set_id)
    fleet.run()

    transfer = fleet.transfer(set_id, "ship-1")
    assert transfer.sources == ()
    (warning,) = warned
    assert (warning.reference, warning.held, warning.example) == ("app:2", ("localhost:5000/app:0",), "ship-1")
    assert warning.estimated_bytes == transfer.estimated_bytes
    assert fleet.deps.store.sets.unregistered(set_id) == warned
