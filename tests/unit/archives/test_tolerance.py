"""Archives that Docker and skopeo take are taken here: odd spellings, foreign entries, what was not saved."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
from collections.abc import Callable, Mapping

import pytest
import zstandard

from imagedelta.archives import Archive, open_archive, sha256_id
from imagedelta.errors import ContentError, LimitExceeded
from imagedelta.limits import Limits
from tests.images import (
    BuiltImage,
    a_tar,
    an_archive,
    an_image,
    descriptor,
    docker_save,
    oci_archive,
    oci_files,
    sparse_tar,
)

IMAGE = an_image({"etc/os": b"debian" * 300}, {"app/a.dll": b"a" * 5000}, references=("app:1",))
OTHER = an_image({"etc/os": b"alpine" * 300}, references=("other:1",))
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"


def opened(data: bytes, limits: Limits = Limits()) -> Archive:  # noqa: B008 - frozen
    return open_archive(io.BytesIO(data), limits, scratch=io.BytesIO())


def assert_read(data: bytes, built: BuiltImage = IMAGE) -> None:
    """The archive holds this image, with its name, and every layer proves its digest."""
    with opened(data) as archive:
        (image,) = (image for image in archive.images if image.image_id == built.image_id)
        layers = tuple(archive.open_layer(image, n).read() for n in range(len(built.layers)))
    assert (image.references, layers) == (built.image.references, built.layers)


def files_of(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def in_case(change: Callable[[str], str], document: object) -> object:
    if isinstance(document, dict):
        return {change(key): in_case(change, value) for key, value in document.items()}
    return [in_case(change, value) for value in document] if isinstance(document, list) else document


@pytest.mark.parametrize("change", [str.lower, str.upper, str.title])
def test_keys_are_read_in_any_case(change):
    """npm's containerify writes them in lower case; Docker reads them as Go does."""
    files = files_of(docker_save(IMAGE))
    files["manifest.json"] = json.dumps(in_case(change, json.loads(files["manifest.json"]))).encode()

    assert_read(an_archive(files))


def test_keys_of_an_index_and_its_manifests_are_read_in_any_case():
    index = json.loads(oci_files(IMAGE)["index.json"])
    annotations = index["manifests"][0]["annotations"]
    changed = in_case(str.title, index)
    changed["Manifests"][0]["Annotations"] = annotations

    assert_read(an_archive({**oci_files(IMAGE), "index.json": json.dumps(changed).encode()}))


@pytest.mark.parametrize("start", ["/", "./", "//", "./a/../"])
def test_names_may_start_as_docker_takes_them(start):
    assert_read(an_archive({start + name: data for name, data in files_of(docker_save(IMAGE)).items()}))


def test_names_in_the_manifest_may_start_with_a_slash():
    files = files_of(docker_save(IMAGE))
    entries = json.loads(files["manifest.json"])
    entries[0]["Layers"] = [f"/{name}" for name in entries[0]["Layers"]]
    entries[0]["Config"] = f"./{entries[0]['Config']}"

    assert_read(an_archive({**files, "manifest.json": json.dumps(entries).encode()}))


@pytest.mark.parametrize("form", [docker_save, oci_archive])
def test_every_file_may_be_there_twice(form):
    data = form(IMAGE)

    assert_read(data[:-1024] + data)


def test_of_a_layer_that_is_there_twice_the_last_counts_as_for_docker():
    files = files_of(docker_save(IMAGE))
    layer = f"{IMAGE.image.diff_ids[0][7:]}/layer.tar"
    damaged = an_archive({layer: b"half a lay"})

    assert_read(damaged[:-1024] + an_archive(files))


@pytest.mark.parametrize("form", ["gnu", "posix 0.0", "posix 0.1", "posix 1.0"])
@pytest.mark.parametrize(
    "content",
    [
        bytes(200_000),
        bytes(100_000) + b"in the middle" + bytes(100_000),
        b"start" + bytes(100_000),
        bytes(100_000) + b"end",
        b"".join(b"x" * 5000 + bytes(50_000) for _ in range(60)),
    ],
    ids=["nothing", "middle", "start", "end", "many"],
)
def test_sparse_members_are_read_with_their_holes(form, content):
    image = an_image(content, references=("app:1",))
    files = files_of(docker_save(image))

    packed = sparse_tar(files, form)

    assert len(packed) < len(docker_save(image))
    assert_read(packed, image)


def test_a_sparse_member_over_the_limit_is_refused_before_it_is_read():
    image = an_image(bytes(200_000))

    packed = sparse_tar(files_of(docker_save(image)), "gnu")

    with (
        opened(packed, Limits(max_image_bytes=100_000)) as archive,
        pytest.raises(LimitExceeded, match="sparse file of 200000 bytes"),
    ):
        archive.open_layer(image.image, 0)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, bz2.compress, lzma.compress])
def test_layers_and_whole_archives_are_read_in_every_packing_that_docker_reads(pack):
    assert_read(docker_save(IMAGE, pack=pack))
    assert_read(pack(docker_save(IMAGE)))
    assert_read(pack(oci_archive(IMAGE, pack=pack)))


def with_entries(*entries: Mapping[str, object], blobs: Mapping[str, bytes] = {}, built: BuiltImage = IMAGE) -> bytes:
    """An OCI archive of an image with other entries before it in the index."""
    files = oci_files(built)
    index = json.loads(files["index.json"])
    index["manifests"] = [*entries, *index["manifests"]]
    return an_archive({**files, **blobs, "index.json": json.dumps(index).encode()})


def artifact(
    config_type: str = CONFIG_TYPE, layer_type: str = "text/plain", **more: object
) -> tuple[Mapping[str, object], Mapping[str, bytes]]:
    """The index entry and blobs of something that is stored like an image."""
    content = b'{"critical": {}}'
    config = json.dumps({"architecture": "", "os": "", "rootfs": {"diff_ids": [sha256_id(content)]}}).encode()
    manifest = json.dumps(
        {"config": descriptor(config_type, config), "layers": [descriptor(layer_type, content)], **more}
    ).encode()
    blobs = {f"blobs/sha256/{sha256_id(data)[7:]}": data for data in (content, config, manifest)}
    return descriptor(MANIFEST_TYPE, manifest), blobs


@pytest.mark.parametrize(
    ("config_type", "layer_type", "more"),
    [
        (CONFIG_TYPE, "application/vnd.dev.cosign.simplesigning.v1+json", {}),
        (CONFIG_TYPE, "application/vnd.dsse.envelope.v1+json", {}),
        (CONFIG_TYPE, "application/vnd.in-toto+json", {}),
        ("application/vnd.oci.empty.v1+json", "text/spdx+json", {"artifactType": "text/spdx+json"}),
        ("application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.content.v1.tar+gzip", {}),
        ("application/vnd.wasm.config.v0+json", "application/wasm", {}),
    ],
    ids=["cosign signature", "cosign attestation", "in-toto", "sbom", "helm chart", "wasm"],
)
def test_what_stands_beside_an_image_is_passed_over_and_named(config_type, layer_type, more):
    entry, blobs = artifact(config_type, layer_type, **more)

    with opened(with_entries(entry, blobs=blobs)) as archive:
        assert archive.images == (IMAGE.image,)
        assert [over.error for over in archive.passed_over] == [None]
        assert str(archive.passed_over[0]).startswith(str(entry["digest"]))


@pytest.mark.parametrize(
    "entry",
    [
        descriptor(MANIFEST_TYPE, b"not saved"),
        descriptor("application/vnd.oci.image.index.v1+json", b"not saved"),
        {"mediaType": MANIFEST_TYPE, "digest": "sha512:" + "a" * 128, "size": 3},
        {"mediaType": MANIFEST_TYPE, "digest": "sha256:../../etc/passwd"},
        {"mediaType": MANIFEST_TYPE},
        {"mediaType": "application/x-unheard-of", "digest": 7},
        {},
        {"mediaType": MANIFEST_TYPE, "annotations": {"vnd.docker.reference.type": "attestation-manifest"}},
        {"mediaType": MANIFEST_TYPE, "annotations": {"org.opencontainers.image.ref.name": ["x"]}, "digest": None},
    ],
)
def test_one_entry_never_refuses_the_others(entry):
    with opened(with_entries(entry)) as archive:
        assert archive.images == (IMAGE.image,)
        assert len(archive.passed_over) == 1


def test_an_image_whose_blobs_are_damaged_does_not_refuse_the_others():
    files = oci_files(OTHER, IMAGE)
    name = f"blobs/sha256/{OTHER.image_id[7:]}"
    damaged = an_archive({**files, name: files[name] + b" "})

    with opened(damaged) as archive:
        assert archive.images == (IMAGE.image,)
        assert [str(over).startswith("other:1: ") for over in archive.passed_over] == [True]


@pytest.mark.parametrize("missing", ["config", "layer"])
def test_an_image_of_manifest_json_that_is_not_whole_does_not_refuse_the_others(missing):
    files = files_of(docker_save(OTHER, IMAGE))
    config, layer = f"{OTHER.image_id[7:]}.json", f"{OTHER.image.diff_ids[0][7:]}/layer.tar"
    del files[config if missing == "config" else layer]

    with opened(an_archive(files)) as archive:
        assert archive.images == (IMAGE.image,)
        assert [(over.entry, over.error.code) for over in archive.passed_over if over.error] == [
            ("other:1", "content.blob_missing")
        ]


def test_encrypted_layers_are_told_as_what_they_are():
    entry, blobs = artifact(layer_type="application/vnd.oci.image.layer.v1.tar+gzip+encrypted")
    index = json.dumps({"manifests": [entry]}).encode()

    with pytest.raises(ContentError, match="encrypted") as refusal:
        opened(an_archive({**blobs, "oci-layout": b"{}", "index.json": index}))
    assert refusal.value.code == "content.encrypted"


def test_an_archive_of_a_signature_alone_says_what_it_holds():
    entry, blobs = artifact(layer_type="application/vnd.dev.cosign.simplesigning.v1+json")
    index = json.dumps({"manifests": [entry]}).encode()

    with pytest.raises(ContentError, match="simplesigning") as refusal:
        opened(an_archive({**blobs, "oci-layout": b"{}", "index.json": index}))
    assert refusal.value.code == "content.not_an_image"


def test_manifests_and_indexes_without_media_type_are_known_by_what_they_hold():
    files = oci_files(IMAGE)
    inner = files["index.json"].replace(f'"mediaType": "{MANIFEST_TYPE}", '.encode(), b"")
    entry = descriptor("", inner)
    del entry["mediaType"]
    index = json.dumps({"manifests": [entry]}).encode()

    assert_read(an_archive({**files, f"blobs/sha256/{sha256_id(inner)[7:]}": inner, "index.json": index}))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"app/manifest.json": b"[]"}, "app/manifest.json: pack the content of that folder"),
        ({"layout/oci-layout": b"{}", "layout/index.json": b"{}"}, "layout/index.json: pack the content"),
        ({"etc/passwd": b"root", "usr/bin/env": b"x"}, "docker export"),
        ({"readme": b"x"}, "neither manifest.json nor index.json"),
    ],
)
def test_what_is_no_archive_is_told_by_what_it_looks_like(files, said):
    with pytest.raises(ContentError, match=said) as refusal:
        opened(an_archive(files))
    assert refusal.value.code == "content.not_an_image"


def test_a_zip_file_is_told_as_one():
    with pytest.raises(ContentError, match="zip file"):
        opened(b"PK\x03\x04" + bytes(600))


@pytest.mark.parametrize(
    ("noted", "references", "labels"),
    [
        ("docker.io/library/app:1", ("app:1",), ()),
        ("localhost/app:1", ("localhost/app:1",), ()),
        ("latest", (), ("latest",)),
        ("1.2.3", (), ("1.2.3",)),
        ("App:1", (), ("App:1",)),
    ],
)
def test_a_note_that_is_no_name_is_kept_apart_from_names(noted, references, labels):
    built = an_image({"x": b"1"})
    files = oci_files(built)
    index = json.loads(files["index.json"])
    index["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": noted}

    with opened(an_archive({**files, "index.json": json.dumps(index).encode()})) as archive:
        (image,) = archive.images
    assert (image.references, image.labels) == (references, labels)


def platform_of(config: Mapping[str, object], entry: Mapping[str, object] | None, *, listed: bool) -> str:
    """Of an image with this in its config and in its index entry; ``listed``: manifest.json has it too."""
    data = json.dumps({**config, "rootfs": {"diff_ids": []}}).encode()
    manifest = json.dumps({"config": descriptor(CONFIG_TYPE, data), "layers": []}).encode()
    outer = descriptor(MANIFEST_TYPE, manifest, **({"platform": entry} if entry is not None else {}))
    files = {
        "oci-layout": b"{}",
        "index.json": json.dumps({"manifests": [outer]}).encode(),
        **{f"blobs/sha256/{sha256_id(blob)[7:]}": blob for blob in (data, manifest)},
    }
    if listed:
        entries = [{"Config": f"blobs/sha256/{sha256_id(data)[7:]}", "RepoTags": None, "Layers": []}]
        files["manifest.json"] = json.dumps(entries).encode()
    with opened(an_archive(files)) as archive:
        return archive.images[0].platform


@pytest.mark.parametrize("listed", [False, True], ids=["layout", "beside manifest.json"])
@pytest.mark.parametrize(
    ("config", "entry", "platform"),
    [
        (
            {"os": "linux", "architecture": "arm"},
            {"os": "linux", "architecture": "arm", "variant": "v7"},
            "linux/arm/v7",
        ),
        (
            {"os": "linux", "architecture": "arm"},
            {"os": "linux", "architecture": "arm", "variant": "v6"},
            "linux/arm/v6",
        ),
        ({"os": "linux", "architecture": "arm"}, None, "linux/arm/v7"),
        ({"os": "linux", "architecture": "arm64", "variant": "v8"}, None, "linux/arm64"),
        ({"os": "", "architecture": ""}, {"os": "linux", "architecture": "arm64"}, "linux/arm64"),
        ({}, {"os": "unknown", "architecture": "unknown"}, ""),
        ({"architecture": "amd64"}, None, "linux/amd64"),
        ({"os": "linux"}, None, ""),
        ({}, None, ""),
        ({"OS": "linux", "Architecture": "amd64"}, None, "linux/amd64"),
    ],
)
def test_the_platform_is_what_config_and_index_say_together(config, entry, platform, listed):
    assert platform_of(config, entry, listed=listed) == platform


def test_too_many_manifests_are_refused_as_a_whole_with_the_limit_to_raise():
    several = [an_image({"x": str(n).encode()}) for n in range(4)]

    for form in (docker_save, oci_archive):
        with pytest.raises(ContentError, match="the limit archive-images is 3"):
            opened(form(*several), Limits(max_archive_images=3))
        with pytest.raises(ContentError, match="the limit archive-members is 5"):
            opened(form(*several), Limits(max_archive_members=5))


def test_a_fifo_or_device_among_the_members_harms_nothing():
    odd = tarfile.TarInfo("dev/null")
    odd.type = tarfile.CHRTYPE

    assert_read(a_tar([(odd, b"")])[:-1024] + docker_save(IMAGE))
