"""Images in an OCI layout folder, our own and other tools'."""

from __future__ import annotations

import json

import pytest

from edge_module.engines.layout import LayoutEngine
from edge_module.engines.layout_index import read_entries
from edge_module.files import parent
from imagedelta.archives import open_archive, sha256_id
from tests.engines.place import make
from tests.images import BuiltImage, an_image, gzipped, oci_files
from tests.simulators.files import FileSystemSimulator
from tests.unit.edge.world import APP_1, APP_2, World


def a_layout(*images: BuiltImage, **options) -> FileSystemSimulator:
    disk = FileSystemSimulator()
    for name, data in oci_files(*images, **options).items():
        disk.make_folders(parent(f"images/{name}"))
        disk.put(f"images/{name}", data)
    return disk


def listed(disk: FileSystemSimulator) -> dict[str, tuple[str, ...]]:
    return {image.image_id: image.references for image in LayoutEngine(disk).images()}


def layer_file(image: BuiltImage, position: int) -> str:
    return f"images/blobs/sha256/{image.image.diff_ids[position][7:]}"


def test_one_damaged_image_does_not_hide_the_others() -> None:
    disk = a_layout(APP_1, APP_2)
    disk.remove(layer_file(APP_2, 2))

    assert listed(disk) == {APP_1.image_id: ("app:1",)}


def test_a_new_image_is_added_beside_what_another_tool_wrote() -> None:
    disk = a_layout(APP_1, pack=gzipped)
    engine = LayoutEngine(disk)

    added = make(engine, APP_2, "app:2")

    assert (added.image_id, added.references) == (APP_2.image_id, ("app:2",))
    assert listed(disk) == {APP_1.image_id: ("app:1",), APP_2.image_id: ("app:2",)}


def test_images_of_several_platforms_under_one_name_are_all_listed() -> None:
    arm = an_image({"a": b"arm"}, platform="linux/arm64", references=("multi:1",))
    amd = an_image({"a": b"amd"}, references=("multi:1",))
    files = oci_files(arm, amd)
    index = json.loads(files["index.json"])
    nested = json.dumps({"schemaVersion": 2, "manifests": index["manifests"]}).encode()
    digest = sha256_id(nested)
    files[f"blobs/sha256/{digest[7:]}"] = nested
    entry = {
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "digest": digest,
        "size": len(nested),
        "annotations": {"org.opencontainers.image.ref.name": "multi:1"},
    }
    disk = FileSystemSimulator()
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    for name, data in files.items():
        disk.make_folders(parent(f"images/{name}"))
        disk.put(f"images/{name}", data)

    assert set(listed(disk)) == {arm.image_id, amd.image_id}


def test_a_name_is_in_the_index_once_and_no_image_is_lost_by_moving_it() -> None:
    disk = a_layout(APP_1, APP_2)
    engine = LayoutEngine(disk)

    for image_id in (APP_2.image_id, APP_1.image_id, APP_2.image_id):
        engine.name_image(image_id, "app:latest")
        engine.name_image(image_id, "app:1")

    assert listed(disk) == {APP_1.image_id: (), APP_2.image_id: ("app:1", "app:2", "app:latest")}
    entries = read_entries(disk.files()["images/index.json"])
    assert len(entries) == 4


def test_the_engines_own_reader_of_archives_reads_the_folder(tmp_path) -> None:
    world = World(APP_1, APP_2)
    for name, data in world.disk.files().items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    with open_archive(tmp_path / "images") as archive:
        assert {image.image_id for image in archive.images} == {APP_1.image_id, APP_2.image_id}


def test_what_an_interrupted_run_left_is_removed_at_start() -> None:
    disk = a_layout(APP_1)
    engine = LayoutEngine(disk)
    engine.begin(APP_2.image_id, "app:2", {}, ()).begin(APP_2.image.diff_ids[2], 10).write(b"half")
    disk.put("scratch/kept", b"x")
    disk.put("images/index.json.tmp", b"{")

    engine.clean()

    assert disk.list("images/ingest") == disk.list("scratch") == []
    assert "images/index.json.tmp" not in disk.files()


def test_a_packed_layer_is_unpacked_once_and_its_scratch_removed() -> None:
    disk = a_layout(APP_1, pack=gzipped)
    engine = LayoutEngine(disk)

    with engine.begin(APP_2.image_id, "app:2", {}, [APP_1.image_id]) as work:
        layer = work.find(APP_1.image.diff_ids[1])
        assert layer.read_at(512, 1000) == APP_1.layers[1][512:1512]
        assert work.find(APP_1.image.diff_ids[1]) is layer

    assert disk.list("scratch") == []


@pytest.mark.parametrize("damage", [None, b"", b"\0" * 60, b"[" * 5000, b'{"installationId": 7}', b'{"install'])
def test_the_installation_stays_when_one_of_its_two_records_is_damaged(damage: bytes | None) -> None:
    disk = FileSystemSimulator()
    assert LayoutEngine(disk, new_id=lambda: "one").installation_id() == "one"

    for name in ("images/installation.json", "images/installation.copy.json") * 2:
        if damage is None:
            disk.remove(name)
        else:
            disk.put(name, damage)
        assert LayoutEngine(disk, new_id=lambda: "two").installation_id() == "one"
