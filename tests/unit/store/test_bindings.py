"""A device is its own id; which identity of which hub it is may change, and nothing else does."""

from __future__ import annotations

import pytest

from contracts.requests import EnrolDevice
from imagedelta.errors import RequestError
from tests.unit.store.world import World, digest


def test_a_device_has_the_id_of_its_hub_unless_it_is_told_another(world: World) -> None:
    world.device("ship-1")
    device, new = world.store.devices.enrol("s1", EnrolDevice(hub="south", hub_device_id="ship-1"), "t", world.now)

    assert (device.binding, new) == (("south", "ship-1"), True)
    known = world.store.devices.senders("south", ["ship-1", "ship-2"])
    assert (dict(known.devices), known.past) == ({"ship-1": "s1"}, frozenset())
    assert world.store.devices.senders("north", ["ship-1"]).devices == {"ship-1": "ship-1"}


def test_an_identity_is_one_device_until_that_is_retired(world: World) -> None:
    world.device("ship-1")
    order = EnrolDevice(hub="north", hub_device_id="ship-1")

    with pytest.raises(RequestError, match="is device ship-1 already") as caught:
        world.store.devices.enrol("ship-9", order, "t", world.now)
    world.device("ship-2")
    with pytest.raises(RequestError) as moved:
        world.store.devices.rebind("ship-2", "north", "ship-1", "t", world.now)
    world.store.devices.retire("ship-1", "t", world.now)
    world.store.devices.enrol("ship-9", order, "t", world.now)

    assert (caught.value.code, caught.value.status, moved.value.code) == (
        *("request.binding_taken", 409),
        "request.binding_taken",
    )
    assert world.store.devices.senders("north", ["ship-1"]).devices == {"ship-1": "ship-9"}


def test_a_device_that_was_given_another_identity_is_believed_under_it_alone(world: World) -> None:
    world.device("ship-1", digest("app:1"))

    device = world.store.devices.rebind("ship-1", "south", "vessel", "t", world.now)

    assert (device.state, device.binding, device.desired_digest) == ("held", ("south", "vessel"), None)
    assert world.store.devices.senders("north", ["ship-1"]).past == {"ship-1"}
    assert world.inventory("ship-1", digest("app:1")).result != "applied"  # one that was on its way
    known = world.store.devices.device("ship-1")
    assert known is not None
    assert known.state == "held"


def test_its_first_inventory_under_the_new_identity_releases_it_with_all_it_had(world: World) -> None:
    world.device("ship-1", digest("app:1"))
    world.store.devices.rebind("ship-1", "south", "vessel", "t", world.now)

    taken = world.inventory("ship-1", digest("app:1"), hub="south", hub_device_id="vessel")

    known = world.store.devices.device("ship-1")
    assert known is not None
    assert (taken.result, known.state) == ("applied", "active")
    assert [image.image_id for image in world.store.devices.images_on("ship-1")] == [digest("app:1")]


def test_back_under_its_first_identity_nothing_of_it_is_past(world: World) -> None:
    world.device("ship-1", digest("app:1"))
    for hub, name in (("south", "vessel"), ("north", "ship-1")):
        world.store.devices.rebind("ship-1", hub, name, "t", world.now)

    assert world.store.devices.senders("north", ["ship-1"]).devices == {"ship-1": "ship-1"}
    assert world.store.devices.senders("south", ["vessel"]).past == {"vessel"}
    assert world.inventory("ship-1", digest("app:1")).result == "applied"


def test_an_identity_that_was_given_up_may_become_another_device(world: World) -> None:
    world.device("ship-1", digest("app:1"))
    world.store.devices.rebind("ship-1", "north", "vessel", "t", world.now)

    world.store.devices.enrol("ship-2", EnrolDevice(hub="north", hub_device_id="ship-1"), "t", world.now)

    known = world.store.devices.senders("north", ["ship-1", "vessel"])
    assert (dict(known.devices), known.past) == ({"ship-1": "ship-2", "vessel": "ship-1"}, frozenset())


def test_what_is_under_way_for_the_old_identity_is_sent_again_for_the_new(world: World) -> None:
    """A bundle is sealed for one name."""
    world.device("ship-1", "-")
    of = world.set(["ship-1"], "app:2")
    world.publish(of)
    before = world.transfer(of, "ship-1")

    world.store.devices.rebind("ship-1", "north", "vessel", "t", world.now)

    after = world.transfer(of, "ship-1")
    assert (before.state, after.state) == ("published", "queued")
    assert (after.transfer_id, after.attempt) != (before.transfer_id, before.attempt)
    assert world.store.transfers.wanted_bundles("ship-1") == set()


def test_the_same_id_in_another_hub_costs_nothing_again(world: World) -> None:
    world.device("ship-1", "-")
    of = world.set(["ship-1"], "app:2")
    world.publish(of)

    world.store.devices.rebind("ship-1", "south", "ship-1", "t", world.now)

    assert world.transfer(of, "ship-1").state == "published"


def test_a_stranger_with_the_own_id_of_a_device_is_not_taken_for_it(world: World) -> None:
    """Own ids are ours: in the hub anybody may be called so."""
    world.store.devices.enrol("ship-1", EnrolDevice(hub="north", hub_device_id="vessel"), "t", world.now)

    for hub in ("north", "south"):
        assert world.inventory("ship-1", digest("app:1"), hub=hub).result == "unknown"
    known = world.store.devices.device("ship-1")
    assert known is not None
    assert (known.state, known.last_inventory_at) == ("enrolled", None)


def test_a_retired_device_gets_no_identity(world: World) -> None:
    world.device("ship-1")
    world.store.devices.retire("ship-1", "t", world.now)

    with pytest.raises(RequestError) as caught:
        world.store.devices.rebind("ship-1", "south", "ship-1", "t", world.now)
    assert caught.value.code == "request.retired_device"
