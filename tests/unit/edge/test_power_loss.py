"""The power is cut at every single write of a reconstruction, and the device goes on after the reboot."""

from __future__ import annotations

from functools import cache

import pytest

from tests.simulators.files import MODES, FileSystemSimulator, Mode, PowerCut
from tests.unit.edge.world import APP_1, APP_2, World, make_bundle


def a_ship(bundle_in: str) -> World:
    world = World(APP_1)
    if bundle_in == "outbox":
        world.publish(make_bundle())
    else:
        world.drop_into_inbox(make_bundle())
    return world


@cache
def writes_of(bundle_in: str) -> int:
    """Operations on the disk from the first boot to the last report."""
    world = a_ship(bundle_in)
    before = world.disk.operations
    world.run()
    return world.disk.operations - before


def cut_power(world: World, at: int) -> None:
    world.disk.cut_power_at(at)
    with pytest.raises(PowerCut):
        world.run()
        raise PowerCut("the disk was idle before that")


def assert_old_usable_and_new_whole_or_absent(world: World) -> None:
    assert world.image_ids() in ({APP_1.image_id}, {APP_1.image_id, APP_2.image_id})
    assert world.references()["app:1"] == APP_1.image_id


def assert_done_once(world: World) -> None:
    assert world.references() == {"app:1": APP_1.image_id, "app:2": APP_2.image_id}
    finals = [report.message_id for report in world.hub.reports if report.state not in PASSING]
    assert len(finals) == 1, world.states()
    assert world.final_report() == ("succeeded", None)
    assert [report.sequence for report in world.hub.reports] == list(range(1, len(world.hub.reports) + 1))
    assert world.hub.inventories[-1].results[-1].state == "succeeded"
    assert world.leftovers() == []


PASSING = {"receiving", "received", "applying"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bundle_in", ["outbox", "inbox"])
def test_power_lost_at_any_write_leaves_old_images_usable_and_the_job_finishes_once(
    bundle_in: str, mode: Mode
) -> None:
    for at in range(1, writes_of(bundle_in) + 1):
        world = a_ship(bundle_in)
        cut_power(world, at)
        world.disk.reboot(mode, seed=at)

        assert_old_usable_and_new_whole_or_absent(world)
        world.run()

        assert_done_once(world)


