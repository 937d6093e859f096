from __future__ import annotations

import gzip
import random
from pathlib import Path

from demo.images import BuiltImage
from demo.layers import Layer, text_file, write_layer
from demo.pulls import compressed_bytes, pulled_bytes
from imagedelta.archives.model import image_from_config
from tests.images import an_image


def a_layer(folder: Path, name: str, size: int) -> Layer:
    content = random.Random(name).randbytes(size).hex()
    return write_layer([text_file(name, content, 5)], folder / f"{name}.tar", 5)


def an_image_of(*layers: Layer) -> BuiltImage:
    return BuiltImage(image_from_config(an_image({"a": b"a"}).image.config), layers)


def test_a_pull_moves_the_compressed_layers_that_the_device_lacks_and_each_of_them_once(tmp_path: Path) -> None:
    base, old, new, tool = (a_layer(tmp_path, name, 50_000) for name in ("base", "old", "new", "tool"))
    images = {"app:1": an_image_of(base, old), "app:2": an_image_of(base, new), "tool:1": an_image_of(base, new, tool)}
    config = len(images["app:2"].image.config)

    updated = dict(pulled_bytes(images, ["app:1"], ["app:2", "tool:1"]))
    first = dict(pulled_bytes(images, [], ["app:2"]))

    assert updated == {
        name: compressed_bytes(layer.path) + config for name, layer in (("app:2", new), ("tool:1", tool))
    }
    assert first == {"app:2": compressed_bytes(base.path) + compressed_bytes(new.path) + config}


def test_a_layer_is_weighed_as_gzip_writes_it(tmp_path: Path) -> None:
    layer = a_layer(tmp_path, "layer", 2_000_000)  # more than one piece

    assert compressed_bytes(layer.path) == len(gzip.compress(layer.path.read_bytes(), 6))
