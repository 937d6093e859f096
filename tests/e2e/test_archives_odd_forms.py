"""Odd archives that dockerd and skopeo take are taken here, and give the same image.

Each form is one that tools in the wild write or a public report names: npm's containerify (keys in lower case), tar run
by hand with other options, archives packed once more.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from imagedelta.archives import open_archive
from tests.e2e.archive_tools import require_tool, run, skopeo_copy
from tests.images import BuiltImage, an_archive, an_image, docker_save, oci_archive, oci_files, plain, sparse_tar

pytestmark = pytest.mark.e2e

IMAGE = an_image(
    {"etc/": b"", "etc/os": b"debian" * 5000, "lastlog": bytes(3 << 20)},
    {"app/": b"", "app/a.dll": b"a" * 5000},
    references=("localhost/odd:1",),
)


def files(pack: Callable[[bytes], bytes] = plain) -> dict[str, bytes]:
    with tarfile.open(fileobj=BytesIO(docker_save(IMAGE, pack=pack))) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def with_keys(change: Callable[[str], str]) -> bytes:
    found = files()
    entries = [{change(key): value for key, value in entry.items()} for entry in json.loads(found["manifest.json"])]
    return an_archive({**found, "manifest.json": json.dumps(entries).encode()})


def renamed(start: str) -> bytes:
    return an_archive({start + name: data for name, data in files().items()})


def twice() -> bytes:
    data = docker_save(IMAGE)
    return data[:-1024] + data


FORMS: dict[str, Callable[[], bytes]] = {
    "keys in lower case": lambda: with_keys(str.lower),
    "keys in upper case": lambda: with_keys(str.upper),
    "names from the root": lambda: renamed("/"),
    "names from here": lambda: renamed("./"),
    "names with a way back": lambda: renamed("x/../"),
    "every file twice": twice,
    "sparse, gnu": lambda: sparse_tar(files(), "gnu"),
    "sparse, pax 0.0": lambda: sparse_tar(files(), "posix 0.0"),
    "sparse, pax 0.1": lambda: sparse_tar(files(), "posix 0.1"),
    "sparse, pax 1.0": lambda: sparse_tar(files(), "posix 1.0"),
    "layers in xz": lambda: docker_save(IMAGE, pack=lzma.compress),
    "layers in bzip2": lambda: docker_save(IMAGE, pack=bz2.compress),
    "packed with gzip": lambda: gzip.compress(docker_save(IMAGE)),
    "packed with xz": lambda: lzma.compress(docker_save(IMAGE)),
    "packed with bzip2": lambda: bz2.compress(docker_save(IMAGE)),
}


@pytest.mark.parametrize("form", [form for form in FORMS if form != "sparse, gnu"])
def test_what_docker_loads_is_read_as_the_same_image(daemon, tmp_path, form):
    path = tmp_path / "odd.tar"
    path.write_bytes(FORMS[form]())

    daemon.docker("load", "-i", path)
    loaded = json.loads(daemon.docker("image", "inspect", "localhost/odd:1"))[0]
    daemon.docker("rmi", "localhost/odd:1")

    assert_read(path, IMAGE)
    assert (loaded["Id"], tuple(loaded["RootFS"]["Layers"])) == (IMAGE.image_id, IMAGE.image.diff_ids)


def assert_read(path: Path, built: BuiltImage) -> None:
    with path.with_name("scratch").open("w+b") as scratch, open_archive(path, scratch=scratch) as archive:
        (image,) = archive.images
        layers = tuple(archive.open_layer(image, n).read() for n in range(len(built.layers)))
    assert (image.image_id, image.references, layers) == (built.image_id, built.image.references, built.layers)


@pytest.mark.parametrize(
    "form", ["keys in lower case", "names from here", "every file twice", "sparse, gnu", "packed with xz"]
)
def test_what_skopeo_reads_is_read_with_the_same_layers(tmp_path, form):
    path = tmp_path / "odd.tar"
    path.write_bytes(FORMS[form]())

    skopeo_copy(f"docker-archive:{path}", f"dir:{tmp_path}/theirs")

    assert_read(path, IMAGE)


def test_an_index_of_which_one_platform_was_saved_is_read_as_skopeo_reads_it(tmp_path):
    """Docker with the containerd store saves such archives: ctr refuses them, containerd#12908 and #11344."""
    arm = an_image({"x": b"arm"}, platform="linux/arm/v7", references=("localhost/odd:1",))
    found, everything = oci_files(IMAGE), oci_files(IMAGE, arm)
    found["index.json"] = everything["index.json"]
    path = tmp_path / "part.tar"
    path.write_bytes(an_archive(found))

    with open_archive(path) as archive:
        assert [image.image_id for image in archive.images] == [IMAGE.image_id]
        assert [over.error.code for over in archive.passed_over if over.error] == ["content.blob_missing"]


def test_a_layout_with_a_bare_tag_is_named_as_skopeo_names_it(tmp_path):
    """``skopeo copy … oci:folder:latest`` notes ``latest``, which is no name to deploy."""
    (tmp_path / "in.tar").write_bytes(oci_archive(IMAGE))
    skopeo_copy(f"oci-archive:{tmp_path}/in.tar", f"oci:{tmp_path}/layout:latest")

    with open_archive(tmp_path / "layout") as archive:
        (image,) = archive.images
    assert (image.references, image.labels) == ((), ("latest",))


def test_a_variant_in_another_config_is_read_as_skopeo_says(tmp_path):
    arm = an_image({"x": b"arm"}, platform="linux/arm", references=("localhost/arm:1",))
    path = tmp_path / "arm.tar"
    path.write_bytes(oci_archive(arm))

    seen = json.loads(run(require_tool("skopeo", "skopeo"), "inspect", "--config", f"oci-archive:{path}"))

    with open_archive(path) as archive:
        (image,) = archive.images
    assert (seen["architecture"], image.platform) == ("arm", "linux/arm/v7")
