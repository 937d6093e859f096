"""Archives and layout folders that we write: deterministic, readable, complete or absent."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

import pytest

from imagedelta.archives import OciLayout, open_archive, write_docker_archive, write_oci_archive
from imagedelta.archives.oci_json import index_with, index_without, layout_marker, manifest_bytes
from imagedelta.errors import ContentError, DigestMismatch
from tests.images import BuiltImage, an_image

IMAGE = an_image({"etc/os": b"debian" * 300}, {"app/a.dll": b"a" * 5000}, references=("app:1", "app:latest"))
WRITERS = [write_docker_archive, write_oci_archive]


def sizes(built: BuiltImage) -> list[int]:
    return [len(layer) for layer in built.layers]


def written(write, built: BuiltImage) -> bytes:
    out = io.BytesIO()
    write(out, built.image, sizes(built), built.open_layer)
    return out.getvalue()


def layout_with(root, *images: BuiltImage) -> OciLayout:
    layout = OciLayout(root)
    for built in images:
        for diff_id, tar in zip(built.image.diff_ids, built.layers, strict=True):
            layout.add_layer(diff_id, [tar[:100], tar[100:]])
        layout.add_image(built.image)
    return layout


def files_of(root) -> dict[str, str]:
    paths = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.mark.parametrize("write", WRITERS)
def test_what_is_written_is_read_back_exactly(write):
    with open_archive(io.BytesIO(written(write, IMAGE))) as archive:
        assert archive.images == (IMAGE.image,)
        assert [archive.open_layer(IMAGE.image, n).read() for n in range(2)] == list(IMAGE.layers)


@pytest.mark.parametrize("write", WRITERS)
def test_the_same_image_is_written_as_the_same_bytes(write):
    assert written(write, IMAGE) == written(write, IMAGE)


@pytest.mark.parametrize("write", WRITERS)
def test_an_archive_is_a_tar_for_everyone(write):
    with tarfile.open(fileobj=io.BytesIO(written(write, IMAGE))) as tar:
        assert {(member.mtime, member.uid, member.mode) for member in tar} == {(0, 0, 0o644)}


@pytest.mark.parametrize("write", WRITERS)
def test_a_layer_used_twice_is_written_once(write):
    twice = an_image(IMAGE.layers[0], IMAGE.layers[1], IMAGE.layers[0])
    data = written(write, twice)

    assert data.count(IMAGE.layers[0]) == 1
    with open_archive(io.BytesIO(data)) as archive:
        assert archive.open_layer(twice.image, 2).read() == IMAGE.layers[0]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("wrong", [-1, 1])
def test_a_layer_of_another_size_than_stated_leaves_no_file(tmp_path, write, wrong):
    stated = [size + wrong for size in sizes(IMAGE)]

    with pytest.raises(ContentError):
        write(tmp_path / "out.tar", IMAGE.image, stated, IMAGE.open_layer)

    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_file_that_was_there(tmp_path):
    target = tmp_path / "out.tar"
    target.write_bytes(b"before")

    with pytest.raises(ContentError):
        write_docker_archive(target, IMAGE.image, [1, 1], IMAGE.open_layer)

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"out.tar": b"before"}


def test_a_layout_folder_holds_its_images_and_is_the_same_in_any_order(tmp_path):
    other = an_image({"x": b"1"}, references=("other:1",))

    first = layout_with(tmp_path / "first", IMAGE, other)
    layout_with(tmp_path / "second", other, IMAGE, other)

    assert set(first.images()) == {IMAGE.image, other.image}
    assert files_of(tmp_path / "first") == files_of(tmp_path / "second")


def test_layers_in_a_layout_are_plain_blobs_under_their_diff_id(tmp_path):
    layout = layout_with(tmp_path, IMAGE)

    for diff_id, tar in zip(IMAGE.image.diff_ids, IMAGE.layers, strict=True):
        with layout.open_blob(diff_id) as blob:
            assert blob.read() == tar


def test_a_blob_that_is_not_there_is_a_key_error(tmp_path):
    with pytest.raises(KeyError):
        OciLayout(tmp_path).open_blob(IMAGE.image_id)


def test_a_new_layout_holds_no_images(tmp_path):
    assert OciLayout(tmp_path / "nothing").images() == ()


def test_a_reference_moves_to_the_image_added_last(tmp_path):
    newer = an_image({"x": b"2"}, references=("app:latest",))

    layout = layout_with(tmp_path, IMAGE, newer)

    named = {image.image_id: image.references for image in layout.images()}
    assert named == {IMAGE.image_id: ("app:1",), newer.image_id: ("app:latest",)}


def test_an_image_without_references_is_listed_once_until_it_is_named(tmp_path):
    unnamed, named = an_image({"x": b"1"}), an_image({"x": b"1"}, references=("x:1",))

    layout = layout_with(tmp_path, unnamed, unnamed)
    assert layout.images() == (unnamed.image,)
    layout.add_image(named.image)
    layout.add_image(unnamed.image)

    assert layout.images() == (named.image,)
    assert len(json.loads((tmp_path / "index.json").read_bytes())["manifests"]) == 1


def test_a_layer_with_other_bytes_than_its_name_leaves_nothing(tmp_path):
    layout = OciLayout(tmp_path)

    with pytest.raises(DigestMismatch):
        layout.add_layer(IMAGE.image.diff_ids[0], [b"other"])

    assert files_of(tmp_path) == {}


def test_an_image_is_not_listed_before_its_layers_are_there(tmp_path):
    layout = OciLayout(tmp_path)
    layout.add_layer(IMAGE.image.diff_ids[0], [IMAGE.layers[0]])

    with pytest.raises(ContentError) as caught:
        layout.add_image(IMAGE.image)

    assert caught.value.code == "content.blob_missing"
    assert layout.images() == ()


def test_a_layer_that_is_there_is_not_read_again(tmp_path):
    layout = layout_with(tmp_path, IMAGE)

    assert layout.add_layer(IMAGE.image.diff_ids[0], iter(())) == len(IMAGE.layers[0])


def test_the_manifest_of_an_image_does_not_depend_on_its_names():
    renamed = an_image(*IMAGE.layers, references=("another:2",))

    assert manifest_bytes(renamed.image, sizes(renamed)) == manifest_bytes(IMAGE.image, sizes(IMAGE))


def test_layout_json_is_canonical():
    manifest = manifest_bytes(IMAGE.image, sizes(IMAGE))
    index = index_with(None, manifest, IMAGE.image)

    for data in (manifest, index, layout_marker()):
        assert json.dumps(json.loads(data), sort_keys=True, separators=(",", ":")).encode() == data


def test_an_image_taken_off_the_index_leaves_the_others():
    other = an_image({"x": b"1"}, references=("other:1",))
    manifests = [manifest_bytes(built.image, sizes(built)) for built in (IMAGE, other)]
    both = index_with(index_with(None, manifests[0], IMAGE.image), manifests[1], other.image)

    left = index_without(both, "sha256:" + hashlib.sha256(manifests[0]).hexdigest())

    assert left == index_with(None, manifests[1], other.image)


@pytest.mark.parametrize("index", [b"", b"[]", b'{"manifests": 1}', b'{"manifests": [1]}'])
def test_a_malformed_index_is_refused(index):
    with pytest.raises(ContentError):
        index_with(index, manifest_bytes(IMAGE.image, sizes(IMAGE)), IMAGE.image)
