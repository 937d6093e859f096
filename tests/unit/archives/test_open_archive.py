"""Archives of every form give the same images and the same layers."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from imagedelta.archives import open_archive
from imagedelta.errors import ContentError, RequestError, UnsupportedFormat
from tests.images import (
    BuiltImage,
    a_tar,
    an_archive,
    an_image,
    descriptor,
    docker_save,
    gzipped,
    oci_archive,
    oci_files,
    plain,
    zstd_packed,
)

IMAGE = an_image(
    {"etc/": b"", "etc/os": b"debian" * 300, "bin": b"-> usr/bin"},
    {"app/a.dll": b"a" * 5000},
    references=("app:1",),
)
ATTESTATION = {"vnd.docker.reference.type": "attestation-manifest"}


def layers_of(archive_bytes: bytes, built: BuiltImage) -> tuple[bytes, ...]:
    with open_archive(io.BytesIO(archive_bytes)) as archive:
        return tuple(archive.open_layer(built.image, n).read() for n in range(len(built.layers)))


def write_folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def docker25_save(built: BuiltImage, *, manifest_layers: bool, listed: bool) -> bytes:
    """The OCI layout of Docker 25 and later, as moby's image/tarexport/save.go lays it out.

    ``manifest.json`` has the friendly tags and the layers, which are uncompressed blobs. Index entries carry
    containerd's full name; versions differ in whether their manifests list the layers
    (``manifest_layers``) and whether an image saved by ID is in the index at all (``listed``).
    """
    files = oci_files(built)
    (entry,) = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(files.pop(f"blobs/sha256/{entry['digest'][7:]}"))
    if not manifest_layers:
        manifest["layers"] = None
    data = json.dumps(manifest).encode()
    names = {
        "io.containerd.image.name": f"docker.io/library/{built.image.references[0]}",
        "org.opencontainers.image.ref.name": "1",
    }
    entry = descriptor("application/vnd.oci.image.manifest.v1+json", data, annotations=names)
    files[f"blobs/sha256/{entry['digest'][7:]}"] = data
    files["index.json"] = json.dumps({"manifests": [entry] if listed else None}).encode()
    layers = [f"blobs/sha256/{diff_id[7:]}" for diff_id in built.image.diff_ids]
    config = f"blobs/sha256/{built.image_id[7:]}"
    files["manifest.json"] = json.dumps(
        [{"Config": config, "RepoTags": list(built.image.references), "Layers": layers}]
    ).encode()
    files["repositories"] = b"{}"
    return an_archive(files)


@pytest.mark.parametrize("pack", [plain, gzipped, zstd_packed])
@pytest.mark.parametrize("form", [docker_save, oci_archive])
def test_every_form_and_packing_gives_the_same_image_and_layers(form, pack):
    data = form(IMAGE, pack=pack)

    with open_archive(io.BytesIO(data)) as archive:
        assert archive.images == (IMAGE.image,)
    assert layers_of(data, IMAGE) == IMAGE.layers


def test_a_layout_folder_is_read_in_place(tmp_path):
    root = write_folder(tmp_path, oci_files(IMAGE, pack=gzipped))

    with open_archive(root) as archive:
        assert archive.images == (IMAGE.image,)
        with archive.open_layer(IMAGE.image, 1) as layer:
            assert layer.read() == IMAGE.layers[1]


def test_an_archive_file_is_opened_and_closed(tmp_path):
    path = tmp_path / "app.tar"
    path.write_bytes(docker_save(IMAGE))

    with open_archive(path) as archive:
        assert archive.images == (IMAGE.image,)


@pytest.mark.parametrize(("manifest_layers", "listed"), [(True, True), (False, True), (True, False)])
def test_the_oci_form_of_new_docker_versions_has_all_layers_and_the_friendly_name(manifest_layers, listed):
    data = docker25_save(IMAGE, manifest_layers=manifest_layers, listed=listed)

    with open_archive(io.BytesIO(data)) as archive:
        assert archive.images == (IMAGE.image,)
    assert layers_of(data, IMAGE) == IMAGE.layers


@pytest.mark.parametrize("pack", [gzipped, zstd_packed])
def test_an_archive_packed_as_a_whole_is_unpacked_once_into_the_scratch_given(pack):
    packed = io.BytesIO(pack(docker_save(IMAGE)))
    scratch = io.BytesIO()

    with open_archive(packed, scratch=scratch) as archive:
        assert archive.open_layer(IMAGE.image, 0).read() == IMAGE.layers[0]
    assert scratch.getvalue() == docker_save(IMAGE)


def test_an_archive_packed_as_a_whole_is_refused_without_scratch():
    with pytest.raises(UnsupportedFormat, match="gzip"):
        open_archive(io.BytesIO(gzip.compress(docker_save(IMAGE))))


def test_several_images_come_in_the_archives_order():
    other = an_image({"x": b"1"}, references=("other:1",))

    for form in (docker_save, oci_archive):
        with open_archive(io.BytesIO(form(IMAGE, other))) as archive:
            assert archive.images == (IMAGE.image, other.image)


def test_an_image_with_several_names_is_one_image():
    image = an_image({"x": b"1"}, references=("b:1", "a:1"))

    with open_archive(io.BytesIO(oci_archive(image))) as archive:
        (found,) = archive.images
    assert found.references == ("a:1", "b:1")


def test_an_image_without_names_or_layers_is_an_image():
    image = an_image()

    for form in (docker_save, oci_archive):
        with open_archive(io.BytesIO(form(image))) as archive:
            assert archive.images == (image.image,)


def test_a_layer_that_is_a_link_to_another_images_layer_is_found():
    config = f"{IMAGE.image_id[7:]}.json"
    manifest = json.dumps([{"Config": config, "RepoTags": None, "Layers": ["1/layer.tar", "2/layer.tar"]}])
    link = tarfile.TarInfo("1/layer.tar")
    link.type, link.linkname = tarfile.SYMTYPE, "../base/layer.tar"
    files = {
        config: IMAGE.image.config,
        "base/layer.tar": IMAGE.layers[0],
        "2/layer.tar": IMAGE.layers[1],
        "manifest.json": manifest.encode(),
    }
    members = [(tarfile.TarInfo(name), content) for name, content in files.items()]
    for info, content in members:
        info.size = len(content)

    assert layers_of(a_tar([(link, b""), *members]), IMAGE) == IMAGE.layers


def test_layers_can_be_read_in_turns():
    with open_archive(io.BytesIO(docker_save(IMAGE))) as archive:
        first, second = archive.open_layer(IMAGE.image, 0), archive.open_layer(IMAGE.image, 1)
        halves = [first.read(700), second.read(700), first.read(), second.read()]

    assert (halves[0] + halves[2], halves[1] + halves[3]) == IMAGE.layers


def multi_platform(*images: BuiltImage, saved: int) -> bytes:
    """An image index of all ``images``, of which only the first ``saved`` are in the archive."""
    files = oci_files(*images[:saved])
    everything = oci_files(*images)
    children = json.loads(everything["index.json"])["manifests"]
    children.append({**children[0], "annotations": ATTESTATION, "digest": "sha256:" + "e" * 64})
    index = json.dumps({"schemaVersion": 2, "manifests": children}).encode()
    outer = descriptor("application/vnd.oci.image.index.v1+json", index)
    files[f"blobs/sha256/{outer['digest'][7:]}"] = index
    files["index.json"] = json.dumps({"manifests": [outer]}).encode()
    return an_archive(files)


def test_each_platform_of_an_image_index_is_an_image():
    arm, amd = an_image({"x": b"arm"}, platform="linux/arm/v7"), an_image({"x": b"amd"})

    with open_archive(io.BytesIO(multi_platform(arm, amd, saved=2))) as archive:
        assert [image.platform for image in archive.images] == ["linux/arm/v7", "linux/amd64"]


def test_platforms_that_were_not_saved_are_passed_over():
    arm, amd = an_image({"x": b"arm"}, platform="linux/arm64/v8"), an_image({"x": b"amd"})

    with open_archive(io.BytesIO(multi_platform(arm, amd, saved=1))) as archive:
        assert [image.platform for image in archive.images] == ["linux/arm64"]


def test_platforms_beside_the_one_that_docker_lists_are_found():
    """Docker's containerd store lists one platform in manifest.json and all in index.json."""
    arm, amd = an_image({"x": b"arm"}, platform="linux/arm64"), an_image({"x": b"amd"}, references=("app:1",))
    both = dict(members_of(multi_platform(arm, amd, saved=2)))
    both["manifest.json"] = json.dumps(
        [
            {
                "Config": f"blobs/sha256/{amd.image_id[7:]}",
                "RepoTags": ["app:1"],
                "Layers": [f"blobs/sha256/{amd.image.diff_ids[0][7:]}"],
            }
        ]
    ).encode()

    with open_archive(io.BytesIO(an_archive(both))) as archive:
        assert archive.images == (amd.image, arm.image)


def members_of(archive_bytes: bytes) -> list[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(archive_bytes)) as tar:
        return [(member.name, tar.extractfile(member).read()) for member in tar]


def test_an_image_index_without_any_saved_platform_is_missing_its_blobs():
    with pytest.raises(ContentError) as caught:
        open_archive(io.BytesIO(multi_platform(an_image({"x": b"1"}), saved=0)))
    assert caught.value.code == "content.blob_missing"


@pytest.mark.parametrize(
    "data",
    [
        an_archive({"readme": b"no image"}),
        an_archive({"manifest.json": b"[]"}),
        an_archive({"oci-layout": b"{}", "index.json": b'{"manifests": []}'}),
        bytes(1024),
    ],
)
def test_a_tar_without_images_is_no_image_archive(data):
    with pytest.raises(ContentError) as caught:
        open_archive(io.BytesIO(data))
    assert caught.value.code == "content.not_an_image"


def test_a_file_that_is_not_there_is_a_request_error(tmp_path):
    with pytest.raises(RequestError, match="no archive"):
        open_archive(tmp_path / "nothing.tar")


def test_a_pipe_in_a_layout_folder_is_not_waited_for(tmp_path):
    root = write_folder(tmp_path, oci_files(IMAGE))
    layer = root / "blobs/sha256" / IMAGE.image.diff_ids[0][7:]
    layer.unlink()
    os.mkfifo(layer)

    with pytest.raises(ContentError) as caught:
        open_archive(root)
    assert caught.value.code == "content.blob_missing"
