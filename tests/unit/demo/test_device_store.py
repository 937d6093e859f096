from __future__ import annotations

import json
from pathlib import Path

import pytest

from demo.device_store import answers_to, holds, stored_images
from demo.images import BuiltImage, put_into_layout
from demo.layers import text_file, write_layer
from imagedelta.archives import image_from_config


@pytest.fixture
def image(tmp_path: Path) -> BuiltImage:
    layer = write_layer([text_file("app/a", "content", 5)], tmp_path / "layer.tar", 5)
    config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]}}
    return BuiltImage(image_from_config(json.dumps(config).encode(), ("app:2",)), (layer,))


@pytest.fixture
def layout(tmp_path: Path, image: BuiltImage) -> Path:
    put_into_layout(image, tmp_path / "layout")
    return tmp_path / "layout"


def test_an_image_put_into_a_store_is_found_and_held(layout: Path, image: BuiltImage) -> None:
    [stored] = stored_images(layout)

    assert (stored.reference, stored.image_id) == ("app:2", image.image.image_id)
    assert holds(layout, image.image.image_id)
    assert not holds(layout, "sha256:" + "0" * 64)


def test_a_manifest_finds_an_image_by_tag_or_digest_in_its_registry_only(layout: Path) -> None:
    [stored] = stored_images(layout)

    assert answers_to(layout, "localhost:5000", "localhost:5000/app:2")
    assert answers_to(layout, "localhost:5000", f"localhost:5000/app@{stored.digest}")
    assert not answers_to(layout, "localhost:5000", "elsewhere:5000/app:2")
    assert not answers_to(layout, "localhost:5000", "localhost:5000/app:3")


def test_one_wrong_byte_in_a_layer_means_that_the_image_is_not_held(layout: Path, image: BuiltImage) -> None:
    blob = layout / "blobs" / "sha256" / image.layers[0].diff_id.removeprefix("sha256:")
    content = bytearray(blob.read_bytes())
    content[600] ^= 1
    blob.chmod(0o600)
    blob.write_bytes(content)

    assert not holds(layout, image.image.image_id)


def test_an_image_whose_layer_is_missing_is_neither_listed_nor_held(layout: Path, image: BuiltImage) -> None:
    (layout / "blobs" / "sha256" / image.layers[0].diff_id.removeprefix("sha256:")).unlink()

    assert stored_images(layout) == ()
    assert not holds(layout, image.image.image_id)


def test_a_store_that_nothing_was_put_into_is_empty(tmp_path: Path) -> None:
    assert stored_images(tmp_path) == ()
