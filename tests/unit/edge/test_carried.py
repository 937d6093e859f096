"""Bundles for any device, which somebody puts into the inbox: they bring an image and change nothing else."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from tests.simulators.files import MODES, FileSystemSimulator, Mode, PowerCut
from tests.unit.bundles.bundles import ANYONE
from tests.unit.edge.world import APP_1, APP_2, MIB, OTHER, STRANGER, MadeBundle, World, make_bundle, patch_of


def a_carried_bundle(**changes: object) -> MadeBundle:
    return make_bundle(**{**ANYONE, "chunks_sha256": "", "priority": 0, **changes})


def carry(world: World, bundle: MadeBundle | None = None, name: str = "app.bundle") -> World:
    world.drop_into_inbox(bundle or a_carried_bundle(), name)
    world.run()
    return world


def reasons(world: World) -> list[str]:
    """Codes of what is kept aside, oldest first."""
    texts = [data.decode() for name, data in sorted(world.disk.files().items()) if name.endswith(".reason.txt")]
    return [text.splitlines()[1].removeprefix("code: ") for text in texts]


@pytest.mark.parametrize("name", ["app.bundle", "app.imgbundle"])
def test_it_becomes_an_image_that_the_inventory_shows_and_no_report_is_made(name: str) -> None:
    world = carry(World(APP_1), name=name)

    assert world.references() == {"app:1": APP_1.image_id, "app:2": APP_2.image_id}
    assert APP_2.image_id in {image.image_id for image in world.hub.inventories[-1].images}
    assert world.hub.reports == []
    assert world.leftovers() == []
    assert reasons(world) == []


def test_it_may_be_put_there_again() -> None:
    world = carry(World(APP_1))

    carry(world, name="again.bundle")

    assert world.references() == {"app:1": APP_1.image_id, "app:2": APP_2.image_id}
    assert (world.leftovers(), reasons(world)) == ([], [])


def test_it_may_be_full() -> None:
    patch, memory = patch_of(2)
    bundle = a_carried_bundle(patch=patch, source_image_ids=(), memory_bytes=memory)

    assert carry(World(), bundle).references() == {"app:2": APP_2.image_id}


def test_the_floor_and_the_numbers_of_transfers_do_not_concern_it() -> None:
    world = World(APP_1)
    patch, memory = patch_of(1)
    full = {"patch": patch, "target_image_id": APP_1.image_id, "source_image_ids": (), "memory_bytes": memory}
    world.drop_into_inbox(make_bundle(**full, number=90, floor=80, reference="app:1"), "by-cloud.bundle")
    world.run()

    carry(world)

    assert world.references()["app:2"] == APP_2.image_id


@pytest.mark.parametrize("holder", ["factory", "transfer"])
def test_it_never_moves_a_name_that_another_image_has(holder: str) -> None:
    world = World(APP_1)
    if holder == "transfer":
        world.drop_into_inbox(make_bundle(reference="app:latest", number=3, floor=0))
        world.run()
        patch, memory = patch_of(3)
        fields = {"patch": patch, "target_image_id": OTHER.image_id, "source_image_ids": (), "memory_bytes": memory}
        carry(world, a_carried_bundle(**fields, reference="app:latest"))
        assert world.references()["app:latest"] == APP_2.image_id
        assert OTHER.image_id in world.image_ids()
    else:
        carry(world, a_carried_bundle(reference="app:1"))
        assert world.references()["app:1"] == APP_1.image_id
        assert APP_2.image_id in world.image_ids()


def test_a_transfer_may_move_a_name_that_it_gave() -> None:
    world = World(APP_1)
    patch, memory = patch_of(3)
    fields = {"patch": patch, "target_image_id": OTHER.image_id, "source_image_ids": (), "memory_bytes": memory}
    carry(world, a_carried_bundle(**fields, reference="app:latest"))
    assert world.references()["app:latest"] == OTHER.image_id

    world.drop_into_inbox(make_bundle(reference="app:latest", number=1, floor=0))
    world.run()

    assert world.references()["app:latest"] == APP_2.image_id


REFUSALS: dict[str, dict[str, object]] = {
    "seal.missing": {"sealer": None},
    "seal.unknown_key": {"sealer": STRANGER},
    "bundle.platform": {"platform": "linux/arm64"},
    "bundle.memory": {"memory_bytes": 100 * MIB},
    "source.missing": {},
}


@pytest.mark.parametrize("code", REFUSALS)
def test_what_is_refused_is_kept_aside_whole_with_the_reason_beside_it(code: str) -> None:
    world = World() if code == "source.missing" else World(APP_1)
    bundle = a_carried_bundle(**REFUSALS[code])

    carry(world, bundle)

    assert world.disk.files()["refused/000001-app.bundle"] == bundle.data
    reason = world.disk.files()["refused/000001-app.bundle.reason.txt"].decode().splitlines()
    assert [line.partition(": ")[0] for line in reason[1:]] == ["code", "what to do"]
    assert reasons(world) == [code]
    assert world.leftovers() == []
    assert APP_2.image_id not in world.image_ids()
    assert world.hub.reported["refusals"][0]["code"] == code


def test_a_refused_file_is_judged_anew_when_it_is_put_back() -> None:
    world = carry(World())
    world.load(APP_1)
    kept = world.disk.files()["refused/000001-app.bundle"]

    carry(world, replace(a_carried_bundle(), data=kept), "000001-app.bundle")

    assert world.references()["app:2"] == APP_2.image_id


def test_it_is_not_taken_from_the_outbox() -> None:
    world = World(APP_1)
    world.publish(a_carried_bundle(), "2-000000000009-transfer-9-1.bundle")

    world.run()

    assert world.image_ids() == {APP_1.image_id}
    assert world.hub.reported["refusals"][0]["code"] == "bundle.other_device"


def test_it_waits_for_room_on_the_disk() -> None:
    world = World(APP_1)
    world.drop_into_inbox(a_carried_bundle(), "app.bundle")
    world.disk.capacity = sum(map(len, world.disk.files().values())) + 100_000
    device = world.boot()
    world.turn(device, 100)
    assert world.disk.list("inbox") == ["app.bundle"]

    world.disk.capacity = 1 << 40
    world.turn(device, 400)

    assert world.references()["app:2"] == APP_2.image_id
    assert reasons(world) == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sealer", [True, False], ids=["taken", "refused"])
def test_power_lost_at_any_write_loses_neither_image_nor_file(mode: Mode, sealer: bool) -> None:
    bundle = a_carried_bundle() if sealer else a_carried_bundle(sealer=STRANGER)
    start = World(APP_1)
    start.drop_into_inbox(bundle, "app.bundle")
    disk: FileSystemSimulator = copy.deepcopy(start.disk)
    before = start.disk.operations
    start.run()
    for at in range(1, start.disk.operations - before + 1):
        world = World(keep_disk=copy.deepcopy(disk))
        world.disk.cut_power_at(at)
        with pytest.raises(PowerCut):
            world.run()
            raise PowerCut("the disk was idle before that")
        world.disk.reboot(mode, seed=at)
        assert world.references()["app:1"] == APP_1.image_id

        world.run()

        assert (APP_2.image_id in world.image_ids()) == sealer
        kept = {data for name, data in world.disk.files().items() if name.endswith("app.bundle")}
        assert kept == (set() if sealer else {bundle.data})
        assert world.leftovers() == []
