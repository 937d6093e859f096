from __future__ import annotations

from datetime import timedelta

import pytest

from contracts.requests import EnrolDevice
from edge_module.journal import Counters
from imagedelta.errors import RequestError
from services.store_port import SyncClaim
from tests.unit.store.world import MANIFEST, World, digest


def test_enrolling_again_changes_what_is_known_and_is_not_new(world: World) -> None:
    first, new = world.store.devices.enrol(
        "ship-1", EnrolDevice(hub="north", tags={"site": "a", "kind": "ship"}), "tester", world.now
    )
    second, again = world.store.devices.enrol(
        "ship-1", EnrolDevice(hub="north", tags={"site": "b"}, bytes_per_second=125.0), "tester", world.later()
    )

    assert (new, again, first.state) == (True, False, "enrolled")
    assert (second.tags, second.bytes_per_second, second.enrolled_at) == ({"site": "b"}, 125.0, first.enrolled_at)


def test_what_a_device_may_take_of_its_link_makes_its_twin_due_when_it_changes(world: World) -> None:
    devices = world.store.devices
    devices.enrol("ship-1", EnrolDevice(hub="north"), "t", world.now)
    claim = devices.claim_sync("ship-1", timedelta(minutes=1), world.now)
    assert claim is not None
    devices.synced(claim, digest("a"), None, None)

    def due_after(**link: object) -> bool:
        devices.enrol("ship-1", EnrolDevice(hub="north", **link), "t", world.now)  # type: ignore[arg-type]
        return bool(devices.to_sync(world.now, 9))

    assert not due_after(bytes_per_second=9.0)
    assert due_after(link_rate=0, link_hours="22-6")
    assert devices.desired_facts("ship-1")["link"] == {"bytesPerSecond": 0, "hours": "22-6"}


def test_a_device_that_spoke_before_it_was_enrolled_is_asked_to_speak_again(world: World) -> None:
    """Its module may run before: what it said then was of nobody, and the next inventory would be a day away."""
    world.store.devices.enrol("ship-1", EnrolDevice(hub="north"), "tester", world.now)

    assert world.store.devices.desired_facts("ship-1")["resync"] != Counters().resync


def test_what_an_inventory_said_of_the_platform_stays(world: World) -> None:
    world.device("ship-1", "-")

    device, _ = world.store.devices.enrol("ship-1", EnrolDevice(hub="north", platform="linux/arm64"), "t", world.now)

    assert device.platform == "linux/amd64"


def test_device_ids_differ_by_case(world: World) -> None:
    world.device("Ship-1")
    world.device("ship-1")

    page = world.store.devices.list_devices(state=None, hub=None, tag=None, limit=9, after=None)

    assert [device.device_id for device in page.items] == ["Ship-1", "ship-1"]


def test_devices_are_listed_by_state_hub_and_tag(world: World) -> None:
    world.device("ship-1", "-", site="a")
    world.device("ship-2", site="a", hub="south")

    def ids(**filters: object) -> list[str]:
        options = {"state": None, "hub": None, "tag": None} | filters
        page = world.store.devices.list_devices(limit=9, after=None, **options)  # type: ignore[arg-type]
        return [device.device_id for device in page.items]

    assert ids() == ["ship-1", "ship-2"]
    assert ids(state="active") == ["ship-1"]
    assert ids(hub="south") == ["ship-2"]
    assert ids(tag=("site", "a")) == ["ship-1", "ship-2"]
    assert ids(tag=("site", "b")) == []


@pytest.mark.parametrize("order", ["resync", "replace"])
def test_a_retired_device_takes_no_orders(world: World, order: str) -> None:
    world.device("ship-1")
    world.store.devices.retire("ship-1", "tester", world.now)
    world.store.devices.retire("ship-1", "tester", world.now)

    with pytest.raises(RequestError) as error:
        getattr(world.store.devices, order)("ship-1", "tester", world.now)
    with pytest.raises(RequestError):
        world.store.devices.enrol("ship-1", EnrolDevice(hub="north"), "tester", world.now)

    assert (error.value.code, error.value.status) == ("request.retired_device", 409)


def test_a_device_nobody_knows_is_not_found(world: World) -> None:
    with pytest.raises(RequestError) as error:
        world.store.devices.resync("nobody", "tester", world.now)

    assert (error.value.code, error.value.status) == ("request.not_found", 404)
    assert world.store.devices.device("nobody") is None
    assert world.store.devices.images_on("nobody") == ()


LEASE = timedelta(minutes=2)


def claimed(world: World, device_id: str) -> SyncClaim:
    claim = world.store.devices.claim_sync(device_id, LEASE, world.now)
    assert claim is not None
    return claim


def mark_synced(world: World, claim: SyncClaim) -> None:
    world.store.devices.synced(claim, digest("twin"), world.now + timedelta(days=15), None)


def to_sync(world: World) -> tuple[str, ...]:
    return world.store.devices.to_sync(world.now, 10)


def test_a_twin_is_written_when_new_when_changed_and_when_its_grant_ages(world: World) -> None:
    world.device("ship-1")
    assert to_sync(world) == ("ship-1",)
    mark_synced(world, claimed(world, "ship-1"))
    assert to_sync(world) == ()

    world.store.devices.resync("ship-1", "tester", world.now)
    assert to_sync(world) == ("ship-1",)
    mark_synced(world, claimed(world, "ship-1"))
    world.later(16 * 86_400)
    assert to_sync(world) == ("ship-1",)


@pytest.mark.parametrize("written", [True, False])
def test_a_change_while_the_twin_is_written_is_not_lost(world: World, written: bool) -> None:
    world.device("ship-1")
    claim = claimed(world, "ship-1")

    world.store.devices.resync("ship-1", "tester", world.now)
    if written:
        mark_synced(world, claim)
    else:
        world.store.devices.sync_failed(claim, "hub.unknown_device", world.now + timedelta(hours=1))

    assert to_sync(world) == ("ship-1",)


def test_a_writer_that_died_is_followed_by_another_when_its_claim_is_over(world: World) -> None:
    world.device("ship-1")

    first = claimed(world, "ship-1")
    while_it_runs = (to_sync(world), world.store.devices.claim_sync("ship-1", LEASE, world.now))
    world.later(120)
    second = claimed(world, "ship-1")

    assert while_it_runs == ((), None)
    assert (first.tries, second.tries) == (1, 2)


def test_a_writer_that_lost_its_claim_does_not_put_off_the_next(world: World) -> None:
    world.device("ship-1")
    lost = claimed(world, "ship-1")
    world.later(120)
    claimed(world, "ship-1")

    world.store.devices.sync_failed(lost, None, world.now + timedelta(hours=1))

    world.later(120)
    assert to_sync(world) == ("ship-1",)


def test_what_waits_longest_comes_first_and_what_failed_comes_later(world: World) -> None:
    for name in ("boat", "ship-1", "ship-2"):
        world.device(name)
        world.later(1)

    world.store.devices.sync_failed(claimed(world, "boat"), "hub.unknown_device", world.now + timedelta(minutes=1))
    soon = to_sync(world)
    world.later(60)

    assert soon == ("ship-1", "ship-2")
    assert to_sync(world) == ("ship-1", "ship-2", "boat")


def test_a_hub_that_does_not_answer_has_its_own_devices_put_off_and_no_others(world: World) -> None:
    world.device("ship-1")
    world.device("boat", hub="south")

    world.store.devices.put_off_syncs("north", world.now + timedelta(minutes=2), world.now)

    assert to_sync(world) == ("boat",)
    world.later(120)
    assert to_sync(world) == ("boat", "ship-1")


def test_images_are_kept_for_open_sets_their_sources_and_two_releases_back(world: World) -> None:
    world.device("ship-1", "-")
    for version in range(1, 5):
        of = world.deliver(world.set(["ship-1"], f"app:{version}", manifest=MANIFEST), "ship-1")
        world.inventory("ship-1", *[digest(f"app:{number}") for number in range(1, version + 1)])
        world.release(of, "ship-1", version=version)
        world.settled(of)
        world.confirm(of, "ship-1", "applied")
        world.settled(of)
    coming = world.accepted(["ship-1"], "tool:1", workstream="other")
    world.plan(coming, sources=[digest("app:1")])

    kept = world.store.devices.desired_facts("ship-1")["keepImages"]

    assert set(kept) == {digest(name) for name in ("app:4", "app:3", "tool:1", "app:1")}
