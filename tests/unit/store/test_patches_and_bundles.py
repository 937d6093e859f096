from __future__ import annotations

from datetime import timedelta

from contracts.records import DeploymentSet
from tests.unit.store.world import World

LEASE = timedelta(hours=1)


def wanted_patch(world: World) -> tuple[DeploymentSet, str]:
    world.device("ship-1", "-")
    of = world.set(["ship-1"], "app:2")
    return of, world.to_build(of)[0]


def finish(world: World, patch_id: str, worker: str) -> bool:
    numbers = {"size": 2**40, "crc32": 2**32 - 1, "memory_bytes": 1, "bytes_read": 1}
    texts = {"sha256": "ab", "chunks": "cd"}
    return world.store.patches.verified(patch_id, worker, seconds=1.5, at=world.now, **numbers, **texts)


def test_a_patch_is_built_by_the_one_who_holds_its_lease(world: World) -> None:
    _, patch_id = wanted_patch(world)
    patches = world.store.patches

    assert patches.begin_step(patch_id, "one", LEASE, world.now) is not None
    assert patches.begin_step(patch_id, "two", LEASE, world.later()) is None
    assert not finish(world, patch_id, "two")
    assert finish(world, patch_id, "one")
    assert patches.begin_step(patch_id, "two", LEASE, world.later()) is None
    stored = patches.patch(patch_id)
    assert stored is not None
    assert (stored.state, stored.bytes, stored.crc32, stored.seconds) == ("verified", 2**40, 2**32 - 1, 1.5)


def test_a_lease_that_is_over_passes_to_the_next_and_the_late_worker_has_no_say(world: World) -> None:
    _, patch_id = wanted_patch(world)
    patches = world.store.patches
    patches.begin_step(patch_id, "one", LEASE, world.now)

    assert patches.begin_step(patch_id, "two", LEASE, world.later(7200)) is not None
    assert not patches.failed(patch_id, "one", "content.invalid", "late", world.now)
    assert finish(world, patch_id, "two")


def test_transfers_are_listed_by_what_people_ask(world: World) -> None:
    world.device("ship-1", "-")
    world.device("ship-2", "-")
    of = world.set(["ship-1", "ship-2"], "app:2")
    world.publish(of)
    world.report(world.transfer(of, "ship-1"), "blocked")
    world.report(world.transfer(of, "ship-2"), "succeeded")

    def devices(**filters: str) -> list[str]:
        options = {"device_id": None, "image_id": None, "state": None, "set_id": None} | filters
        page = world.store.transfers.list_transfers(limit=10, after=None, **options)
        return sorted(transfer.device_id for transfer in page.items)

    assert devices() == ["ship-1", "ship-2"]
    assert devices(state="in_transit") == ["ship-1"]
    assert devices(state="succeeded") == ["ship-2"]
    assert devices(device_id="ship-2", set_id=of.set_id) == ["ship-2"]
    assert devices(image_id="sha256:0") == []
