"""A device that is not heard from as it should is flagged, and told once to whoever waits for it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from contracts.records import Device
from tests.unit.store.world import World, digest

DAY = timedelta(days=1)


def known(world: World, device_id: str) -> Device:
    device = world.store.devices.device(device_id)
    assert device is not None
    return device


def look(world: World, **later: float) -> tuple[str, ...]:
    """The timer comes by, so much later; whom it noticed."""
    world.now += timedelta(**later)
    found = world.store.devices.to_notice(world.now, 100)
    world.store.devices.notice_silent(found, world.now)
    return found


def silent(world: World) -> list[str]:
    page = world.store.devices.list_devices(state=None, hub=None, tag=None, silent=True, limit=100, after=None)
    return [device.device_id for device in page.items]


def test_a_device_is_silent_two_weeks_after_its_last_message_and_until_the_next(world: World) -> None:
    world.device("ship-1", digest("app:1"))
    assert look(world, days=13) == ()

    assert look(world, days=2) == ("ship-1",)
    was = known(world, "ship-1")
    assert silent(world) == ["ship-1"]
    assert look(world, days=30) == ()  # once

    world.inventory("ship-1", digest("app:1"))
    assert was.silent_since is not None
    assert (known(world, "ship-1").silent_since, silent(world)) == (None, [])
    assert look(world, days=15) == ("ship-1",)


def test_a_report_is_heard_as_well_as_an_inventory(world: World) -> None:
    world.device("ship-1", "-")
    of = world.set(["ship-1"], "app:2")
    world.publish(of)
    world.now += 10 * DAY

    world.report(world.transfer(of, "ship-1"), "receiving", 1)

    assert look(world, days=10) == ()
    assert look(world, days=5) == ("ship-1",)


def test_a_device_that_was_never_heard_from_is_silent_too(world: World) -> None:
    world.device("ship-1")

    assert look(world, days=13) == ()
    assert look(world, days=2) == ("ship-1",)


@pytest.mark.parametrize(
    ("tag", "days"), [("240", 10), ("24", 1), ("1000", 1000 / 24), ("soon", 14), ("0", 14), ("-5", 14), ("9" * 50, 14)]
)
def test_a_tag_says_how_long_a_device_may_be_silent(world: World, tag: str, days: float) -> None:
    world.device("ship-1", digest("app:1"), **{"silent-after-hours": tag})

    assert look(world, days=days, hours=-1) == ()
    assert look(world, hours=2) == ("ship-1",)


def test_a_retired_device_is_not_missed(world: World) -> None:
    world.device("ship-1", digest("app:1"))
    world.store.devices.retire("ship-1", "t", world.now)

    assert look(world, days=99) == ()
    assert silent(world) == []


def test_the_owner_of_an_open_set_that_waits_for_it_is_told_and_nobody_else(world: World) -> None:
    for name in ("ship-1", "ship-2", "ship-3"):
        world.device(name, "-")
    waits = world.set(["ship-1", "ship-2"], "app:2")
    other = world.set(["ship-3"], "app:2")
    world.now += 10 * DAY
    world.inventory("ship-3")

    look(world, days=5)
    look(world, days=1)

    assert [mail.kind for mail in world.store.notifications.of_set(waits.set_id)] == ["silent"]
    assert world.store.notifications.of_set(other.set_id) == ()
    (line,) = world.store.sets.silent(waits.set_id)
    assert (line.code, line.devices, line.example) == ("device.silent", 2, "ship-1")
    assert world.store.sets.silent(other.set_id) == ()


def test_a_message_that_was_overtaken_moves_nothing_back(world: World) -> None:
    world.device("ship-1", digest("app:1"))
    heard = known(world, "ship-1").heard_at
    world.now -= DAY

    world.inventory("ship-1", digest("app:1"))

    assert known(world, "ship-1").heard_at == heard


def test_what_cannot_be_noticed_is_put_off(world: World) -> None:
    world.device("ship-1", digest("app:1"))
    world.now += 15 * DAY

    world.store.devices.put_off_silence(["ship-1"], world.now + DAY)

    assert look(world) == ()
    assert look(world, days=1, seconds=1) == ("ship-1",)
