"""Whose turn it is to be released: within what the hubs take, and no set waits for another one's end."""

from __future__ import annotations

from collections import Counter
from typing import Any

from contracts.records import DeploymentSet
from tests.unit.store.world import MANIFEST, World, digest


def ready(world: World, devices: list[str], reference: str, **options: Any) -> DeploymentSet:
    """All images are there: every device may be released."""
    world.image(reference)
    of = world.set(devices, reference, manifest=MANIFEST, **options)
    for device_id in devices:
        hub = "south" if device_id.startswith("s") else "north"
        world.inventory(device_id, digest(reference), hub=hub)
    world.settled(of)
    return of


def fleet(world: World, prefix: str, count: int, hub: str = "north") -> list[str]:
    return [world.device(f"{prefix}-{number}", "-", hub=hub) for number in range(count)]


def test_a_small_release_does_not_wait_for_the_end_of_a_large_one(world: World) -> None:
    large = ready(world, fleet(world, "a", 12), "app:2", workstream="a")
    small = ready(world, fleet(world, "b", 3), "app:3", workstream="b")

    due = world.store.releases.due(world.now, 6)

    assert Counter(one.set_id for one in due) == {large.set_id: 3, small.set_id: 3}


def test_of_one_set_alone_those_come_that_wait_longest(world: World) -> None:
    of = ready(world, fleet(world, "a", 5), "app:2")

    assert [one.set_id for one in world.store.releases.due(world.now, 3)] == [of.set_id] * 3


def test_no_more_come_than_their_hub_takes_and_those_of_other_hubs_are_not_behind_them(world: World) -> None:
    ready(world, fleet(world, "a", 6), "app:2", workstream="a")
    ready(world, fleet(world, "s", 2, "south"), "app:3", workstream="s")

    full = world.store.releases.due(world.now, 4, {"north": 0, "south": 9})
    some = world.store.releases.due(world.now, 20, {"north": 2, "south": 9})

    assert [one.hub for one in full] == ["south", "south"]
    assert Counter(one.hub for one in some) == {"north": 2, "south": 2}
    assert {one.hub_device_id for one in full} == {"s-0", "s-1"}
