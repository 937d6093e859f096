"""The disk refuses one operation of a reconstruction, or all from there on for an hour, or is full from the start."""

from __future__ import annotations

import errno
import math

import pytest

from edge_module.device import Device
from tests.unit.edge.test_power_loss import (
    a_ship,
    assert_done_once,
    assert_old_usable_and_new_whole_or_absent,
    writes_of,
)
from tests.unit.edge.world import APP_1, APP_2, World

ERRORS = {"eio": errno.EIO, "full": errno.ENOSPC, "read-only": errno.EROFS}
WAYS = ("outbox", "inbox")


def run(world: World, device: Device | None = None) -> Device:
    """Until everything is done, and a little longer: what a disk did not let go of goes then."""
    device = world.run(device, turns=2000)
    world.turn(device, 4, seconds=60.0)
    return device


def spend(world: World, device: Device, seconds: float) -> None:
    end = world.clock.now + seconds
    while world.clock.now < end:
        world.clock.now += max(0.01, min(device.turn() * 10, 5.0))


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("bundle_in", WAYS)
def test_any_one_operation_that_fails_costs_nothing(bundle_in: str, error: str) -> None:
    """Neither then nor when the power goes afterwards: what was told as done is on the disk."""
    for at in range(1, writes_of(bundle_in) + 1):
        world = a_ship(bundle_in)
        world.disk.fail_at(at, ERRORS[error])

        run(world)

        assert_done_once(world)
        world.disk.reboot("dropped")
        assert world.image_ids() == {APP_1.image_id, APP_2.image_id}, f"the image was told and lost: {at}"
        run(world)
        assert_done_once(world)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("bundle_in", WAYS)
def test_a_disk_that_fails_for_an_hour_from_any_operation_on_only_delays_the_job(bundle_in: str, error: str) -> None:
    for at in range(1, writes_of(bundle_in) + 1, 3):
        world = a_ship(bundle_in)
        world.disk.fail_at(at, ERRORS[error], math.inf)

        device = world.boot()
        spend(world, device, 3600.0)
        assert len(world.hub.reports) <= 6, f"the disk flaps: {world.states()}"
        world.disk.heal()
        run(world, device)
        run(world)  # temporary files that could not be removed go at the next start

        assert_done_once(world)


@pytest.mark.parametrize("bundle_in", WAYS)
def test_power_lost_after_an_operation_that_failed_leaves_nothing_half_done(bundle_in: str) -> None:
    """Above all after a sync that failed: what it was to write is gone, and the next sync says nothing of it."""
    for at in range(1, writes_of(bundle_in) + 1):
        world = a_ship(bundle_in)
        world.disk.fail_at(at)
        device = world.boot()
        while not world.disk.failures:
            spend(world, device, 0.01)
        device.turn()
        world.disk.reboot("kept")
        world.cuts += 1

        assert_old_usable_and_new_whole_or_absent(world)
        run(world)

        assert_done_once(world)


@pytest.mark.parametrize("error", ["full", "read-only"])
@pytest.mark.parametrize("bundle_in", WAYS)
def test_a_disk_that_takes_nothing_from_the_start_mutes_nothing(bundle_in: str, error: str) -> None:
    world = a_ship(bundle_in)
    world.turn(world.boot(), 1)  # it has been here before: its folders are made
    world.disk.fail_at(1, ERRORS[error], math.inf)
    world.hub.desired_now |= {"paused": True, "resync": 5}
    before = len(world.hub.inventories)

    device = world.boot()
    spend(world, device, 300)

    assert len(world.hub.inventories) > before
    assert world.hub.reported["paused"] is True
    assert world.hub.reported["disk"]["state"] == f"disk.{error.replace('-', '_')}"
    world.hub.desired_now |= {"paused": False}
    spend(world, device, 300)
    assert world.hub.reported["paused"] is False
    world.disk.heal()
    run(world, device)
    assert_done_once(world)
    assert world.hub.reported["disk"]["state"] == "ok"
