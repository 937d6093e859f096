"""The file index says where every file is, for any bytes at all."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import replace

import pytest
import zstandard

from imagedelta.archives import sha256_id
from imagedelta.errors import ContentError, ImageDeltaError, LimitExceeded, UnsupportedFormat
from imagedelta.limits import MIB, Limits
from imagedelta.signatures import FileEntry, LayerIndex, index_layer
from imagedelta.signatures.index_codec import HEADER
from tests.images import a_layer, a_tar

LAYER = a_layer({"etc/": b"", "./etc/os": b"debian" * 300, "bin": b"-> usr/bin", "/empty": b"", "z": b"1"})


def indexed(data: bytes, **options) -> LayerIndex:
    return index_layer(io.BytesIO(data), **options)


def test_every_file_is_where_the_index_says_with_its_digest():
    index = indexed(LAYER)

    assert (index.diff_id, index.size) == (sha256_id(LAYER), len(LAYER))
    for entry in index.entries:
        data = LAYER[entry.offset : entry.offset + entry.size]
        assert entry.digest == (hashlib.sha256(data).digest() if data else b"")


def test_paths_are_relative_and_in_the_order_of_the_tar():
    found = [(entry.path, entry.kind, entry.size) for entry in indexed(LAYER).entries]

    assert found == [
        (b"etc", "directory", 0),
        (b"etc/os", "file", 1800),
        (b"bin", "symlink", 0),
        (b"empty", "file", 0),
        (b"z", "file", 1),
    ]


def test_the_layer_is_handed_on_while_it_is_read():
    pieces: list[bytes] = []

    indexed(LAYER, tee=pieces.append)

    assert b"".join(pieces) == LAYER


def test_a_stream_that_answers_in_small_pieces_gives_the_same_index():
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 7, 7))

    assert index_layer(Slow(LAYER)) == indexed(LAYER)


@pytest.mark.parametrize("data", [b"", b"x", b"x" * 5000, bytes(10_240), LAYER[:700], b"\x1f\x8b" * 600])
def test_bytes_that_are_no_tar_are_all_structure(data):
    index = indexed(data)

    assert (index.diff_id, index.size) == (sha256_id(data), len(data))
    assert all(entry.offset + entry.size <= len(data) for entry in index.entries)


def test_a_file_whose_data_is_cut_off_is_structure():
    cut = LAYER[: LAYER.index(b"debian") + 100]

    assert [entry.path for entry in indexed(cut).entries] == [b"etc"]


def test_bytes_behind_the_end_mark_belong_to_the_layer():
    index = indexed(LAYER + b"trailing")

    assert index.size == len(LAYER) + 8
    assert index.entries == indexed(LAYER).entries


def test_a_declared_giant_file_is_structure():
    info = tarfile.TarInfo("giant")
    info.size = 1 << 62

    assert indexed(info.tobuf(tarfile.GNU_FORMAT) + b"data").entries == ()


def test_more_members_or_bytes_than_the_limits_allow_are_refused():
    with pytest.raises(LimitExceeded):
        indexed(LAYER, limits=Limits(max_layer_files=3))
    with pytest.raises(LimitExceeded):
        indexed(LAYER, limits=Limits(max_image_bytes=1000))


def test_a_large_file_is_hashed_across_pieces():
    content = bytes(range(256)) * 10_000
    layer = a_layer({"big": content, "next": b"1"})

    big, following = indexed(layer).entries
    assert (big.size, big.digest) == (len(content), hashlib.sha256(content).digest())
    assert following.header_offset == 512 + -(-len(content) // 512) * 512


def test_an_index_is_stored_and_read_back():
    index = indexed(LAYER)

    assert LayerIndex.from_bytes(index.to_bytes()) == index
    assert index.to_bytes() == indexed(LAYER).to_bytes()


def test_an_index_of_nothing_is_stored_and_read_back():
    assert LayerIndex.from_bytes(indexed(b"").to_bytes()) == indexed(b"")


def test_a_stored_index_is_small():
    files = {f"usr/lib/python3/dist-packages/package{n}/module.py": b"%d" % n for n in range(500)}

    stored = indexed(a_layer(files)).to_bytes()

    assert len(stored) < 500 * (32 + 8)  # a digest, and little else, per file


@pytest.mark.parametrize("cut", [0, 10, HEADER.size - 1, HEADER.size, HEADER.size + 20, -1])
def test_a_stored_index_that_was_cut_is_refused(cut):
    with pytest.raises(ContentError):
        LayerIndex.from_bytes(indexed(LAYER).to_bytes()[:cut])


@pytest.mark.parametrize(("at", "value"), [(0, ord("X")), (4, 1)])
def test_another_magic_or_version_is_unsupported(at, value):
    data = bytearray(indexed(LAYER).to_bytes())
    data[at] = value

    with pytest.raises(UnsupportedFormat):
        LayerIndex.from_bytes(bytes(data))


def test_a_stored_index_over_the_limits_is_refused_before_it_is_unpacked():
    data = indexed(LAYER).to_bytes()

    for limits in (Limits(max_index_bytes=50), Limits(max_layer_files=4), Limits(max_image_bytes=4000)):
        with pytest.raises(LimitExceeded):
            LayerIndex.from_bytes(data, limits)


def test_a_stored_index_that_expands_beyond_its_header_is_refused():
    bomb = zstandard.compress(bytes(64 * MIB))
    header = HEADER.pack(b"IMDI", 2, bytes(32), 0, 0, 10, len(bomb), 0)

    with pytest.raises(ContentError):
        LayerIndex.from_bytes(header + bomb)


def test_an_entry_past_the_end_of_the_layer_is_refused():
    index = replace(indexed(LAYER), size=2000)

    with pytest.raises(ContentError):
        LayerIndex.from_bytes(index.to_bytes())


@pytest.mark.parametrize("byte", range(60, 90))
def test_a_flipped_byte_is_refused_or_gives_another_index_but_never_a_crash(byte):
    data = bytearray(indexed(LAYER).to_bytes())
    data[byte] ^= 0xFF

    try:
        found = LayerIndex.from_bytes(bytes(data))
    except ImageDeltaError:
        return
    assert all(entry.offset + entry.size <= found.size for entry in found.entries)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_other_alphabets_are_kept_as_bytes(form):
    info = tarfile.TarInfo("größe")
    info.size = 1

    (entry,) = indexed(a_tar([(info, b"1")], form=form)).entries
    assert entry == FileEntry("größe".encode(), "file", 0, entry.offset, 1, hashlib.sha256(b"1").digest())
