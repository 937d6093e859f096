"""The power is cut at every single write of a reconstruction, and the device goes on after the reboot."""

from __future__ import annotations

import copy
import random
from functools import cache, partial

import pytest

from imagedelta.bundles import HEAD_BYTES
from tests.simulators.files import MODES, FileSystemSimulator, Mode, PowerCut
from tests.unit.edge.world import APP_1, APP_2, CHUNK, World, make_bundle


@cache
def a_disk() -> FileSystemSimulator:
    return World(APP_1).disk


def a_ship(bundle_in: str) -> World:
    world = World(keep_disk=copy.deepcopy(a_disk()))
    world.outbox.piece_bytes = 8 * 1024
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
    world.cuts += 1
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
    fetched_again = world.outbox.served[make_bundle().name] - len(make_bundle().data)
    assert fetched_again <= (HEAD_BYTES + CHUNK) * max(1, world.cuts), "verified bytes were fetched again"


PASSING = {"receiving", "received", "applying", "blocked"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bundle_in", ["outbox", "inbox"])
def test_power_lost_at_any_write_leaves_old_images_usable_and_the_job_finishes_once(bundle_in: str, mode: Mode) -> None:
    for at in range(1, writes_of(bundle_in) + 1):
        world = a_ship(bundle_in)
        cut_power(world, at)
        world.disk.reboot(mode, seed=at)

        assert_old_usable_and_new_whole_or_absent(world)
        world.run()

        assert_done_once(world)


@pytest.mark.parametrize("seed", range(25))
def test_power_lost_again_and_again_only_delays_the_job(seed: int) -> None:
    chance = random.Random(seed)
    world = a_ship("outbox")

    for cut in range(6):
        world.disk.cut_power_at(chance.randint(1, 60))
        world.cuts += 1
        try:
            world.run()
        except PowerCut:
            ends = [world.disk.restart, *(partial(world.disk.reboot, mode, 10 * seed + cut) for mode in MODES)]
            chance.choice(ends)()
        assert_old_usable_and_new_whole_or_absent(world)
    world.disk.cut_power_at(10**9)
    world.run()

    assert_done_once(world)


def test_verified_chunks_are_not_fetched_again_after_the_power_came_back() -> None:
    world = a_ship("outbox")
    bundle = make_bundle()
    device = world.boot()
    while world.outbox.served[bundle.name] < len(bundle.data) * 3 // 4:
        device.turn()
    world.disk.reboot("dropped")

    world.run()

    assert world.outbox.served[bundle.name] <= len(bundle.data) + bundle.head.chunk_bytes
    assert_done_once(world)


def test_what_a_killed_process_left_unsynced_is_synced_before_it_counts() -> None:
    whole = a_ship("outbox")
    before = len(whole.disk.log)
    whole.run()
    syncs = [at for at, text in enumerate(whole.disk.log[before:], 1) if text.startswith("sync downloads")]
    assert len(syncs) > 5

    for at in syncs:
        world = a_ship("outbox")
        cut_power(world, at)
        world.disk.restart()
        device = world.boot()
        while not world.disk.list("inbox"):
            device.turn()
            world.clock.now += 1
        world.disk.reboot("dropped")
        world.run()

        assert_done_once(world)
