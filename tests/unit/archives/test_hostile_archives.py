"""Archives made to harm are refused with their code, before anything large is allocated or written."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import tracemalloc

import pytest
import zstandard

from imagedelta.archives import Image, open_archive, sha256_id
from imagedelta.errors import (
    ContentError,
    DigestMismatch,
    LimitExceeded,
    UnsafePath,
    UnsupportedFormat,
)
from imagedelta.limits import MIB, Limits
from tests.images import a_tar, an_archive, an_image, docker_save, oci_archive, oci_files

IMAGE = an_image({"etc/os": b"debian" * 300}, references=("app:1",))
CONFIG = f"{IMAGE.image_id[7:]}.json"
SMALL = Limits(expansion_allowance=MIB, max_expansion_ratio=20)


def opened(data: bytes, limits: Limits = Limits()):  # noqa: B008 - frozen
    return open_archive(io.BytesIO(data), limits)


def code_of(data: bytes, limits: Limits = Limits()) -> str:  # noqa: B008 - frozen
    with pytest.raises(ContentError) as caught:
        opened(data, limits)
    return caught.value.code


def with_manifest(manifest: object, **files: bytes) -> bytes:
    return an_archive({**files, CONFIG: IMAGE.image.config, "manifest.json": json.dumps(manifest).encode()})


def with_config(config: object) -> bytes:
    data = config if isinstance(config, bytes) else json.dumps(config).encode()
    manifest = [{"Config": "c.json", "Layers": [], "RepoTags": None}]
    return an_archive({"c.json": data, "manifest.json": json.dumps(manifest).encode()})


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a/../../up", "a/.."])
def test_a_name_that_leaves_its_folder_is_refused(name):
    info = tarfile.TarInfo(name)

    assert code_of(a_tar([(info, b"")])) == "content.unsafe_path"


@pytest.mark.parametrize("target", ["/etc/passwd", "../../etc/passwd"])
def test_a_link_out_of_the_archive_is_not_followed(target):
    link = tarfile.TarInfo("manifest.json")
    link.type, link.linkname = tarfile.SYMTYPE, target

    assert code_of(a_tar([(link, b"")])) == "content.unsafe_path"


def test_a_layer_name_in_the_manifest_that_leaves_the_archive_is_refused():
    manifest = [{"Config": CONFIG, "Layers": ["../../../etc/shadow"], "RepoTags": None}]

    assert code_of(with_manifest(manifest)) == "content.unsafe_path"


def test_a_ring_of_links_is_refused():
    links = []
    for name, target in (("manifest.json", "b"), ("b", "manifest.json")):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = tarfile.SYMTYPE, target
        links.append((info, b""))

    assert code_of(a_tar(links)) == "content.invalid"


def test_a_member_that_is_there_twice_is_refused():
    twice = [(tarfile.TarInfo(name), b"") for name in ("manifest.json", "./manifest.json")]

    assert code_of(a_tar(twice)) == "content.duplicate_member"


@pytest.mark.parametrize(
    "manifest",
    [
        [{"Config": "nothing.json", "Layers": [], "RepoTags": None}],
        [{"Config": CONFIG, "Layers": ["nothing/layer.tar"], "RepoTags": None}],
    ],
)
def test_a_manifest_pointing_nowhere_is_missing_its_blobs(manifest):
    assert code_of(with_manifest(manifest)) == "content.blob_missing"


@pytest.mark.parametrize("blob", ["config", "manifest", "layer"])
def test_an_oci_archive_without_one_of_its_blobs_is_refused(blob):
    files = oci_files(IMAGE)
    manifest = json.loads(files["index.json"])["manifests"][0]["digest"]
    digest = {"config": IMAGE.image_id, "layer": IMAGE.image.diff_ids[0], "manifest": manifest}[blob]
    del files[f"blobs/sha256/{digest[7:]}"]

    assert code_of(an_archive(files)) == "content.blob_missing"


@pytest.mark.parametrize("blob", ["config", "manifest"])
def test_an_oci_blob_with_other_bytes_than_its_digest_is_refused(blob):
    files = oci_files(IMAGE)
    manifest = json.loads(files["index.json"])["manifests"][0]["digest"]
    name = f"blobs/sha256/{(IMAGE.image_id if blob == 'config' else manifest)[7:]}"
    files[name] += b" "

    with pytest.raises(DigestMismatch):
        opened(an_archive(files))


def test_a_digest_that_is_a_path_is_refused():
    index = {"manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json"}]}
    index["manifests"][0]["digest"] = "sha256:../../../../etc/passwd"
    data = an_archive({"oci-layout": b"{}", "index.json": json.dumps(index).encode()})

    assert code_of(data) == "content.invalid"


@pytest.mark.parametrize(
    "manifest",
    [
        {"Config": CONFIG},
        [1],
        [{"Layers": []}],
        [{"Config": 7, "Layers": []}],
        [{"Config": CONFIG, "Layers": "all"}],
        [{"Config": CONFIG, "Layers": []}],
        [{"Config": CONFIG, "Layers": [CONFIG], "RepoTags": "app:1"}],
    ],
)
def test_a_malformed_manifest_is_refused(manifest):
    assert code_of(with_manifest(manifest)) == "content.invalid"


@pytest.mark.parametrize(
    "config",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b'{"os": NaN}',
        b"9" * 5000,
        {"os": "linux", "architecture": "amd64"},
        {"os": "linux", "rootfs": {"diff_ids": []}},
        {"os": "../x", "architecture": "amd64", "rootfs": {"diff_ids": []}},
        {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": ["md5:1"]}},
        {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": 3}},
    ],
)
def test_a_config_that_is_none_is_refused(config):
    assert code_of(with_config(config)) == "content.invalid"


@pytest.mark.parametrize("nested", [b"[" * 200_000, b'{"a":' * 200_000])
def test_json_nested_to_exhaust_the_stack_is_refused(nested):
    assert code_of(with_config(nested)) == "content.invalid"
    assert code_of(an_archive({"manifest.json": nested})) == "content.invalid"
    assert code_of(an_archive({"oci-layout": b"{}", "index.json": nested})) == "content.invalid"


def test_more_layers_than_docker_can_hold_are_refused():
    rootfs = {"diff_ids": ["sha256:" + "0" * 64] * 128}
    config = {"os": "linux", "architecture": "amd64", "rootfs": rootfs}

    assert code_of(with_config(config)) == "content.limit_exceeded"


def test_documents_over_their_limit_are_refused_unread():
    data = docker_save(IMAGE)

    assert code_of(data, Limits(max_config_bytes=10)) == "content.limit_exceeded"
    assert code_of(data, Limits(max_manifest_bytes=10)) == "content.limit_exceeded"
    assert code_of(oci_archive(IMAGE), Limits(max_manifest_bytes=10)) == "content.limit_exceeded"


def test_too_many_images_or_members_are_refused():
    several = [an_image({"x": str(n).encode()}) for n in range(3)]

    for form in (docker_save, oci_archive):
        assert code_of(form(*several), Limits(max_archive_images=2)) == "content.limit_exceeded"
        assert code_of(form(*several), Limits(max_archive_members=4)) == "content.limit_exceeded"


def test_an_index_that_holds_itself_ends():
    files = oci_files(IMAGE)
    inner = b'{"manifests": []}'
    for _ in range(6):
        entry = {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": sha256_id(inner)}
        files[f"blobs/sha256/{sha256_id(inner)[7:]}"] = inner
        inner = json.dumps({"manifests": [entry]}).encode()
    files["index.json"] = inner

    assert code_of(an_archive(files)) == "content.limit_exceeded"


@pytest.mark.parametrize("size", [1 << 40, (1 << 63) - 1])
def test_a_declared_giant_size_allocates_nothing(size):
    info = tarfile.TarInfo("manifest.json")
    info.size = size
    data = info.tobuf(tarfile.GNU_FORMAT) + b"[]" + bytes(510)
    tracemalloc.start()

    try:
        assert code_of(data) == "content.truncated"
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


def test_a_giant_pax_header_is_refused_unread():
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 2 * MIB
    data = info.tobuf(tarfile.GNU_FORMAT) + bytes(2 * MIB)

    assert code_of(data) == "content.limit_exceeded"


@pytest.mark.parametrize("at", [1, 100, 511, 513, 1000])
def test_an_archive_cut_inside_a_member_is_truncated(at):
    assert code_of(an_archive({"manifest.json": b"x" * 600})[:at]) == "content.truncated"


def test_bytes_that_are_no_tar_are_refused():
    assert code_of(b"\x01" * 2048) == "content.invalid"


@pytest.mark.parametrize("magic", [b"\xfd7zXZ\0", b"BZh91AY", b"PK\x03\x04"])
def test_a_layer_in_an_unknown_packing_is_refused_by_name(magic):
    data = docker_save(IMAGE, pack=lambda tar: magic + bytes(2000))

    with opened(data) as archive, pytest.raises(UnsupportedFormat, match="packed with"):
        archive.open_layer(IMAGE.image, 0).read()


def read_layer(data: bytes, image: Image, limits: Limits) -> int:
    """Read a layer piece by piece, keeping nothing; return how many bytes came out."""
    total = 0
    with opened(data, limits) as archive, archive.open_layer(image, 0) as layer:
        while piece := layer.read(MIB):
            total += len(piece)
    return total


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_an_archive_bomb_is_refused_before_it_has_expanded(pack):
    bomb = an_image(bytes(64 * MIB))
    data = docker_save(bomb, pack=pack)
    tracemalloc.start()

    try:
        with pytest.raises(LimitExceeded, match="bomb"):
            read_layer(data, bomb.image, SMALL)
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


def test_a_layer_larger_than_an_image_may_be_is_refused():
    with pytest.raises(LimitExceeded):
        read_layer(docker_save(IMAGE), IMAGE.image, Limits(max_image_bytes=100))


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
@pytest.mark.parametrize("cut", [5, 20, 60])
def test_a_packed_layer_that_was_cut_is_refused(pack, cut):
    data = docker_save(IMAGE, pack=lambda tar: pack(tar)[:-cut])

    with pytest.raises(ContentError):
        read_layer(data, IMAGE.image, Limits())


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_packed_layer_with_a_flipped_bit_is_refused(pack):
    def damage(tar: bytes) -> bytes:
        packed = bytearray(pack(tar))
        packed[len(packed) // 2] ^= 0x10
        return bytes(packed)

    with pytest.raises(ContentError):
        read_layer(docker_save(IMAGE, pack=damage), IMAGE.image, Limits())


def test_a_layer_with_other_bytes_than_its_diff_id_never_ends_well():
    data = docker_save(IMAGE, pack=lambda tar: tar[:-1] + b"x")

    with pytest.raises(DigestMismatch, match=IMAGE.image.diff_ids[0]):
        read_layer(data, IMAGE.image, Limits())


def test_a_zstd_window_over_the_limit_is_refused():
    parameters = zstandard.ZstdCompressionParameters(window_log=27, compression_level=1)
    streamed = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = streamed.compress(IMAGE.layers[0]) + streamed.flush()

    with pytest.raises(ContentError, match="window"):
        read_layer(docker_save(IMAGE, pack=lambda tar: packed), IMAGE.image, Limits())


def test_names_that_are_no_text_are_refused():
    info = tarfile.TarInfo("x\udcff")
    with pytest.raises(UnsafePath):
        opened(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape") + bytes(1024))
