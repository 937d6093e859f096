"""What the link brings, on a disk that fails a write or a sync, is full, or has damaged what was on it."""

from __future__ import annotations

import errno
from functools import cache

import pytest

from edge_module.device import Device
from tests.simulators.files import MODES
from tests.unit.edge.world import APP_1, APP_2, CHUNK, World, make_bundle

BUNDLE = make_bundle()
PART = f"downloads/{BUNDLE.head.patch_sha256}.part"
OPENING = f"downloads/{BUNDLE.name}.opening"
PIECE = 1024


def a_ship() -> World:
    world = World(APP_1)
    world.publish(BUNDLE)
    return world


@cache
def writes_to_downloads(text: str = "downloads") -> list[int]:
    """When, counted from the start of the module, the disk is asked to change what is fetched."""
    world = a_ship()
    before = len(world.disk.log)
    world.run()
    return [at for at, each in enumerate(world.disk.log[before:], 1) if text in each]


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_any_write_sync_or_rename_may_fail_once_and_nothing_is_fetched_again(error: int) -> None:
    for number in writes_to_downloads():
        world = a_ship()
        world.disk.fail_at(number, error, only="downloads")

        device = world.run(turns=800)
        world.clock.now += 61
        world.run(device)

        assert world.final_report() == ("succeeded", None), number
        assert world.outbox.served[BUNDLE.name] <= BUNDLE.paid_bytes + PIECE, number
        assert world.leftovers() == [], number
        world.disk.reboot(MODES[number % len(MODES)], seed=number)
        assert world.references()["app:2"] == APP_2.image_id, number


def half_fetched() -> tuple[World, Device]:
    world = a_ship()
    device = world.boot()
    while world.outbox.served[BUNDLE.name] < BUNDLE.paid_bytes * 3 // 4:
        device.turn()
    device.stop()
    return world, device


@pytest.mark.parametrize("nth", range(1, 5))
def test_after_a_failed_sync_and_a_power_cut_the_last_good_border_still_holds(nth: int) -> None:
    world = a_ship()
    world.disk.fail_at(writes_to_downloads(f"sync {PART}")[nth], errno.EIO, only=PART)
    device = world.boot()
    while world.outbox.served[BUNDLE.name] < BUNDLE.paid_bytes * 3 // 4:
        device.turn()
        world.clock.now += 1
    world.disk.reboot("dropped")

    world.run()

    assert world.final_report() == ("succeeded", None)
    assert world.outbox.served[BUNDLE.name] <= BUNDLE.paid_bytes + 2 * CHUNK


def test_a_disk_that_is_full_in_the_middle_blocks_and_goes_on_with_the_same_bytes() -> None:
    world, device = half_fetched()
    used = sum(len(data) for data in world.disk.files().values())
    world.disk.capacity = used + 8_000
    world.turn(device, 300, seconds=2)
    assert world.final_report() == ("blocked", "disk.full")

    world.disk.capacity = 1 << 40
    world.run(device, turns=1000)

    assert world.final_report() == ("succeeded", None)
    assert world.outbox.served[BUNDLE.name] <= BUNDLE.paid_bytes + 2 * PIECE


DAMAGES: dict[str, object] = {
    "missing": None,
    "empty": b"",
    "cut": lambda data: data[: len(data) // 2],
    "garbage": lambda data: bytes(255 - byte for byte in data),
    "zeros": lambda data: bytes(len(data)),
    "one-bit": lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :],
    "deep-json": b"[" * 4000,
    "wrong-types": b'{"bytes_fetched": "many", "seconds": [null]}',
    "longer": lambda data: data + bytes(100_000),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("suffix", [".part", ".cost", ".opening", ".chunks"])
def test_damaged_files_of_a_download_cost_no_more_than_what_they_held(suffix: str, damage: str) -> None:
    world, _ = half_fetched()
    [name] = [each for each in world.disk.files() if each.startswith("downloads/") and each.endswith(suffix)]
    data, how = world.disk.files()[name], DAMAGES[damage]
    if how is None:
        world.disk.remove(name)
    else:
        world.disk.put(name, how if isinstance(how, bytes) else how(data))  # type: ignore[operator]

    world.run(turns=800)

    assert world.final_report() == ("succeeded", None)
    assert world.references()["app:2"] == APP_2.image_id
    lost = len(data) if suffix == ".part" else 2 * 4096
    assert world.outbox.served[BUNDLE.name] <= BUNDLE.paid_bytes + lost + 2 * PIECE
    assert world.leftovers() == []


def test_a_part_that_somebody_cuts_while_it_grows_goes_on_from_what_is_left() -> None:
    world, device = half_fetched()
    world.disk.put(PART, world.disk.files()[PART][:40_000])

    world.run(device)

    assert world.final_report() == ("succeeded", None)
    assert world.references()["app:2"] == APP_2.image_id


def test_parts_that_nobody_asks_for_give_way_when_their_room_is_needed() -> None:
    world, device = half_fetched()
    world.outbox.remove(BUNDLE.name)
    other = make_bundle(
        patch=bytes(100_000), number=9, transfer_id="t-9", bundle_id="b-9", target_image_id="sha256:" + "9" * 64
    )
    world.clock.now += 100
    device.turn()
    used = sum(len(data) for data in world.disk.files().values())
    world.disk.capacity = used + 80_000
    world.publish(other)
    world.clock.now += 100
    for _ in range(200):
        device.turn()
        world.clock.now += 0.1

    assert "received" in world.states("t-9")
    assert PART not in world.disk.files()
