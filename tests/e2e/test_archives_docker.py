"""Archives that a real dockerd saved are read, and it loads the ones we write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagedelta.archives import open_archive, write_docker_archive
from tests.images import a_layer, an_image, docker_save

pytestmark = pytest.mark.e2e

IMAGE = an_image(
    {"etc/": b"", "etc/os": b"debian" * 5000, "bin": b"-> usr/bin"},
    {"app/": b"", "app/a.dll": b"a" * 5000},
    references=("localhost/app:1",),
)


def test_an_image_imported_and_saved_by_docker_is_read(daemon, tmp_path):
    tree = a_layer({"etc/": b"", "etc/name": b"from import"})
    (tmp_path / "tree.tar").write_bytes(tree)
    image_id = daemon.docker("import", tmp_path / "tree.tar", "localhost/imported:1").strip()
    daemon.docker("save", "-o", tmp_path / "saved.tar", "localhost/imported:1")

    with open_archive(tmp_path / "saved.tar") as archive:
        (image,) = archive.images
        layer = archive.open_layer(image, 0).read()
    assert (image.image_id, image.references) == (image_id, ("localhost/imported:1",))
    assert b"from import" in layer


def test_an_image_keeps_its_id_and_layers_through_load_and_save(daemon, tmp_path):
    write_docker_archive(tmp_path / "ours.tar", IMAGE.image, layer_sizes(), IMAGE.open_layer)

    daemon.docker("load", "-i", tmp_path / "ours.tar")
    daemon.docker("save", "-o", tmp_path / "saved.tar", "localhost/app:1")

    inspected = json.loads(daemon.docker("image", "inspect", "localhost/app:1"))
    assert (inspected[0]["Id"], tuple(inspected[0]["RootFS"]["Layers"])) == (
        IMAGE.image_id,
        IMAGE.image.diff_ids,
    )
    with open_archive(tmp_path / "saved.tar") as archive:
        assert archive.images == (IMAGE.image,)
        assert [archive.open_layer(IMAGE.image, n).read() for n in range(2)] == list(IMAGE.layers)


def test_an_image_saved_by_id_has_no_name_and_the_same_identity(daemon, tmp_path):
    daemon.docker("load", stdin=docker_save(IMAGE))
    daemon.docker("save", "-o", tmp_path / "saved.tar", IMAGE.image_id)

    with open_archive(tmp_path / "saved.tar") as archive:
        (image,) = archive.images
    assert (image.image_id, image.diff_ids, image.references) == (IMAGE.image_id, IMAGE.image.diff_ids, ())


def test_images_that_share_layers_are_all_read_from_one_save(daemon, tmp_path):
    """Docker stores a shared layer once and links to it."""
    other = an_image(*IMAGE.layers, {"more": b"1" * 1000}, references=("localhost/more:1",))
    daemon.docker("load", stdin=docker_save(IMAGE, other))
    daemon.docker("save", "-o", tmp_path / "saved.tar", "localhost/app:1", "localhost/more:1")

    with open_archive(tmp_path / "saved.tar") as archive:
        found = {image.image_id: layers_in(archive, image) for image in archive.images}
    assert found == {IMAGE.image_id: IMAGE.layers, other.image_id: other.layers}


def layers_in(archive, image) -> tuple[bytes, ...]:
    return tuple(archive.open_layer(image, n).read() for n in range(len(image.diff_ids)))


def layer_sizes() -> list[int]:
    return [len(layer) for layer in IMAGE.layers]


def test_one_layer_used_twice_in_an_image_survives_docker(daemon, tmp_path: Path):
    twice = an_image(IMAGE.layers[1], IMAGE.layers[0], IMAGE.layers[1], references=("localhost/twice:1",))
    sizes = [len(layer) for layer in twice.layers]
    write_docker_archive(tmp_path / "ours.tar", twice.image, sizes, twice.open_layer)

    daemon.docker("load", "-i", tmp_path / "ours.tar")
    daemon.docker("save", "-o", tmp_path / "saved.tar", "localhost/twice:1")

    with open_archive(tmp_path / "saved.tar") as archive:
        assert layers_in(archive, archive.images[0]) == twice.layers
