"""What devices say: repeated, out of order, about the wrong thing, malformed, or lost."""

from __future__ import annotations

import random

import pytest

from contracts.records import Transfer
from tests.simulators.fleet import FleetSimulator
from tests.simulators.fleet_device import FleetDevice
from triggers.hub_events import HubMessage


@pytest.fixture
def ship(fleet: FleetSimulator) -> FleetDevice:
    fleet.register("app:1", "app:2", "app:3")
    return fleet.enrol("ship-1", "app:1")


def an_order(fleet: FleetSimulator) -> str:
    """A set whose bundle lies in the outbox of ship-1."""
    set_id = fleet.start("app:2", devices=["ship-1"])
    fleet.tick()
    return set_id


def facts(transfer: Transfer) -> tuple[object, ...]:
    return (transfer.state, transfer.attempt, transfer.sequence, transfer.code, transfer.local_digest)


def test_reports_delivered_ten_times_and_out_of_order_change_nothing_more(
    fleet: FleetSimulator, ship: FleetDevice
) -> None:
    set_id = an_order(fleet)
    reports = ship.fetch(fleet.blobs)
    fleet.deliver(ship, *reports)
    before, history = fleet.transfer(set_id, "ship-1"), fleet.history(set_id, "ship-1")
    again = reports * 10
    random.Random(1).shuffle(again)

    fleet.deliver(ship, *again)

    assert facts(before)[:3] == ("succeeded", 1, 4)
    assert fleet.transfer(set_id, "ship-1") == before
    assert fleet.history(set_id, "ship-1") == history
    assert fleet.quarantine() == []


@pytest.mark.parametrize("seed", range(4))
def test_reports_in_any_order_end_with_the_last_one(fleet: FleetSimulator, ship: FleetDevice, seed: int) -> None:
    set_id = an_order(fleet)
    reports = ship.fetch(fleet.blobs) * 10
    random.Random(seed).shuffle(reports)

    for report in reports:
        fleet.deliver(ship, report)

    assert facts(fleet.transfer(set_id, "ship-1"))[:3] == ("succeeded", 1, 4)
    sequences = [event.sequence for event in fleet.history(set_id, "ship-1") if event.source == "report"]
    assert sequences == sorted(set(sequences))


def test_a_report_of_an_older_attempt_changes_nothing(fleet: FleetSimulator, ship: FleetDevice) -> None:
    set_id = an_order(fleet)
    old = fleet.head_of(fleet.transfer(set_id, "ship-1"))
    ship.drop(fleet.image_id("app:1"))
    fleet.sail()
    fleet.tick()
    before = fleet.transfer(set_id, "ship-1")

    fleet.deliver(ship, ship.report(old, 9, "failed", code="content.digest"), ship.report(old, 10, "succeeded"))

    assert facts(before)[:2] == ("published", 2)
    assert fleet.transfer(set_id, "ship-1") == before


def test_a_report_for_an_unknown_transfer_or_of_another_device_changes_nothing(
    fleet: FleetSimulator, ship: FleetDevice
) -> None:
    set_id = an_order(fleet)
    stranger = fleet.enrol("ship-2", "app:1")
    head = fleet.head_of(fleet.transfer(set_id, "ship-1"))
    before = fleet.transfer(set_id, "ship-1")
    unknown = ship.report(head, 9, "failed", code="content.digest").body.replace(
        head.transfer_id.encode(), b"transfer-of-nobody"
    )

    fleet.deliver(ship, ship.message("report", unknown))
    fleet.deliver(stranger, stranger.report(head, 9, "failed", code="content.digest"))

    assert fleet.transfer(set_id, "ship-1") == before
    assert fleet.quarantine() == []


def test_a_malformed_report_lands_in_quarantine_and_the_rest_of_its_batch_is_processed(
    fleet: FleetSimulator, ship: FleetDevice
) -> None:
    set_id = an_order(fleet)
    reports = ship.fetch(fleet.blobs)
    impostor = HubMessage({"iothub-connection-device-id": "ship-1"}, {"kind": "report"}, reports[-1].body)
    batch = [
        ship.message("report", b'{"transferId": 7}'),
        *reports[:2],
        ship.message("inventory", b"no gzip"),
        impostor,
        ship.message("gossip", b"{}"),
        *reports[2:],
    ]

    fleet.deliver(ship, *batch)

    assert fleet.transfer(set_id, "ship-1").state == "succeeded"
    assert {item.reason: item.count for item in fleet.quarantine()} == {
        "content.malformed_message": 2,
        "message.unknown_kind": 1,
        "message.unknown_sender": 1,
    }


def test_a_lost_report_of_success_is_healed_by_the_next_inventory(fleet: FleetSimulator, ship: FleetDevice) -> None:
    set_id = an_order(fleet)
    ship.fetch(fleet.blobs)
    lost = fleet.transfer(set_id, "ship-1").state

    fleet.deliver(ship, ship.inventory(results=False))
    fleet.run()

    assert lost == "published"
    assert fleet.transfer(set_id, "ship-1").state == "succeeded"
    assert (fleet.set(set_id).state, len(ship.fetched)) == ("completed", 1)


def test_a_lost_report_of_failure_is_healed_by_the_results_of_the_next_inventory(
    fleet: FleetSimulator, ship: FleetDevice
) -> None:
    ship.breaks_with = "content.digest"
    set_id = an_order(fleet)
    ship.fetch(fleet.blobs)

    fleet.deliver(ship, ship.inventory())
    fleet.tick()

    failed = fleet.transfer(set_id, "ship-1")
    assert (failed.state, failed.code) == ("failed", "content.digest")
    assert fleet.set(set_id).state == "failed"


def test_a_batch_that_died_half_way_is_taken_whole_the_second_time(fleet: FleetSimulator, ship: FleetDevice) -> None:
    set_id = an_order(fleet)
    reports = ship.fetch(fleet.blobs)

    fleet.deliver(ship, *reports[:3])
    fleet.deliver(ship, *reports, ship.inventory())

    assert facts(fleet.transfer(set_id, "ship-1"))[:3] == ("succeeded", 1, 4)
    assert len(fleet.history(set_id, "ship-1")) == len({e.new for e in fleet.history(set_id, "ship-1")})
