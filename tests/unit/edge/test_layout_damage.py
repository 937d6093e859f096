"""The layout's own records are damaged on the disk: they are made good, and no bundle pays for it."""

from __future__ import annotations

import errno
import json

import pytest

from edge_module.damage import DamageLog
from edge_module.engines import EngineDamaged
from edge_module.engines.layout import LayoutEngine
from imagedelta.archives import sha256_id
from imagedelta.errors import DependencyError
from tests.engines.place import listed, make
from tests.images import descriptor
from tests.simulators.files import FileSystemSimulator
from tests.unit.edge.world import APP_1, APP_2, OTHER, World, make_bundle

INDEX, COPY = "images/index.json", "images/index.copy.json"
DAMAGE = {
    "missing": None,
    "zero-length": b"",
    "half": "half",
    "zeros": bytes(500),
    "garbage": b"\xff\xfe{]",
    "deep": b'{"manifests":' + b"[" * 100_000,
    "deep-and-closed": b'{"manifests":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "a list": b"[]",
    "no manifests": b"{}",
    "manifests of another type": b'{"manifests": {"a": 1}}',
    "entries of another type": b'{"manifests": [1, null]}',
    "huge": b" " * (5 * 1024 * 1024),
}


def damage(disk: FileSystemSimulator, name: str, kind: str) -> None:
    data = DAMAGE[kind]
    if data is None:
        disk.remove(name)
    else:
        whole = disk.files()[name]
        disk.put(name, whole[: len(whole) // 2] if isinstance(data, str) else data)


def a_disk() -> FileSystemSimulator:
    disk = FileSystemSimulator()
    engine = LayoutEngine(disk)
    make(engine, APP_1, "app:1")
    engine.name_image(APP_1.image_id, "app:latest")
    make(engine, OTHER)
    return disk


WHOLE = {APP_1.image_id: ("app:1", "app:latest"), OTHER.image_id: ()}


def manifest_file(disk: FileSystemSimulator, reference: str) -> str:
    (image,) = (each for each in LayoutEngine(disk).images() if reference in each.references)
    return f"images/blobs/sha256/{str(image.digest_of(reference))[7:]}"


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_index_is_made_good_with_every_image_and_name(kind: str) -> None:
    disk = a_disk()
    before = disk.files()[INDEX]

    damage(disk, INDEX, kind)

    assert listed(LayoutEngine(disk)) == WHOLE
    assert disk.files()[INDEX] == before


@pytest.mark.parametrize("kind", DAMAGE)
def test_where_the_copy_is_damaged_too_the_images_follow_from_the_blobs_without_names(kind: str) -> None:
    disk = a_disk()

    damage(disk, INDEX, kind)
    damage(disk, COPY, kind)

    assert listed(LayoutEngine(disk)) == {APP_1.image_id: (), OTHER.image_id: ()}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_copy_alone_is_written_anew_at_start(kind: str) -> None:
    disk = a_disk()

    damage(disk, COPY, kind)
    LayoutEngine(disk).clean()

    assert disk.files()[COPY] == disk.files()[INDEX]


def test_what_is_left_of_a_damaged_index_is_kept_for_people() -> None:
    disk = a_disk()

    damage(disk, INDEX, "half")
    LayoutEngine(disk).images()

    assert disk.files()["damaged/000001-images_index.json"] == disk.files()[INDEX][: len(disk.files()[INDEX]) // 2]
    (told,) = DamageLog(disk).told()
    assert (told["file"], told["result"]) == (INDEX, "made again: 3 entries from its copy, 0 images from the blobs")


@pytest.mark.parametrize("left", [None, 0, 50])
def test_a_manifest_of_our_own_that_is_damaged_is_made_again_out_of_config_and_layers(left: int | None) -> None:
    disk = a_disk()
    name = manifest_file(disk, "app:1")
    before = disk.files()[name]

    if left is None:
        disk.remove(name)
    else:
        disk.put(name, before[:left])

    assert listed(LayoutEngine(disk)) == WHOLE
    assert disk.files()[name] == before


def test_index_copy_and_manifest_all_lost_still_give_the_image() -> None:
    disk = a_disk()
    disk.remove(manifest_file(disk, "app:1"))
    disk.remove(INDEX)
    disk.remove(COPY)

    assert set(listed(LayoutEngine(disk))) == set(WHOLE)


@pytest.mark.parametrize("left", [None, 0, 50])
def test_a_damaged_config_hides_its_image_alone_and_the_image_can_be_made_anew(left: int | None) -> None:
    disk = a_disk()
    name = f"images/blobs/sha256/{APP_1.image_id[7:]}"
    config = disk.files()[name]
    if left is None:
        disk.remove(name)
    else:
        disk.put(name, config[:left])

    assert listed(LayoutEngine(disk)) == {OTHER.image_id: ()}
    make(LayoutEngine(disk), APP_1)
    assert listed(LayoutEngine(disk)) == WHOLE


@pytest.mark.parametrize("marker", [None, b"", b"{", b"[]"])
def test_the_mark_of_a_layout_is_written_again(marker: bytes | None) -> None:
    disk = a_disk()
    before = disk.files()["images/oci-layout"]
    if marker is None:
        disk.remove("images/oci-layout")
    else:
        disk.put("images/oci-layout", marker)

    LayoutEngine(disk).clean()

    assert listed(LayoutEngine(disk)) == WHOLE
    assert disk.files()["images/oci-layout"] == before


def test_an_image_that_calls_the_blobs_of_another_one_its_layers_does_not_cost_that_one_anything() -> None:
    disk = a_disk()
    config = OTHER.image.config.replace(b"/run", b"/lie")
    lie = {
        "schemaVersion": 2,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": APP_1.image.diff_ids[0]}],
    }
    for data in (config, manifest := json.dumps(lie).encode()):
        disk.put(f"images/blobs/sha256/{sha256_id(data)[7:]}", data)
    entry = descriptor("application/vnd.oci.image.manifest.v1+json", manifest)
    disk.put(INDEX, _index([*_entries(disk), entry]))
    engine = LayoutEngine(disk)
    assert sha256_id(config) in listed(engine)

    assert engine.drop_damaged(OTHER.image.diff_ids) == ()

    assert WHOLE.items() <= listed(LayoutEngine(disk)).items()


def test_collecting_takes_nothing_while_it_is_not_known_what_a_damaged_manifest_needs() -> None:
    disk = a_disk()
    disk.remove(manifest_file(disk, "app:1"))
    layer = f"images/blobs/sha256/{APP_1.image.diff_ids[0][7:]}"
    whole = disk.files()[layer]
    disk.remove(layer)  # so that the manifest cannot be made again
    before = disk.files()

    engine = LayoutEngine(disk)
    assert engine.collect() == 0
    engine.remove_image(OTHER.image_id)

    assert set(before) - set(disk.files()) == set()
    disk.put(layer, whole)
    assert listed(LayoutEngine(disk)) == {APP_1.image_id: ("app:1", "app:latest")}
    assert LayoutEngine(disk).collect() > len(OTHER.layers[0])


def test_blobs_that_look_like_documents_and_are_none_disturb_no_repair() -> None:
    disk = a_disk()
    for data in (b"{", b"{}", b'{"config": 1}', b'{"rootfs": {"diff_ids": 3}}', b"{" * 9999, b'{"manifests": [{}, 1]}'):
        disk.put(f"images/blobs/sha256/{sha256_id(data)[7:]}", data)
        disk.put(f"images/blobs/sha256/{'0' * 63}{len(data) % 10}", data)
    disk.put("images/blobs/sha256/notes.txt", b"{}")
    disk.remove(INDEX)
    disk.remove(COPY)

    assert set(listed(LayoutEngine(disk))) == set(WHOLE)


def test_entries_that_name_files_outside_the_folder_are_passed_over() -> None:
    disk = a_disk()
    for digest in ("sha256:" + "../" * 21 + "x", "sha256:" + "A" * 64, "md5:1", 7, None, {"a": 1}):
        entry = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "annotations": [1]}
        entries = [*_entries(disk), entry]
        disk.put(INDEX, _index(entries))

    engine = LayoutEngine(disk)
    assert listed(engine) == WHOLE
    assert engine.name_image(OTHER.image_id, "app:1").references == ("app:1",)
    engine.collect()
    engine.remove_image(OTHER.image_id)
    assert listed(LayoutEngine(disk)) == {APP_1.image_id: ("app:latest",)}


def test_an_index_that_cannot_be_replaced_is_told_as_the_engine_s_own_damage(monkeypatch) -> None:
    disk = a_disk()
    damage(disk, INDEX, "half")

    def unable(old: str, new: str) -> None:
        raise DependencyError(f"{new}: Read-only file system", code="disk.failing")

    monkeypatch.setattr(disk, "rename", unable)

    with pytest.raises(EngineDamaged) as raised:
        LayoutEngine(disk).images()
    assert (raised.value.code, raised.value.retryable) == ("engine.damaged", True)


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("via", ["inbox", "outbox"])
def test_a_damaged_index_costs_no_bundle_and_silences_nothing(kind: str, via: str) -> None:
    world = World(APP_1)
    damage(world.disk, INDEX, kind)
    if via == "inbox":
        world.drop_into_inbox(make_bundle())
    else:
        world.publish(make_bundle())

    world.run()

    assert world.final_report() == ("succeeded", None)
    assert world.references() == {"app:1": APP_1.image_id, "app:2": APP_2.image_id}
    assert world.leftovers() == []
    assert [told["file"] for told in world.hub.reported["damage"]] == [INDEX]


def test_a_disk_that_is_full_or_takes_no_writes_does_not_keep_the_engine_from_being_opened() -> None:
    for error in (errno.ENOSPC, errno.EROFS):
        disk = FileSystemSimulator()
        disk.fail_at(1, error, count=1 << 30)

        assert LayoutEngine(disk).images() == []

        disk.heal()
        make(LayoutEngine(disk), APP_1, "app:1")


def test_a_damaged_index_on_a_full_disk_waits_and_is_made_good_when_there_is_room() -> None:
    disk = a_disk()
    damage(disk, INDEX, "half")
    disk.fail_at(1, errno.ENOSPC, count=1 << 30)
    engine = LayoutEngine(disk)

    with pytest.raises(DependencyError) as raised:
        engine.images()
    assert raised.value.code == "disk.full"

    disk.heal()
    assert listed(engine) == WHOLE


@pytest.mark.parametrize("size", [0, 100])
def test_a_target_with_a_cut_layer_is_made_whole_and_not_answered_as_present(size: int) -> None:
    world = World(APP_1, APP_2)
    name = f"images/blobs/sha256/{APP_2.image.diff_ids[-1][7:]}"
    world.disk.put(name, world.disk.files()[name][:size])
    world.drop_into_inbox(make_bundle())

    world.run()

    assert world.final_report() == ("succeeded", None)
    assert world.disk.files()[name] == APP_2.layers[-1]
    assert world.references() == {"app:1": APP_1.image_id, "app:2": APP_2.image_id}


def _entries(disk: FileSystemSimulator) -> list[object]:
    return list(json.loads(disk.files()[INDEX])["manifests"])


def _index(entries: list[object]) -> bytes:
    return json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
