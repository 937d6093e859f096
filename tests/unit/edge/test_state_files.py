"""Every file the module keeps for itself, damaged in every way: it starts, works and tells."""

from __future__ import annotations

import copy
import errno
import json
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from pydantic import TypeAdapter

from edge_module.damage import MAX_FILES, DamageLog
from edge_module.state_files import StateFiles
from tests.images import BuiltImage
from tests.simulators.files import FileSystemSimulator
from tests.unit.edge.world import APP_1, APP_2, OTHER, World, make_bundle, patch_of

DEEP = b"[" * 100_000
HUGE = 9 * 1024 * 1024


def other_types(value: Any) -> Any:
    """The same shape, each value of another type."""
    if isinstance(value, dict):
        return {key: other_types(each) for key, each in value.items()} or 7
    return {"of": "another type"} if isinstance(value, str | list) or value is None else "text"


def _as_other_types(data: bytes) -> bytes:
    try:
        return json.dumps(other_types(json.loads(data))).encode()
    except ValueError:
        return json.dumps(other_types(data.decode("latin1"))).encode()


FAULTS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda data: data[: len(data) // 2],
    "zeros": lambda data: bytes(len(data)),
    "garbage": lambda data: bytes(each ^ 0xA5 for each in data),
    "other-types": lambda data: _as_other_types(data),
    "a-list": lambda _: b"[1, 2]",
    "null": lambda _: b"null",
    "deep": lambda _: DEEP,
    "deep-inside": lambda data: data.rstrip()[:-1] + b', "more": ' + DEEP,
    "huge": lambda _: b" " * HUGE,
}
ELSE = ("missing", "folder", "pipe", "eio", "eacces")
JSON_FILES = {
    "a finished job": "journal/transfer-0-1.json",
    "the open job": "journal/transfer-1-1.json",
    "the counters": "journal/device.json",
    "the counters' copy": "journal/device.copy",
    "a message": "outbox/",
    "desired properties": "state/desired.json",
}


@cache
def _lived_in() -> FileSystemSimulator:
    """The disk of a ship that has done one transfer, and is amid the second; its hub does not answer."""
    world = World(APP_1)
    patch, memory = patch_of(3)
    first = {"bundle_id": "bundle-0", "transfer_id": "transfer-0", "number": 6, "reference": "other:1"}
    world.publish(
        make_bundle(
            patch=patch, memory_bytes=memory, source_image_ids=(), target_image_id=OTHER.image_id, floor=5, **first
        )
    )
    device = world.run()
    world.hub.reachable = False
    bundle = make_bundle()
    world.publish(bundle)
    world.clock.now += 100
    while world.outbox.served[bundle.name] < len(bundle.data) * 3 // 4:
        device.turn()
        world.clock.now += 0.01
    device.stop()
    return world.disk


def a_ship() -> World:
    world = World(keep_disk=copy.deepcopy(_lived_in()))
    world.publish(make_bundle())
    return world


def spoil(world: World, file: str, fault: str) -> str:
    """Damage the file; ``file`` is the start of its name."""
    name = next(each for each in sorted(world.disk.files()) if each.startswith(file))
    if fault == "missing":
        world.disk.remove(name)
    elif fault in ("folder", "pipe"):
        world.disk.put_no_file(name, "folder" if fault == "folder" else "other")
    elif fault == "eio":
        world.disk.make_unreadable(name, errno.EIO)
    elif fault == "eacces":
        world.disk.make_unreadable(name, errno.EACCES, opening=True)
    else:
        world.disk.put(name, FAULTS[fault](world.disk.files()[name]))
    return name


def assert_done(world: World) -> None:
    assert world.references() == {"app:1": APP_1.image_id, "app:2": APP_2.image_id, "other:1": OTHER.image_id}
    assert world.final_report() == ("succeeded", None)
    assert world.states().count("succeeded") == 1
    assert world.states("transfer-0") in ([], ["succeeded"])
    assert world.leftovers() == []


@pytest.mark.parametrize("fault", [*FAULTS, *ELSE])
@pytest.mark.parametrize("file", JSON_FILES)
def test_a_damaged_state_file_is_told_and_costs_no_bundle(file: str, fault: str) -> None:
    world = a_ship()
    name = spoil(world, JSON_FILES[file], fault)

    world.run()

    assert_done(world)
    told = [each["file"] for each in world.hub.reported.get("damage") or []]
    assert told == [] if fault == "missing" else told == [name]
    again = world.boot()
    world.turn(again, 10)
    assert world.hub.inventories[-1].sequence > world.hub.inventories[0].sequence
    assert world.hub.reported["disk"]["state"] == "ok"


MANIFEST = "images/blobs/sha256/18ec"
MADE_AGAIN = {
    "a chunk list": "downloads/2-000000000007-transfer-1-1.bundle.chunks",
    "an opening": "downloads/2-000000000007-transfer-1-1.bundle.opening",
    "the link's cost": "downloads/{patch}.cost",
    "a part": "downloads/{patch}.part",
    "the index": "images/index.json",
    "the index's copy": "images/index.copy.json",
    "the installation": "images/installation.json",
    "the installation's copy": "images/installation.copy.json",
    "the layout's marker": "images/oci-layout",
    "a manifest": MANIFEST,
}


@pytest.mark.parametrize("fault", [*FAULTS, *ELSE])
@pytest.mark.parametrize("file", MADE_AGAIN)
def test_what_can_be_fetched_or_made_again_is(file: str, fault: str) -> None:
    world = a_ship()
    installation = world.engine().installation_id()
    spoil(world, MADE_AGAIN[file].format(patch=make_bundle().head.patch_sha256), fault)

    world.run()

    assert_done(world)
    assert world.engine().installation_id() == installation
    assert {each.installation_id for each in world.hub.inventories} == {installation}
    assert world.hub.reported["disk"]["state"] == "ok"


@pytest.mark.parametrize("fault", [*FAULTS, *ELSE])
@pytest.mark.parametrize("image", [APP_1, OTHER], ids=["the source", "another image"])
def test_an_image_whose_config_is_lost_costs_that_image_alone(image: BuiltImage, fault: str) -> None:
    """And no bundle: the cloud is told what is missing, and plans anew."""
    world = a_ship()
    spoil(world, f"images/blobs/sha256/{image.image_id[7:]}", fault)

    world.run()

    assert world.final_report()[0] == ("source_missing" if image is APP_1 else "succeeded")
    listed = {each.image_id for each in world.hub.inventories[-1].images}
    assert listed == {APP_1.image_id, OTHER.image_id, APP_2.image_id} - (
        {image.image_id} if image is OTHER else {APP_1.image_id, APP_2.image_id}
    )


@pytest.mark.parametrize("fault", ["file", "pipe"])
@pytest.mark.parametrize("folder", ["journal", "outbox", "state", "damaged"])
def test_what_stands_in_the_place_of_a_folder_is_moved_away(folder: str, fault: str) -> None:
    world = World(APP_1)
    world.publish(make_bundle())
    if fault == "file":
        world.disk.put(folder, b"a file")
    else:
        world.disk.put_no_file(folder, "other")

    world.run()

    assert world.final_report() == ("succeeded", None)
    assert world.leftovers() == []


def test_what_was_set_aside_is_told_again_after_a_restart_until_the_folder_is_emptied() -> None:
    disk = FileSystemSimulator()
    disk.put("journal/a.json", b"{")

    DamageLog(disk).set_aside("journal/a.json", "it is cut", "its bundle counts as new")

    told = [{"file": "journal/a.json", "problem": "it is cut", "result": "its bundle counts as new"}]
    assert DamageLog(disk).told() == told
    assert disk.files()["damaged/000001-journal_a.json"] == b"{"
    running = DamageLog(disk)
    assert running.told() == told
    for name in disk.list("damaged"):
        disk.remove(f"damaged/{name}")
    assert running.told() == []


def test_what_another_process_made_good_is_told_too() -> None:
    """An image is rebuilt by a child process; the parent talks to the hub."""
    disk = FileSystemSimulator()
    parent = DamageLog(disk)

    for _ in range(3):
        DamageLog(disk).note("images/index.json", "it is missing", "made again")

    assert parent.told() == [{"file": "images/index.json", "problem": "it is missing", "result": "made again"}]


def test_a_disk_that_takes_no_note_keeps_no_secret() -> None:
    disk = FileSystemSimulator()
    damage = DamageLog(disk)
    disk.put("journal/a.json", b"{")
    disk.fail_at(1, errno.EROFS, math.inf)

    for _ in range(2):
        assert not damage.set_aside("journal/a.json", "it is cut", "its bundle counts as new")
        damage.note("images/index.json", "it is missing", "made again")

    assert [each["file"] for each in damage.told()] == ["journal/a.json", "images/index.json"]


def test_damaged_files_do_not_fill_the_disk() -> None:
    disk = FileSystemSimulator()
    damage = DamageLog(disk)
    for number in range(3 * MAX_FILES):
        name = f"journal/{number}.json"
        disk.put(name, bytes(HUGE if number == 40 else 1000))
        damage.set_aside(name, "it is damaged", "nothing")

    assert len(disk.list("damaged")) == 2 * MAX_FILES - 1, "of the huge one the reason alone is kept"
    assert disk.list("journal") == []
    assert sum(map(len, disk.files().values())) < 100_000


def test_a_read_only_disk_with_damaged_files_starts_and_tells() -> None:
    world = a_ship()
    for file in JSON_FILES.values():
        spoil(world, file, "cut")
    world.disk.fail_at(1, errno.EROFS, math.inf)

    device = world.boot()
    world.turn(device, 30)

    assert len(world.hub.reported["damage"]) == len(JSON_FILES)
    assert world.hub.reported["disk"]["state"] == "disk.read_only"
    world.disk.heal()
    world.run(device, turns=2000)
    world.run()  # the damaged message leaves the outbox at the next start
    assert_done(world)


def test_no_flipped_bit_is_believed() -> None:
    """Neither a floor that refuses good bundles, nor a pause nobody asked for."""
    for name, data in sorted(_lived_in().files().items()):
        if not name.startswith(tuple(JSON_FILES.values())):
            continue
        adapter = TypeAdapter(dict[str, Any])
        disk = FileSystemSimulator()
        files = StateFiles(disk, "one", adapter, 1024 * 1024, DamageLog(FileSystemSimulator()))
        disk.put("one/one.json", data)
        before = files.read("one.json", "")
        assert before
        for bit in range(8 * len(data)):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            disk.put("one/one.json", bytes(flipped))

            found = files.read("one.json", "")

            assert found is None or before.items() <= found.items(), f"{name}, bit {bit}"
