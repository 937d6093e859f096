"""The stored vectors: what the format document promises, read by our reader and by the second one."""

import gzip
import io
import json
import random
import re
import zlib

import pytest

from imagedelta.delta import BytesReader, apply_patch, read_patch_header
from imagedelta.delta.format.coders import CODERS
from imagedelta.delta.format.items import KEEP, Way
from imagedelta.errors import ImageDeltaError
from tests.images import a_layer, an_image
from tests.unit.delta.patches import MemorySink, a_patch, layers_of
from tests.vectors import make
from tests.vectors.reader import Patch

FOLDER = make.FOLDER / "patch"
VECTORS = json.loads((FOLDER / "vectors.json").read_bytes())
GOOD = [name for name in VECTORS if name.startswith("good")]
BAD = [name for name in VECTORS if not name.startswith("good")]
SOURCE_LAYERS = {
    diff_id: path.read_bytes()
    for source in make.SOURCES
    for diff_id in source.image.diff_ids
    if (path := FOLDER / f"source-{diff_id[7:19]}.tar").exists()
}
SOURCE_CONFIGS = {
    source.image_id: (FOLDER / f"source-{source.image_id[7:19]}.json").read_bytes() for source in make.SOURCES
}


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


def test_bad_vectors_break_every_rule():
    document = (make.FOLDER.parents[1] / "docs" / "formats" / "patch.md").read_text()

    assert {name.split("-")[0] for name in BAD} == set(re.findall(r"^\| (P\d+) \|", document, re.MULTILINE))


def test_good_vectors_use_every_way_and_coder():
    headers = [read_patch_header(io.BytesIO(stored(name))) for name in GOOD]
    items = {item for name in GOOD for item in Patch(stored(name), SOURCE_LAYERS, SOURCE_CONFIGS).streams[2].data}

    assert {item & 0x0F for item in items} == set(Way)
    assert any(item & KEEP for item in items)
    assert {stream.coder for header in headers for stream in header.streams} == set(CODERS)


NOISE = random.Random(1).randbytes(3000)
TWICE = a_layer({"a": NOISE})
MEMBER = gzip.compress(NOISE[:900], 6, mtime=0)
NAMED = b"\x1f\x8b\x08\x08" + b"\1" * 6
GZIPS = {
    "two members": MEMBER + gzip.compress(b"two " * 99, 6, mtime=0),
    "an empty member between": MEMBER + gzip.compress(b"", 6, mtime=0) + gzip.compress(b"two " * 99, 6, mtime=0),
    "a name without end": MEMBER + NAMED + b"name" * 99,
    "a header over its bound": MEMBER + NAMED + b"x" * 70_000 + b"\0" + zlib.compress(b"text " * 99)[2:-4],
}


@pytest.mark.parametrize("kind", GZIPS)
def test_the_second_reader_agrees_on_gzip_files(tmp_path, kind):
    """Which streams are found must not depend on who looks."""
    source = an_image({"file.gz": GZIPS[kind]})
    target = an_image({"file.gz": gzip.compress(NOISE[:900] + b"more", 6, mtime=0)})
    patch, _ = a_patch(target, source, scratch=tmp_path)

    read = Patch(patch, layers_of(source), {source.image_id: source.image.config}).apply()

    assert read == (target.image.config, layers_of(target))


def test_the_second_reader_agrees_where_a_layer_occurs_twice(tmp_path):
    source, target = an_image(TWICE, {"b": b"1"}, TWICE), an_image(TWICE, {"b": b"2"}, {"c": b"3"})
    patch, _ = a_patch(target, source, scratch=tmp_path)

    read = Patch(patch, layers_of(source), {source.image_id: source.image.config}).apply()

    assert read == (target.image.config, layers_of(target))


@pytest.mark.parametrize(
    ("variant", "platform"), [("v7", "linux/arm/v7"), ("v8", "linux/arm64"), ("", "linux/amd64"), ("v1", "linux/amd64")]
)
def test_the_second_reader_agrees_on_the_names_of_platforms(tmp_path, variant, platform):
    target = an_image({"a": b"1"}, platform="/".join(filter(None, [*platform.split("/")[:2], variant])))
    patch, _ = a_patch(target, scratch=tmp_path)

    assert read_patch_header(io.BytesIO(patch)).platform == platform
    assert Patch(patch, {}, {}).apply() == (target.image.config, layers_of(target))


@pytest.mark.parametrize(("said", "platform"), [("", "unknown/unknown"), ("linux/arm", "linux/arm")])
def test_a_patch_has_the_words_of_the_config_whatever_is_assumed_elsewhere(tmp_path, said, platform):
    target = an_image({"a": b"1"}, platform=said)
    patch, _ = a_patch(target, scratch=tmp_path)

    assert read_patch_header(io.BytesIO(patch)).platform == platform
    assert Patch(patch, {}, {}).apply() == (target.image.config, layers_of(target))
