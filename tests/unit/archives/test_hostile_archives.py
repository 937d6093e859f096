"""Archives made to harm are refused with their code, before anything large is allocated or written."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import tracemalloc
from contextlib import suppress

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from imagedelta.archives import Image, open_archive, sha256_id
from imagedelta.errors import (
    ContentError,
    DigestMismatch,
    LimitExceeded,
    UnsupportedFormat,
)
from imagedelta.limits import MIB, Limits
from tests.images import a_tar, an_archive, an_image, docker_save, oci_archive, oci_files, sparse_tar

IMAGE = an_image({"etc/os": b"debian" * 300}, references=("app:1",))
CONFIG = f"{IMAGE.image_id[7:]}.json"


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


@pytest.mark.parametrize("name", ["../up", "a/../../up", "/../up", ".."])
def test_a_name_that_leaves_its_folder_is_refused(name):
    info = tarfile.TarInfo(name)

    assert code_of(a_tar([(info, b"")])) == "content.unsafe_path"


@pytest.mark.parametrize(
    ("target", "code"), [("/etc/passwd", "content.not_an_image"), ("../../etc/passwd", "content.unsafe_path")]
)
def test_a_link_out_of_the_archive_is_not_followed(target, code):
    link = tarfile.TarInfo("manifest.json")
    link.type, link.linkname = tarfile.SYMTYPE, target

    assert code_of(a_tar([(link, b"")])) == code


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


@pytest.mark.parametrize("second", ["manifest.json", "./manifest.json", "/manifest.json", "a/../manifest.json"])
def test_a_document_that_is_there_twice_with_different_contents_is_refused(second):
    """Tools that extract take the last one, tools that do not the first."""
    twice = [(tarfile.TarInfo(name), content) for name, content in (("manifest.json", b"[]"), (second, b"[ ]"))]
    for info, content in twice:
        info.size = len(content)

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
        {"os": 7, "architecture": "amd64", "rootfs": {"diff_ids": []}},
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
    with pytest.raises(LimitExceeded, match="the limit manifest-bytes is 10"):
        opened(data, Limits(max_manifest_bytes=10))


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
    assert code_of(b"\x01" * 2048) == "content.not_an_image"


def test_a_layer_in_a_packing_that_docker_does_not_read_is_refused_by_name():
    data = docker_save(IMAGE, pack=lambda tar: b"PK\x03\x04" + bytes(2000))

    with opened(data) as archive, pytest.raises(UnsupportedFormat, match="packed with zip"):
        archive.open_layer(IMAGE.image, 0).read()


def read_layer(data: bytes, image: Image, limits: Limits) -> int:
    """Read a layer piece by piece, keeping nothing; return how many bytes came out."""
    total = 0
    with opened(data, limits) as archive, archive.open_layer(image, 0) as layer:
        while piece := layer.read(MIB):
            total += len(piece)
    return total


PACKINGS = [gzip.compress, zstandard.compress, bz2.compress, lzma.compress]


@pytest.mark.parametrize("pack", PACKINGS)
def test_a_bomb_is_refused_at_the_most_an_image_may_be_and_takes_no_memory(pack):
    bomb = an_image(bytes(64 * MIB))
    data = docker_save(bomb, pack=pack)
    tracemalloc.start()

    try:
        with pytest.raises(LimitExceeded, match="an image may have"):
            read_layer(data, bomb.image, Limits(max_image_bytes=32 * MIB))
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB  # 8 of them are the dictionary of xz
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_gigabytes_of_zeros_are_no_bomb(pack):
    """A database that was preallocated, a lastlog of high user IDs."""
    zeros = an_image(bytes(320 * MIB))

    assert read_layer(docker_save(zeros, pack=pack), zeros.image, Limits()) == 320 * MIB


def test_a_layer_larger_than_an_image_may_be_is_refused():
    with pytest.raises(LimitExceeded):
        read_layer(docker_save(IMAGE), IMAGE.image, Limits(max_image_bytes=100))


@pytest.mark.parametrize("pack", PACKINGS)
@pytest.mark.parametrize("cut", [5, 20, 60])
def test_a_packed_layer_that_was_cut_is_refused(pack, cut):
    data = docker_save(IMAGE, pack=lambda tar: pack(tar)[:-cut])

    with pytest.raises(ContentError):
        read_layer(data, IMAGE.image, Limits())


@pytest.mark.parametrize("pack", PACKINGS)
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


@pytest.mark.parametrize(
    "pack",
    [
        lambda tar: zstd_with_window(tar, 27),
        lambda tar: lzma.compress(tar, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 64 * MIB}]),
    ],
    ids=["zstd", "xz"],
)
def test_memory_that_unpacking_wants_is_bounded_by_a_limit_that_the_message_names(pack):
    data = docker_save(IMAGE, pack=pack)

    assert read_layer(data, IMAGE.image, Limits()) == len(IMAGE.layers[0])
    with pytest.raises(LimitExceeded, match="the limit window-bytes is 8388608"):
        read_layer(data, IMAGE.image, Limits(max_window_bytes=8 * MIB))


def zstd_with_window(data: bytes, log: int) -> bytes:
    """As ``zstd --long=LOG`` packs what comes from a pipe: the frame says only its window."""
    parameters = zstandard.ZstdCompressionParameters(window_log=log, compression_level=1)
    streamed = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return streamed.compress(data) + streamed.flush()


def test_names_that_are_no_text_harm_nothing():
    info = tarfile.TarInfo("x\udcff")
    odd = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")

    with opened(odd + docker_save(IMAGE)) as archive:
        assert archive.images == (IMAGE.image,)


SPARSE = sparse_tar({"manifest.json": b"[]", "blob": bytes(40_000) + b"x" * 700 + bytes(80_000)}, "posix")


@given(st.binary(max_size=3000), st.integers(0, 1 << 12))
def test_a_sparse_map_of_any_bytes_is_read_or_refused(data, at):
    good = bytearray(SPARSE)
    for place, value in enumerate(data[:40]):
        good[(at + place) % len(good)] = value

    with suppress(ContentError), opened(bytes(good)) as archive:
        for image in archive.images:
            archive.open_layer(image, 0).read()
