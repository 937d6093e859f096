"""Archives that skopeo wrote are read, and skopeo reads the ones we write."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from imagedelta.archives import OciLayout, open_archive, sha256_id, write_docker_archive, write_oci_archive
from tests.e2e.archive_tools import require_tool, run, skopeo_copy
from tests.images import BuiltImage, a_tar, an_image, docker_save, oci_archive

pytestmark = pytest.mark.e2e


def odd_members() -> list[tuple[tarfile.TarInfo, bytes]]:
    """Members whose headers are of every kind: long and non-ASCII names, links, devices."""
    long_name, link, device = (tarfile.TarInfo(name) for name in ("d/" * 80 + "ümlaut", "hard", "null"))
    long_name.size = 700
    link.type, link.linkname = tarfile.LNKTYPE, long_name.name
    device.type, device.devmajor, device.devminor = tarfile.CHRTYPE, 1, 3
    return [(long_name, b"l" * 700), (link, b""), (device, b"")]


IMAGE = an_image(
    {"etc/": b"", "etc/os": b"debian" * 5000, "bin": b"-> usr/bin"},
    a_tar(odd_members(), form=tarfile.GNU_FORMAT),
    a_tar(odd_members(), form=tarfile.PAX_FORMAT),
    references=("localhost/app:1",),
)


@pytest.fixture
def original(tmp_path: Path) -> str:
    """The image in the OCI form, named as skopeo takes its source."""
    return in_oci_form(IMAGE, tmp_path / "original.tar")


def in_oci_form(built: BuiltImage, path: Path) -> str:
    path.write_bytes(oci_archive(built))
    return f"oci-archive:{path}"


def assert_same_image(source: Path, built: BuiltImage) -> None:
    """The archive holds the image with its exact config and layers, whatever it does to them inside."""
    with open_archive(source) as archive:
        (image,) = archive.images
        layers = tuple(archive.open_layer(image, n).read() for n in range(len(image.diff_ids)))
    assert (image.image_id, image.config, image.diff_ids) == (
        built.image_id,
        built.image.config,
        built.image.diff_ids,
    )
    assert layers == built.layers


def test_a_docker_archive_of_skopeo_is_read(tmp_path):
    (tmp_path / "in.tar").write_bytes(docker_save(IMAGE))
    skopeo_copy(f"docker-archive:{tmp_path}/in.tar", f"docker-archive:{tmp_path}/out.tar:localhost/app:1")

    assert_same_image(tmp_path / "out.tar", IMAGE)
    with open_archive(tmp_path / "out.tar") as archive:
        assert archive.images[0].references == ("localhost/app:1",)


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_oci_archives_of_skopeo_are_read_in_each_packing(original, tmp_path, packing):
    options = ("--dest-compress-format", packing, "--dest-compress")
    skopeo_copy(original, f"oci:{tmp_path}/layout:app:1", *options)
    skopeo_copy(f"oci:{tmp_path}/layout:app:1", f"oci-archive:{tmp_path}/out.tar:app:1")

    layout = tmp_path / "layout"
    (manifest,) = json.loads((layout / "index.json").read_text())["manifests"]
    written = json.loads((layout / "blobs/sha256" / manifest["digest"][7:]).read_text())
    assert written["layers"][0]["mediaType"].endswith(packing)
    assert_same_image(layout, IMAGE)
    assert_same_image(tmp_path / "out.tar", IMAGE)


def test_an_uncompressed_layout_folder_of_skopeo_is_read(original, tmp_path):
    skopeo_copy(original, f"oci:{tmp_path}/layout:app:1", "--dest-decompress")

    assert_same_image(tmp_path / "layout", IMAGE)


def sizes(built: BuiltImage) -> list[int]:
    return [len(layer) for layer in built.layers]


@pytest.mark.parametrize(
    ("write", "transport"), [(write_docker_archive, "docker-archive"), (write_oci_archive, "oci-archive")]
)
def test_skopeo_reads_the_archives_we_write(tmp_path, write, transport):
    write(tmp_path / "ours.tar", IMAGE.image, sizes(IMAGE), IMAGE.open_layer)

    skopeo_copy(f"{transport}:{tmp_path}/ours.tar", f"docker-archive:{tmp_path}/theirs.tar")

    assert_same_image(tmp_path / "theirs.tar", IMAGE)


def test_skopeo_reads_the_layout_folder_we_write(tmp_path):
    layout = OciLayout(tmp_path / "ours")
    for diff_id, tar in zip(IMAGE.image.diff_ids, IMAGE.layers, strict=True):
        layout.add_layer(diff_id, [tar])
    digest = layout.add_image(IMAGE.image)

    seen = json.loads(run(require_tool("skopeo", "skopeo"), "inspect", f"oci:{tmp_path}/ours:localhost/app:1"))
    skopeo_copy(f"oci:{tmp_path}/ours:localhost/app:1", f"docker-archive:{tmp_path}/theirs.tar")

    assert seen["Digest"] == digest
    assert_same_image(tmp_path / "theirs.tar", IMAGE)


def test_two_images_of_skopeo_in_one_archive_are_both_found(tmp_path):
    other = an_image({"x": b"1"}, references=("localhost/other:2",))
    for built, name in ((IMAGE, "app:1"), (other, "other:2")):
        skopeo_copy(in_oci_form(built, tmp_path / "one.tar"), f"oci:{tmp_path}/layout:{name}")

    with open_archive(tmp_path / "layout") as archive:
        found = {image.image_id: image.references for image in archive.images}
    assert found == {IMAGE.image_id: ("app:1",), other.image_id: ("other:2",)}


def test_a_config_that_skopeo_rewrote_for_the_oci_form_is_another_image_of_the_same_layers(tmp_path):
    """From the docker form to the OCI form skopeo writes the config anew, so the image ID changes."""
    (tmp_path / "in.tar").write_bytes(docker_save(IMAGE))
    skopeo_copy(f"docker-archive:{tmp_path}/in.tar", f"oci-archive:{tmp_path}/out.tar:app:1")

    with open_archive(tmp_path / "out.tar") as archive:
        (image,) = archive.images
    assert image.diff_ids == IMAGE.image.diff_ids
    assert image.image_id == sha256_id(image.config) != IMAGE.image_id


def test_bytes_read_while_opening_are_few(original, tmp_path):
    """What opens an archive from far away pays for headers and documents only."""
    skopeo_copy(original, f"oci-archive:{tmp_path}/out.tar:app:1")
    reads: list[int] = []

    class Counting(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            reads.append(len(data))
            return data

    with open_archive(Counting((tmp_path / "out.tar").read_bytes())):
        assert sum(reads) < 20_000
