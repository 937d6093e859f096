"""Files of transfer tools: preallocated, holed, in several streams, stalled for days, damaged, or no bundles at all."""

from __future__ import annotations

from dataclasses import replace
from typing import BinaryIO

import pytest

from edge_module.device import Device
from tests.unit.edge.world import APP_1, APP_2, MadeBundle, World, make_bundle

BUNDLE = make_bundle()
SIZE = len(BUNDLE.data)
HOUR = 3600.0
LATER = make_bundle(bundle_id="bundle-2", transfer_id="transfer-2", number=8, reference="later:1")


def holed(start: int, end: int) -> bytes:
    return BUNDLE.data[:start] + bytes(end - start) + BUNDLE.data[end:]


UNFINISHED = {
    "nothing written yet": bytes(SIZE),
    "first half written": holed(SIZE // 2, SIZE),
    "second half first": holed(0, SIZE // 2),
    "hole in the patch": holed(70_000, 79_000),
    "hole in the head": holed(20, 60),
    "hole in the seal": holed(BUNDLE.data.index(b"bundle.seal") + 30, BUNDLE.data.index(b"bundle.seal") + 50),
    "stale bytes of another file": (b"\xe5" * SIZE)[: SIZE - 1] + b"x",
    "too short by a byte": BUNDLE.data[:-1],
    "first kilobyte": BUNDLE.data[:1000],
    "nine tenths": BUNDLE.data[: SIZE * 9 // 10],
    "empty": b"",
    "rounded up to a block": BUNDLE.data + bytes(4096 - SIZE % 4096),
}


def a_ship(data: bytes, name: str = BUNDLE.name, *, chunks: bool = False) -> tuple[World, Device]:
    world = World(APP_1)
    world.hub.desired_now = {}
    world.drop_into_inbox(replace(BUNDLE, data=data), name, chunks=chunks)
    return world, world.boot()


def blocked(world: World) -> list[tuple[str, str]]:
    return [(each["what"], each["code"]) for each in world.hub.reported["blocked"] or []]


@pytest.mark.parametrize("chunks", [False, True], ids=["alone", "with its chunk list"])
@pytest.mark.parametrize("what", UNFINISHED)
def test_a_file_that_is_not_finished_is_kept_for_days_and_taken_when_it_is(what: str, chunks: bool) -> None:
    world, device = a_ship(UNFINISHED[what], chunks=chunks)

    world.turn(device, 45, seconds=HOUR)
    assert world.disk.files()[f"inbox/{BUNDLE.name}"] == UNFINISHED[what]
    assert set(world.states()) <= {"blocked"}
    assert (blocked(world), world.hub.reported["refusals"]) == ([(BUNDLE.name, "bundle.incomplete")], [])

    world.drop_into_inbox(BUNDLE)
    world.turn(device, 12)
    assert world.final_report() == ("succeeded", None)
    assert APP_2.image_id in world.image_ids()
    assert (world.leftovers(), world.hub.reported["blocked"]) == ([], None)


def test_it_is_told_once_after_an_hour_in_which_nothing_came() -> None:
    world, device = a_ship(holed(70_000, 79_000))

    world.turn(device, 55, seconds=60)
    assert world.states() == []
    world.turn(device, 30, seconds=HOUR)

    assert world.states() == ["blocked"]
    assert world.final_report() == ("blocked", "bundle.incomplete")


def test_the_chunk_list_says_where_the_hole_is() -> None:
    world, device = a_ship(holed(70_000, 79_000), chunks=True)

    world.turn(device, 20)

    assert world.hub.reported["blocked"][0]["detail"] == "1 of 8 chunks are not the sealed ones, the first is 4"


def test_a_file_that_rests_is_read_again_a_few_times_a_day_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    world, device = a_ship(holed(70_000, 79_000))
    read: list[str] = []
    opened = world.disk.open

    def noted(name: str) -> BinaryIO:
        read.append(name)
        return opened(name)

    monkeypatch.setattr(world.disk, "open", noted)

    world.turn(device, 24 * 60, seconds=60)

    assert 1 <= sum(name.startswith("inbox/") for name in read) <= 8


def test_a_tool_that_writes_in_bursts_makes_the_device_read_a_twentieth_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, device = a_ship(UNFINISHED["second half first"])
    read = 0.0
    opened = world.disk.open

    def slow(name: str) -> BinaryIO:
        nonlocal read
        if name.startswith("inbox/"):
            read += 10.0
            world.clock.now += 10.0
        return opened(name)

    monkeypatch.setattr(world.disk, "open", slow)
    for _ in range(300):
        world.turn(device, 8)
        world.drop_into_inbox(replace(BUNDLE, data=UNFINISHED["second half first"]))

    assert 0 < read < world.clock.now / 15


def test_an_unfinished_file_holds_up_no_other() -> None:
    world, device = a_ship(holed(70_000, 79_000), "0-first.bundle")
    world.drop_into_inbox(LATER)

    world.turn(device, 12)

    assert world.final_report("transfer-2") == ("succeeded", None)
    assert world.disk.list("inbox") == ["0-first.bundle"]


def test_a_file_for_an_image_that_came_another_way_goes_once_nobody_writes_to_it() -> None:
    world, device = a_ship(BUNDLE.data[:70_000], "slow.bundle")
    world.drop_into_inbox(BUNDLE)
    world.turn(device, 12)
    assert world.final_report() == ("succeeded", None)

    for share in range(80_000, SIZE, 5_000):
        world.drop_into_inbox(replace(BUNDLE, data=BUNDLE.data[:share]), "slow.bundle")
        world.turn(device, 8)
        assert "slow.bundle" in world.disk.list("inbox")
    world.drop_into_inbox(BUNDLE, "slow.bundle")
    world.turn(device, 8)

    assert world.disk.list("inbox") == []
    told = [message.message_id for message in world.hub.messages]
    assert told.count("transfer-1:1:2") == 2, "once when it was made, once for the second file"


def test_a_refused_file_stays_in_its_place_until_it_is_whole_and_its_refusal_is_told_at_once() -> None:
    other = make_bundle(platform="linux/arm64")
    world, device = a_ship(other.data[:70_000])

    world.turn(device, 12)
    assert world.final_report() == ("failed", "bundle.platform")
    assert world.disk.list("inbox") == [BUNDLE.name]

    world.drop_into_inbox(replace(BUNDLE, data=other.data))
    world.turn(device, 12)
    assert world.disk.files()[f"refused/000001-{BUNDLE.name}"] == other.data
    assert (world.disk.list("inbox"), world.states()) == ([], ["failed"])


def test_unfinished_files_give_way_when_their_room_is_needed_the_one_first_that_rests_longest() -> None:
    junk = bytes(300_000)
    world, device = a_ship(junk, "old.bundle")
    world.turn(device, 10, seconds=60)
    world.drop_into_inbox(replace(BUNDLE, data=junk), "young.bundle")
    world.turn(device, 5, seconds=HOUR)
    world.disk.capacity = sum(map(len, world.disk.files().values())) + SIZE + 20_000
    world.drop_into_inbox(LATER)

    world.turn(device, 200)

    assert world.final_report("transfer-2") == ("succeeded", None)
    assert world.disk.list("inbox") == ["young.bundle"]


def test_a_transfer_whose_file_gave_way_says_so_and_is_taken_when_it_comes_again() -> None:
    world, device = a_ship(holed(70_000, 79_000))
    world.turn(device, 5, seconds=HOUR)
    world.disk.capacity = sum(map(len, world.disk.files().values())) + 20_000
    world.drop_into_inbox(LATER)
    world.turn(device, 200)
    assert world.final_report() == ("blocked", "bundle.gave_way")
    world.disk.capacity = 1 << 40

    world.drop_into_inbox(BUNDLE)
    world.turn(device, 400)

    assert world.final_report() == ("succeeded", None)


def a_self_contradiction() -> MadeBundle:
    return make_bundle(patch_sha256="0" * 64)


def test_a_seal_that_contradicts_itself_is_refused_once_every_chunk_is_the_sealed_one() -> None:
    world = World(APP_1)
    bundle = a_self_contradiction()
    world.drop_into_inbox(bundle)
    device = world.boot()
    world.turn(device, 12)
    assert world.states() == []

    world.drop_into_inbox(bundle, chunks=True)
    world.turn(device, 12)

    assert world.final_report() == ("failed", "content.digest_mismatch")


def test_bytes_that_this_disk_lost_of_a_download_are_fetched_again_and_nobody_is_blamed() -> None:
    world = World(APP_1)
    world.publish(BUNDLE)
    device = world.boot()
    while f"inbox/{BUNDLE.name}" not in world.disk.files():
        device.turn()
        world.clock.now += 0.1
    world.disk.put(f"inbox/{BUNDLE.name}", holed(70_000, 79_000))

    world.clock.now += 100
    world.run(device)

    assert world.final_report() == ("succeeded", None)
    assert "failed" not in world.states()


def test_a_disk_that_loses_every_download_is_not_fed_for_ever() -> None:
    world = World(APP_1)
    world.publish(BUNDLE)
    device = world.boot()
    for _ in range(1700):
        device.turn()
        if f"inbox/{BUNDLE.name}" in world.disk.files():
            world.disk.put(f"inbox/{BUNDLE.name}", holed(70_000, 79_000))
        world.clock.now += 1

    assert SIZE < world.outbox.served[BUNDLE.name] <= 2 * SIZE
    assert world.states() == ["receiving", "received", "receiving", "received", "blocked"]
    assert world.final_report() == ("blocked", "disk.failing")
