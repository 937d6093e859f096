"""The stored vectors: what the format document promises, read by our reader and by the second one."""

import io
import json
import re

import pytest

from imagedelta.delta import BytesReader, apply_patch, read_patch_header
from imagedelta.delta.coders import BROTLI, LZMA2, LZMA2_PRIMED, RAW
from imagedelta.delta.items import KEEP, Way
from imagedelta.errors import ImageDeltaError
from tests.unit.delta.patches import MemorySink
from tests.vectors import make
from tests.vectors.reader import Patch

FOLDER = make.FOLDER / "patch"
VECTORS = json.loads((FOLDER / "vectors.json").read_bytes())
GOOD = [name for name in VECTORS if name.startswith("good")]
BAD = [name for name in VECTORS if not name.startswith("good")]
SOURCES = (make.SOURCE, make.MODULES_1)
SOURCE_LAYERS = {
    diff_id: (FOLDER / f"source-{diff_id[7:19]}.tar").read_bytes()
    for source in SOURCES
    for diff_id in source.image.diff_ids
}
SOURCE_CONFIGS = {source.image_id: (FOLDER / f"source-{source.image_id[7:19]}.json").read_bytes() for source in SOURCES}


def stored(name: str) -> bytes:
    return (FOLDER / f"{name}.imgdelta").read_bytes()


def apply(patch: bytes) -> tuple[str, bytes, MemorySink]:
    sink = MemorySink()
    sources = {diff_id: BytesReader(tar) for diff_id, tar in SOURCE_LAYERS.items()}
    image = apply_patch(io.BytesIO(patch), sources.__getitem__, SOURCE_CONFIGS.__getitem__, sink)
    return image.image_id, image.config, sink


def test_the_formats_still_give_the_stored_bytes():
    made = make.files()

    folders = (make.FOLDER / "patch", make.FOLDER / "bundle")
    on_disk = {f"{path.parent.name}/{path.name}": path.read_bytes() for folder in folders for path in folder.iterdir()}
    assert sorted(made) == sorted(on_disk)
    assert [name for name in made if made[name] != on_disk[name]] == []


@pytest.mark.parametrize("name", GOOD)
def test_a_good_vector_makes_its_image(name):
    image_id, _, sink = apply(stored(name))

    assert image_id == VECTORS[name]["imageId"]
    assert set(sink.layers) == set(VECTORS[name]["layers"])


@pytest.mark.parametrize("name", GOOD)
def test_the_second_reader_agrees_on_a_good_vector(name):
    _, config, sink = apply(stored(name))

    assert Patch(stored(name), SOURCE_LAYERS, SOURCE_CONFIGS).apply() == (config, sink.layers)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_vector_is_refused_with_its_code(name):
    with pytest.raises(ImageDeltaError) as refusal:
        apply(stored(name))

    assert re.fullmatch(VECTORS[name]["code"].replace("*", ".*"), refusal.value.code)


def test_good_vectors_use_every_way_and_coder():
    headers = [read_patch_header(io.BytesIO(stored(name))) for name in GOOD]
    items = {item for name in GOOD for item in Patch(stored(name), SOURCE_LAYERS, SOURCE_CONFIGS).streams[2].data}

    assert {item & 0x0F for item in items} >= set(Way) - {Way.CODE, Way.NONE}
    assert any(item & KEEP for item in items)
    assert {stream.coder for header in headers for stream in header.streams} == {RAW, LZMA2, BROTLI, LZMA2_PRIMED}
