"""What nobody needs any more goes when there is nothing to do, and nothing else does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_module.device import Device
from edge_module.housekeeping import COLLECT_SECONDS, STRAY_SECONDS
from edge_module.old_images import GRACE_SECONDS
from imagedelta.errors import DependencyError
from tests.engines.place import killed
from tests.unit.edge.world import APP_1, APP_2, OTHER, World, make_bundle, patch_of

HOUR = 3600.0


def let_pass(world: World, device: Device, seconds: float, step: float = HOUR) -> None:
    for _ in range(int(seconds / step) + 1):
        while device.turn() == 0.0:
            pass
        world.clock.now += step
    device.turn()


def a_ship(*, remove_images: bool = True, keep: list[str] | None = None) -> World:
    """It has app:1 out of an archive, and app:2, app:3 and other:1 by bundles of the cloud, which wants some kept."""
    world = World(APP_1)
    world.settings = replace(world.settings, remove_images=remove_images)
    world.publish(make_bundle())
    other, memory = patch_of(3)
    changes = {"target_image_id": OTHER.image_id, "source_image_ids": (), "memory_bytes": memory}
    ids = {"bundle_id": "bundle-2", "transfer_id": "transfer-2", "number": 8}
    world.publish(make_bundle(patch=other, reference="app:3", **changes, **ids))
    world.run()
    assert world.image_ids() == {APP_1.image_id, APP_2.image_id, OTHER.image_id}
    world.hub.desired_now["keepImages"] = [APP_1.image_id] if keep is None else keep
    return world


def test_an_image_of_the_cloud_that_it_no_longer_wants_goes_after_a_day_and_an_inventory_tells_it() -> None:
    world = a_ship()
    device = world.boot()

    let_pass(world, device, GRACE_SECONDS - 2 * HOUR)
    assert APP_2.image_id in world.image_ids()
    let_pass(world, device, 4 * HOUR)

    assert world.image_ids() == {APP_1.image_id, OTHER.image_id}
    told = {image.image_id for image in world.hub.inventories[-1].images}
    assert told == world.image_ids()


def test_the_newest_image_of_a_repository_stays_whatever_the_cloud_says() -> None:
    world = a_ship(keep=["sha256:" + "0" * 64])

    let_pass(world, world.boot(), 3 * GRACE_SECONDS)

    assert world.references() == {"app:1": APP_1.image_id, "app:3": OTHER.image_id}


@pytest.mark.parametrize(
    "why", ["setting", "empty list", "kept", "no twin", "source of a bundle", "source on the way", "restarts"]
)
def test_an_image_stays(why: str) -> None:
    world = a_ship(remove_images=why != "setting")
    if why == "empty list":
        del world.hub.desired_now["keepImages"]
    if why == "kept":
        world.hub.desired_now["keepImages"].append(APP_2.image_id)
    device = world.boot()
    if why == "no twin":
        world.run(device)
        world.hub.reachable = False
        device = world.boot()
    ids = {"bundle_id": "bundle-9", "transfer_id": "transfer-9", "number": 9}
    waits = make_bundle(target_image_id="sha256:" + "9" * 64, source_image_ids=(APP_2.image_id,), **ids)
    if why == "source of a bundle":
        world.disk.put(f"inbox/{waits.name}", waits.data[:-100])  # a tool is not done with it
    if why == "source on the way":
        world.publish(waits)
        world.disk.capacity = sum(map(len, world.disk.files().values())) + len(waits.data) // 2
    for _ in range(3):
        let_pass(world, device, (0.9 if why == "restarts" else 2) * GRACE_SECONDS)
        device = world.boot() if why == "restarts" else device

    assert world.image_ids() == {APP_1.image_id, APP_2.image_id, OTHER.image_id}


def test_an_image_that_is_wanted_again_within_the_day_starts_anew() -> None:
    world = a_ship()
    device = world.boot()
    let_pass(world, device, 0.8 * GRACE_SECONDS)
    world.hub.desired_now["keepImages"].append(APP_2.image_id)
    let_pass(world, device, 2 * HOUR)
    world.hub.desired_now["keepImages"].remove(APP_2.image_id)

    let_pass(world, device, 0.8 * GRACE_SECONDS)

    assert APP_2.image_id in world.image_ids()


def test_scratch_that_a_killed_rebuild_left_goes() -> None:
    world = World(APP_1)
    device = world.run()
    world.disk.put("scratch/apply-0", b"x" * 1000)

    let_pass(world, device, HOUR)

    assert world.disk.list("scratch") == []


def test_layers_of_work_that_was_given_up_go_when_no_bundle_waits() -> None:
    world = World(APP_1)
    with killed(LayoutPlace(world), APP_2) as work:
        tar = APP_2.layers[2]
        work.begin(APP_2.image.diff_ids[2], len(tar)).write(tar)
        work.commit(APP_2.image.diff_ids[2])
    layer = f"images/blobs/sha256/{APP_2.image.diff_ids[2][7:]}"
    world.drop_into_inbox(make_bundle())
    world.disk.put(f"inbox/{make_bundle().name}", make_bundle().data[:-100])
    device = world.boot()

    let_pass(world, device, 2 * COLLECT_SECONDS)
    assert world.disk.size(layer) is not None
    world.disk.remove(f"inbox/{make_bundle().name}")
    let_pass(world, device, COLLECT_SECONDS)

    assert world.disk.size(layer) is None
    assert world.image_ids() == {APP_1.image_id}


class LayoutPlace:
    def __init__(self, world: World) -> None:
        self.engine = world.engine


def test_a_chunk_list_without_its_bundle_goes_after_a_week_in_which_nobody_touched_it() -> None:
    world = World(APP_1)
    device = world.run()
    for name in ("old", "touched", "of-a-bundle"):
        world.disk.put(f"inbox/{name}.bundle.chunks", b"1")
    world.disk.put("inbox/of-a-bundle.bundle", b"PK")

    let_pass(world, device, STRAY_SECONDS / 2, 6 * HOUR)
    world.disk.put("inbox/touched.bundle.chunks", b"12")
    let_pass(world, device, STRAY_SECONDS / 2 + 12 * HOUR, 6 * HOUR)

    assert "inbox/old.bundle.chunks" not in world.disk.files()
    assert "inbox/touched.bundle.chunks" in world.disk.files()
    assert "inbox/of-a-bundle.bundle.chunks" in world.disk.files()


def test_a_disk_that_takes_no_removal_holds_up_nothing_and_what_was_left_goes_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = a_ship()
    device = world.boot()
    layer = f"images/blobs/sha256/{APP_2.image.diff_ids[2][7:]}"

    def unable(name: str) -> None:
        raise DependencyError(f"{name}: Read-only file system", code="disk.failing")

    let_pass(world, device, GRACE_SECONDS - 2 * HOUR)
    with monkeypatch.context() as patch:
        patch.setattr(world.disk, "remove", unable)
        let_pass(world, device, 4 * HOUR)
    assert world.disk.size(layer) is not None
    let_pass(world, device, 2 * HOUR)

    assert world.disk.size(layer) is None
    assert world.image_ids() == {APP_1.image_id, OTHER.image_id}
    assert {image.image_id for image in world.hub.inventories[-1].images} == world.image_ids()
