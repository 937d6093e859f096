"""The disk refuses one operation of a reconstruction, or all from there on for an hour, or is full from the start.

Every position is tried, each with one of the errors in turn; ``long`` tries every error at every position.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Iterator

import pytest

from edge_module.device import Device
from tests.unit.edge.test_power_loss import (
    a_ship,
    assert_done_once,
    assert_old_usable_and_new_whole_or_absent,
    writes_of,
)
from tests.unit.edge.world import APP_1, APP_2, World

ERRORS = (errno.EIO, errno.ENOSPC, errno.EROFS)
WAYS = ("outbox", "inbox")
THOROUGH = (False, pytest.param(True, marks=pytest.mark.long))


def faults(bundle_in: str, thorough: bool, every: int = 1) -> Iterator[tuple[int, int]]:
    """Positions and the error each of them fails with; ``every`` how many positions one is taken, if not thorough."""
    for at in range(1, writes_of(bundle_in) + 1, 1 if thorough else every):
        for error in ERRORS if thorough else (ERRORS[at // every % len(ERRORS)],):
            yield at, error


def run(world: World, device: Device | None = None) -> Device:
    """Until everything is done, and a little longer: what a disk did not let go of goes then."""
    device = world.run(device, turns=2000)
    world.turn(device, 4, seconds=60.0)
    return device


def spend(world: World, device: Device, seconds: float) -> None:
    end = world.clock.now + seconds
    while world.clock.now < end:
        world.clock.now += max(0.01, min(device.turn() * 10, 5.0))


@pytest.mark.parametrize("thorough", THOROUGH)
@pytest.mark.parametrize("bundle_in", WAYS)
def test_any_one_operation_that_fails_costs_nothing(bundle_in: str, thorough: bool) -> None:
    """Neither then nor when the power goes afterwards: what was told as done is on the disk."""
    for at, error in faults(bundle_in, thorough):
        world = a_ship(bundle_in)
        world.disk.fail_at(at, error)

        run(world)

        assert_done_once(world)
        world.disk.reboot("dropped")
        assert world.image_ids() == {APP_1.image_id, APP_2.image_id}, f"the image was told and lost: {at}"
        run(world)
        assert_done_once(world)


@pytest.mark.parametrize("thorough", THOROUGH)
@pytest.mark.parametrize("bundle_in", WAYS)
def test_a_disk_that_fails_for_an_hour_from_any_operation_on_only_delays_the_job(
    bundle_in: str, thorough: bool
) -> None:
    for at, error in faults(bundle_in, thorough, every=5):
        world = a_ship(bundle_in)
        world.disk.fail_at(at, error, math.inf)

        device = world.boot()
        spend(world, device, 3600.0)
        assert len(world.hub.reports) <= 6, f"the disk flaps: {world.states()}"
        world.disk.heal()
        run(world, device)
        run(world)  # temporary files that could not be removed go at the next start

        assert_done_once(world)


@pytest.mark.parametrize("thorough", THOROUGH)
@pytest.mark.parametrize("bundle_in", WAYS)
def test_power_lost_after_an_operation_that_failed_leaves_nothing_half_done(bundle_in: str, thorough: bool) -> None:
    """Above all after a sync that failed: what it was to write is gone, and the next sync says nothing of it."""
    for at, error in faults(bundle_in, thorough, every=2):
        world = a_ship(bundle_in)
        world.disk.fail_at(at, error)
        device = world.boot()
        for _ in range(2000):
            if world.disk.failures:
                break
            spend(world, device, 0.01)
        device.turn()
        world.disk.reboot("kept")
        world.cuts += 1

        assert_old_usable_and_new_whole_or_absent(world)
        run(world)

        assert_done_once(world)


@pytest.mark.parametrize(("error", "code"), [(errno.ENOSPC, "disk.full"), (errno.EROFS, "disk.read_only")])
@pytest.mark.parametrize("bundle_in", WAYS)
def test_a_disk_that_takes_nothing_from_the_start_mutes_nothing(bundle_in: str, error: int, code: str) -> None:
    world = a_ship(bundle_in)
    world.turn(world.boot(), 1)  # it has been here before
    world.disk.fail_at(1, error, math.inf)
    world.hub.desired_now |= {"paused": True, "resync": 5}
    before = len(world.hub.inventories)

    device = world.boot()
    spend(world, device, 300)

    assert len(world.hub.inventories) > before
    assert world.hub.reported["paused"] is True
    assert world.hub.reported["disk"]["state"] == code
    world.hub.desired_now |= {"paused": False}
    spend(world, device, 300)
    assert world.hub.reported["paused"] is False
    world.disk.heal()
    run(world, device)
    assert_done_once(world)
    assert world.hub.reported["disk"]["state"] == "ok"


@pytest.mark.parametrize(("error", "code"), [(errno.ENOSPC, "disk.full"), (errno.EROFS, "disk.read_only")])
def test_a_new_device_whose_disk_takes_nothing_starts_and_tells_and_goes_on_later(error: int, code: str) -> None:
    world = World()
    world.disk.fail_at(1, error, math.inf)
    world.hub.desired_now |= {"paused": True}

    device = world.boot()
    spend(world, device, 120)

    assert (world.hub.reported["paused"], world.hub.reported["disk"]["state"]) == (True, code)
    world.disk.heal()
    world.hub.desired_now |= {"paused": False}
    spend(world, device, 600)
    assert world.hub.inventories[-1].images == []
    assert world.hub.reported["disk"]["state"] == "ok"
