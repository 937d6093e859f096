"""A device that goes back to the version before reads what the newer one left, with fields that it does not know."""

from __future__ import annotations

import json

import pytest

from edge_module.inventory import readable_profiles
from imagedelta.delta import PROFILES
from tests.unit.edge.world import APP_1, APP_2, MIB, World, make_bundle

STATE = ("journal/", "state/", "outbox/", "downloads/")
OLDEST_PROFILE = "v1-16m-nofold"


def as_a_newer_version_leaves_it(world: World) -> list[str]:
    """Add a field to every file of state that is a JSON object; returns their names."""
    changed = []
    for name, data in world.disk.files().items():
        if name.startswith(STATE) or name.endswith("installation.json"):
            try:
                told = json.loads(data)
            except ValueError:
                continue
            if isinstance(told, dict):
                world.disk.put(name, json.dumps({**told, "of_a_later_version": {"deep": [1, {"x": None}]}}).encode())
                changed.append(name)
    return changed


def test_what_a_newer_version_has_done_is_neither_done_nor_told_again() -> None:
    world = World(APP_1)
    world.publish(make_bundle())
    world.run()
    told = world.states()

    changed = as_a_newer_version_leaves_it(world)
    world.run()

    assert {name.split("/")[0] for name in changed} >= {"journal", "state"}
    assert world.states() == told
    assert world.image_ids() == {APP_1.image_id, APP_2.image_id}
    assert not [name for name in world.disk.files() if "damage" in name]


def test_a_bundle_that_was_on_its_way_goes_on_with_what_has_come() -> None:
    world = World(APP_1)
    bundle = make_bundle()
    world.publish(bundle)
    device = world.boot()
    for _ in range(200):
        device.turn()
        if any(name.endswith(".part") for name in world.disk.files()):
            break
        world.clock.now += 0.01
    device.stop()

    changed = as_a_newer_version_leaves_it(world)
    world.run()

    assert [name for name in changed if name.startswith("downloads/")]
    assert world.final_report() == ("succeeded", None)


@pytest.mark.parametrize("mebibytes", [72, 128])
def test_every_device_offers_the_oldest_profile_so_that_it_can_get_any_version_of_the_module(mebibytes: int) -> None:
    assert OLDEST_PROFILE in PROFILES
    assert OLDEST_PROFILE in readable_profiles(mebibytes * MIB)
