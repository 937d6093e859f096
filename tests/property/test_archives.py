"""Any image survives any archive form, and any bytes are either read within bounds or refused."""

from __future__ import annotations

import bz2
import io
import lzma
import tarfile
import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from imagedelta.archives import open_archive, write_docker_archive, write_oci_archive
from imagedelta.archives.tar_members import SeekTape, walk_tar
from imagedelta.errors import ContentError
from imagedelta.limits import KIB, MIB, Limits
from tests.images import BuiltImage, a_tar, an_image, docker_save, gzipped, oci_archive, plain, zstd_packed

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60)
LAYERS = st.dictionaries(NAMES.filter(lambda name: name not in (".", "..")), st.binary(max_size=2000), max_size=5)
REFERENCES = st.lists(st.from_regex(r"[a-z]{1,9}:[a-z0-9][a-z0-9.]{0,8}", fullmatch=True), max_size=3, unique=True)
IMAGES = st.builds(
    lambda layers, references: an_image(*layers, references=tuple(references)),
    st.lists(st.one_of(LAYERS, st.binary(max_size=1500)), max_size=4),
    REFERENCES,
)
SMALL = Limits(
    max_window_bytes=8 * MIB, max_image_bytes=4 * MIB, max_config_bytes=64 * KIB, max_manifest_bytes=64 * KIB
)


def layers_of(data: bytes, built: BuiltImage) -> tuple[bytes, ...]:
    with open_archive(io.BytesIO(data)) as archive:
        assert archive.images == (built.image,)
        return tuple(archive.open_layer(built.image, n).read() for n in range(len(built.layers)))


@given(IMAGES, st.sampled_from([docker_save, oci_archive]), st.sampled_from([plain, gzipped, zstd_packed]))
def test_any_image_is_read_from_any_form(built, form, pack):
    assert layers_of(form(built, pack=pack), built) == built.layers


@given(IMAGES, st.sampled_from([write_docker_archive, write_oci_archive]))
def test_any_image_survives_our_own_writers(built, write):
    out = io.BytesIO()

    write(out, built.image, [len(layer) for layer in built.layers], built.open_layer)

    assert layers_of(out.getvalue(), built) == built.layers


def read_everything(data: bytes) -> None:
    """Read all layers of an archive as a registration does; only a ContentError may come out."""
    try:
        with open_archive(io.BytesIO(data), SMALL, scratch=io.BytesIO()) as archive:
            for image in archive.images:
                for position in range(len(image.diff_ids)):
                    with archive.open_layer(image, position) as layer:
                        while layer.read(64 * KIB):
                            pass
    except ContentError:
        pass


SAMPLES = [
    form(an_image({"a": b"1" * 700}, {"b": b"2" * 90}, references=("a:1",)), pack=pack)
    for form in (docker_save, oci_archive)
    for pack in (plain, gzipped, zstd_packed, lzma.compress, bz2.compress)
]


@settings(max_examples=300)
@given(
    st.sampled_from([*SAMPLES, *map(gzipped, SAMPLES), *map(zstd_packed, SAMPLES)]),
    st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=4),
    st.one_of(st.none(), st.integers(0, 1 << 14)),
)
def test_a_damaged_archive_is_read_or_refused_within_bounds(sample, changes, cut):
    data = bytearray(sample)
    for at, value in changes:
        data[at % len(data)] = value

    read_everything(bytes(data[:cut]))


def test_damaged_archives_allocate_little():
    tracemalloc.start()
    try:
        for sample in SAMPLES:
            for at in range(0, len(sample), 97):
                data = bytearray(sample)
                data[at] ^= 0x41
                read_everything(bytes(data))
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()


@settings(max_examples=300)
@given(st.binary(max_size=4000))
def test_any_bytes_are_an_archive_or_refused(data):
    read_everything(data)


MEMBERS = st.lists(
    st.tuples(
        st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=300),
        st.sampled_from([tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE]),
        st.text("ab/.", min_size=1, max_size=200),
        st.binary(max_size=1200),
    ),
    max_size=6,
)


@given(MEMBERS, st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_the_tar_reader_agrees_with_tarfile(members, form):
    made = []
    for name, kind, link, content in members:
        info = tarfile.TarInfo(name)
        info.type = kind
        is_file = kind in tarfile.REGULAR_TYPES
        info.linkname = "" if is_file else link
        info.size = len(content) if is_file else 0
        made.append((info, content if is_file else b""))
    data = a_tar(made, form=form)

    found = [
        (member.path.decode(), member.header_offset, member.offset, member.size)
        for member in walk_tar(SeekTape(io.BytesIO(data)), Limits(), strict=True, max_members=10)
    ]

    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert found == [(m.name, m.offset, m.offset_data, m.size) for m in tar]
