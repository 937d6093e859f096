"""Shared bundles: a small file in the outbox, the patch from where many devices read it, each under its own grant."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_module.device import Device
from imagedelta.bundles import MAX_SHARED_BYTES
from tests.unit.edge.world import APP_1, APP_2, CHUNK, MadeBundle, World, make_bundle, noise

PATCH_OF_NOISE = noise(300_000, 9)


def a_bundle_of_noise(number: int, **changes: object) -> MadeBundle:
    return make_bundle(
        patch=noise(200_000, number),
        number=number,
        bundle_id=f"bundle-{number}",
        transfer_id=f"transfer-{number}",
        target_image_id="sha256:" + f"{number:064x}",
        **changes,
    )


def fetched(world: World, bundle: MadeBundle) -> int:
    """Bytes of the patch that crossed the link."""
    return world.outbox.served[bundle.head.patch_sha256]


def fetch_until(world: World, device: Device, bundle: MadeBundle, size: int) -> None:
    for _ in range(1000):
        if fetched(world, bundle) >= size:
            return
        device.turn()
        world.clock.now += 0.1
    raise AssertionError(f"{fetched(world, bundle)} bytes of {size} after 1000 turns")


def test_a_shared_bundle_makes_the_image_and_each_byte_of_the_patch_comes_once() -> None:
    world = World(APP_1)
    bundle = make_bundle()
    name = world.share(bundle)

    world.run()

    assert world.final_report() == ("succeeded", None)
    assert world.references()["app:2"] == APP_2.image_id
    assert fetched(world, bundle) == bundle.head.patch_bytes
    assert world.outbox.served[name] == len(bundle.before) + len(bundle.chunks)
    assert world.leftovers() == []


def test_what_comes_into_the_inbox_is_the_composed_bundle_byte_for_byte() -> None:
    world = World(APP_1)
    bundle = a_bundle_of_noise(7, source_image_ids=())
    world.share(bundle)
    device = world.boot()

    while (name := f"inbox/{bundle.name}") not in world.disk.files():
        device.turn()
        world.clock.now += 0.1

    assert world.disk.files()[name] == bundle.data


@pytest.mark.parametrize("every", [3_000, 10_000, 40_000])
def test_a_link_cut_again_and_again_brings_each_byte_of_the_patch_once(every: int) -> None:
    world = World(APP_1)
    world.outbox.piece_bytes = 500
    bundle = make_bundle()
    world.share(bundle)
    world.outbox.cut_every = every

    world.run(turns=3000)

    assert world.final_report() == ("succeeded", None)
    assert fetched(world, bundle) == bundle.head.patch_bytes


def test_a_device_restarted_while_it_fetches_goes_on_where_it_was() -> None:
    world = World(APP_1)
    bundle = make_bundle()
    world.share(bundle)
    for _ in range(60):
        device = world.boot()
        for _ in range(3):
            device.turn()
            world.clock.now += 0.2
        device.stop()

    assert world.final_report() == ("succeeded", None)
    assert fetched(world, bundle) == bundle.head.patch_bytes


def test_a_grant_taken_back_in_the_middle_holds_up_this_bundle_alone() -> None:
    world = World(APP_1)
    bundle, other = make_bundle(chunk_bytes=4096), a_bundle_of_noise(8)
    world.share(bundle)
    device = world.boot()
    fetch_until(world, device, bundle, 50_000)

    world.outbox.opened_by[bundle.head.patch_sha256] = "sp=r&sig=another"
    world.publish(other)
    world.turn(device, 200)

    half = fetched(world, bundle)
    assert half < bundle.head.patch_bytes
    assert world.outbox.served[other.name] == len(other.before) + len(other.patch)
    assert world.states() == ["receiving"], "a device that waits for its grant reports nothing over and over"

    world.grant(bundle, "sp=r&sig=another")
    world.run(device)

    assert world.final_report() == ("succeeded", None)
    assert fetched(world, bundle) == bundle.head.patch_bytes


def test_a_grant_that_comes_late_is_used_when_the_twin_brings_it() -> None:
    world = World(APP_1)
    bundle = make_bundle()
    world.share(bundle, granted=False)
    device = world.boot()
    world.turn(device, 400)
    assert (fetched(world, bundle), world.states()) == (0, ["receiving"])

    world.grant(bundle, "sp=r&sig=1")
    world.turn(device, 70)

    assert world.final_report() == ("succeeded", None)


def test_a_missing_patch_is_waited_for_and_paid_bytes_are_kept() -> None:
    world = World(APP_1)
    bundle = make_bundle()
    world.share(bundle)
    device = world.boot()
    fetch_until(world, device, bundle, 50_000)
    patch = world.outbox.blobs.pop(bundle.head.patch_sha256)
    world.turn(device, 100)

    world.outbox.blobs[bundle.head.patch_sha256] = patch
    world.run(device, turns=2000)

    assert world.final_report() == ("succeeded", None)
    assert fetched(world, bundle) == bundle.head.patch_bytes


@pytest.mark.parametrize("patch", [PATCH_OF_NOISE, b"", b"short"])
def test_a_patch_of_another_size_is_never_taken(patch: bytes) -> None:
    world = World(APP_1)
    bundle = make_bundle()
    world.share(bundle)
    world.outbox.put(bundle.head.patch_sha256, patch)

    world.turn(world.boot(), 200)

    assert world.states() == ["receiving"]
    assert "app:2" not in world.references()


def test_another_patch_of_the_same_size_is_refused_at_its_first_chunk() -> None:
    world = World(APP_1)
    bundle = make_bundle()
    world.share(bundle)
    world.outbox.put(bundle.head.patch_sha256, noise(bundle.head.patch_bytes, 1))

    world.run()

    assert world.final_report() == ("failed", "bundle.damaged")
    assert fetched(world, bundle) <= 3 * CHUNK + 3 * world.outbox.piece_bytes
    assert world.leftovers() == []


def test_nothing_of_a_patch_is_fetched_for_a_head_that_is_not_sealed_or_not_wanted() -> None:
    world = World(APP_1)
    for number, made in enumerate(
        (
            make_bundle(sealer=None),
            make_bundle(device_id="ship-2", number=8, transfer_id="t-8", bundle_id="b-8"),
            make_bundle(platform="linux/s390x", number=9, transfer_id="t-9", bundle_id="b-9"),
        )
    ):
        world.share(made, f"sp=r&sig={number}")

    world.run()

    assert fetched(world, make_bundle()) == 0
    assert world.final_report() == ("failed", "seal.missing")
    assert world.final_report("t-9") == ("failed", "bundle.platform")
    assert world.hub.reported["refusals"] == [{"bundle": "b-8", "code": "bundle.other_device"}]
    assert world.leftovers() == []


@pytest.mark.parametrize(
    ("file", "code"),
    [
        (b"", "content.truncated"),
        (b"no bundle at all" * 10, "content.invalid"),
        (bytes(MAX_SHARED_BYTES + 1), "content.limit_exceeded"),
    ],
)
def test_a_file_that_is_no_shared_bundle_is_refused_once_and_the_next_one_goes_on(file: bytes, code: str) -> None:
    world = World(APP_1)
    world.outbox.put("1-000000000001-transfer-9-1.shared", file)
    world.share(make_bundle())

    world.run()

    assert world.final_report() == ("succeeded", None)
    assert world.hub.reported["refusals"] == [{"bundle": "1-000000000001-transfer-9-1.bundle", "code": code}]


def test_a_wrong_chunk_list_is_refused_before_the_patch_is_asked_for() -> None:
    world = World(APP_1)
    bundle = make_bundle()
    world.share(replace(bundle, chunks=bytes(len(bundle.chunks))))

    world.run()

    assert world.final_report() == ("failed", "content.digest_mismatch")
    assert fetched(world, bundle) == 0


def test_a_shared_bundle_that_is_withdrawn_and_comes_again_goes_on_with_what_is_here() -> None:
    world = World(APP_1)
    bundle = make_bundle()
    name = world.share(bundle)
    device = world.boot()
    fetch_until(world, device, bundle, 50_000)

    world.outbox.remove(name)
    world.clock.now += 100
    world.run(device)
    assert world.states() == ["receiving"]

    world.share(bundle)
    world.clock.now += 100
    world.run(device)
    assert world.final_report() == ("succeeded", None)
    assert fetched(world, bundle) == bundle.head.patch_bytes
    assert world.leftovers() == []


def test_a_full_disk_holds_up_a_shared_bundle_as_any_other() -> None:
    world = World(APP_1)
    bundle = make_bundle()
    world.share(bundle)
    world.settings = replace(world.settings, reserve_bytes=2**40)

    world.turn(world.boot(), 30)

    assert world.final_report() == ("blocked", "disk.full")
    assert fetched(world, bundle) == 0


def test_the_inventory_says_whether_shared_bundles_are_fetched() -> None:
    world = World(APP_1)
    world.run()
    world.settings = replace(world.settings, shared_bundles=False)
    world.run()

    assert [inventory.bundle_forms for inventory in world.hub.inventories] == [["shared"], None]
