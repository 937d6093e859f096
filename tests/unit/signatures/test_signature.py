"""Signatures are small, comparable, and refuse what does not fit them."""

from __future__ import annotations

import hashlib
import io
import struct

import pytest

from imagedelta.archives import Image, sha256_id
from imagedelta.errors import ContentError, LimitExceeded, RequestError, UnsupportedFormat
from imagedelta.limits import KIB, Limits
from imagedelta.signatures import FileEntry, LayerIndex, Signature, index_layer, sign, size_bound
from imagedelta.signatures.file_kind import FileKind, kind_of
from imagedelta.signatures.sampling import priority_of
from imagedelta.signatures.signature import name_key
from imagedelta.signatures.size_code import decode_size, encode_size
from tests.images import BuiltImage, an_image

BASE = {"etc/os": b"debian" * 300, "usr/lib/libx.so.1": b"x" * 9000}


def signed(built: BuiltImage) -> Signature:
    return sign(built.image, [index_layer(io.BytesIO(layer)) for layer in built.layers])


def synthetic(files: int, *, salt: int = 0, changed_from: int = 0) -> Signature:
    """An image of many files of growing size; those from ``changed_from`` on differ by ``salt``."""
    entries, offset = [], 0
    for n in range(files):
        content = hashlib.sha256(b"%d" % n + (b"%d" % salt if salt and n >= changed_from else b"")).digest()
        size = 100 + n % 5000
        name = hashlib.sha256(b"name %d" % n).hexdigest().translate(str.maketrans("0123456789", "ghijklmnop"))
        entries.append(FileEntry(f"usr/{name[:8]}/{name[8:20]}".encode(), "file", offset, offset + 512, size, content))
        offset += 512 + -(-size // 512) * 512
    index = LayerIndex(sha256_id(b"%d %d" % (files, salt)), offset, tuple(entries))
    image = Image(sha256_id(b"image %d %d" % (files, salt)), b"{}", (index.diff_id,), "linux/amd64")
    return sign(image, [index])


def test_a_signature_is_stored_and_read_back():
    signature = signed(an_image(BASE, {"app": b"1" * 100}, platform="linux/arm/v7"))

    assert Signature.from_bytes(signature.to_bytes()) == signature
    assert signature.to_bytes() == signed(an_image(BASE, {"app": b"1" * 100}, platform="linux/arm/v7")).to_bytes()


def test_an_image_without_layers_has_a_signature():
    signature = signed(an_image())

    assert Signature.from_bytes(signature.to_bytes()) == signature
    assert len(signature.files) == 0


def test_a_signature_names_the_image_its_size_and_its_layers():
    built = an_image(BASE)
    signature = signed(built)

    assert (signature.image_id, signature.platform) == (built.image_id, "linux/amd64")
    assert signature.full_bytes == len(built.layers[0]) + len(built.image.config)
    assert [(layer.diff_id, layer.size, layer.members) for layer in signature.layers] == [
        (built.image.diff_ids[0], len(built.layers[0]), 2)
    ]


def test_each_distinct_content_is_counted_once_in_any_layer_order():
    files = {"a": b"same" * 100, "b": b"same" * 100, "c": b"other"}
    others = {"b": b"same" * 100}

    up, down = signed(an_image(files, others)), signed(an_image(others, files))

    assert len(up.files) == 2
    assert up.files == down.files


@pytest.mark.parametrize("files", [10, 2000, 5000, 30_000])
def test_a_signature_keeps_to_its_bound(files):
    signature = synthetic(files)

    assert len(signature.to_bytes()) <= size_bound(signature.full_bytes)


def test_the_bound_is_a_thousandth_but_at_least_32_kib():
    assert size_bound(0) == size_bound(32 * KIB * 1000) == 32 * KIB
    assert size_bound(500_000_000) == 500_000


def test_a_sampled_signature_keeps_what_is_above_its_threshold_and_nothing_else():
    everything, sampled = synthetic(1500), synthetic(30_000)

    assert everything.threshold == 0.0
    assert sampled.threshold > 0
    assert all(priority_of(decode_size(row.size_code), row.key) > sampled.threshold for row in sampled.files.rows())
    assert 0.9 * size_bound(sampled.full_bytes) < len(sampled.to_bytes())


def test_two_images_keep_the_same_sample_of_the_files_they_share():
    one, other = synthetic(30_000), synthetic(30_000, salt=1, changed_from=29_000)
    threshold = max(one.threshold, other.threshold)

    def above(signature: Signature) -> set[tuple[int, ...]]:
        rows = signature.files.rows()
        return {row for row in rows if priority_of(decode_size(row[1]), row[0]) > threshold}

    kept, shared = above(one), above(one) & above(other)
    assert len(kept) > 1000
    assert 0.93 < len(shared) / len(kept) < 0.99


def lines(seed: int, count: int = 400) -> bytes:
    """Text that a sketch can be taken of."""
    return b"".join(b"value %d of version %d\n" % (seed * n * n % 9973, n) for n in range(count))


def test_larger_files_have_a_sketch_and_smaller_ones_none():
    signature = signed(an_image({"large": lines(1), "small": b"small"}))
    places = signature.files.sketch_places()

    sketches = {size: signature.files.sketch(row, places) for row, size in enumerate(signature.files.sizes)}

    assert sketches[5] == ()
    assert [len(sketch) for size, sketch in sketches.items() if size != 5] == [8]


def test_when_sketches_do_not_fit_the_largest_files_have_one():
    files = {f"{n}.txt": lines(n, 100 + n // 8) for n in range(1, 1500)}
    signature = signed(an_image(files))
    places = signature.files.sketch_places()

    assert 0 < places[-1] < len(signature.files)
    assert signature.files.sketched_from > 2048
    for row, size in enumerate(signature.files.sizes):
        assert bool(signature.files.sketch(row, places)) == (size >= signature.files.sketched_from)
    assert len(signature.to_bytes()) <= size_bound(signature.full_bytes)
    assert Signature.from_bytes(signature.to_bytes()) == signature


def test_a_count_of_sketches_that_fits_no_row_is_refused():
    data = bytearray(signed(an_image({"large": lines(1)})).to_bytes())
    data[60:62] = struct.pack("<H", 0xFFFF)

    with pytest.raises(ContentError, match="sketches"):
        Signature.from_bytes(bytes(data))


def test_compiled_python_files_that_differ_in_their_time_count_as_the_same():
    def module(time: int) -> bytes:
        return b"\xa7\r\r\n" + bytes(4) + struct.pack("<II", time, 300) + b"code" * 100

    one, other = (signed(an_image({"m.pyc": module(time)})) for time in (1, 2))

    assert one.files == other.files


def test_indexes_of_other_layers_are_refused():
    built = an_image(BASE)

    with pytest.raises(RequestError):
        sign(built.image, [])
    with pytest.raises(RequestError):
        sign(built.image, [index_layer(io.BytesIO(b"other"))])


@pytest.mark.parametrize("change", [-1, 1])
def test_a_signature_cut_or_extended_is_refused(change):
    data = signed(an_image(BASE)).to_bytes()

    with pytest.raises(ContentError):
        Signature.from_bytes(data[:change] if change < 0 else data + b"\0")
    for size in (0, 5, 65):
        with pytest.raises(ContentError):
            Signature.from_bytes(data[:size])


@pytest.mark.parametrize(("at", "value"), [(0, 0), (4, 1)])
def test_another_magic_or_version_is_unsupported(at, value):
    data = bytearray(signed(an_image(BASE)).to_bytes())
    data[at] = value

    with pytest.raises(UnsupportedFormat):
        Signature.from_bytes(bytes(data))


def test_a_signature_over_the_limits_is_refused():
    data = signed(an_image(BASE, {"a": b"1"})).to_bytes()

    for limits in (
        Limits(max_signature_bytes=100),
        Limits(max_layers=1),
        Limits(max_image_bytes=0, max_config_bytes=0),
    ):
        with pytest.raises(LimitExceeded):
            Signature.from_bytes(data, limits)


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), -1.0])
def test_a_threshold_that_is_no_number_is_refused(threshold):
    data = bytearray(signed(an_image(BASE)).to_bytes())
    data[48:56] = struct.pack("<d", threshold)

    with pytest.raises(ContentError):
        Signature.from_bytes(bytes(data))


def test_a_platform_that_is_no_ascii_is_refused():
    data = bytearray(signed(an_image(BASE)).to_bytes())
    data[66] = 0xFF

    with pytest.raises(ContentError):
        Signature.from_bytes(bytes(data))


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        (b"usr/lib/libicudata.so.72.1", b"opt/lib/libicudata.so.76.1", True),
        (b"shared/2.1.0/System.dll", b"shared/2.1.30/System.dll", True),
        (b"dist/main.3f2a91bc.js", b"dist/main.77e0c1d2.js", True),
        (b"a/index.js", b"b/index.js", False),
        (b"app/main.dll", b"app/other.dll", False),
    ],
)
def test_a_file_finds_its_predecessor_by_name_without_digits_and_hashes(old, new, same):
    assert (name_key(old) == name_key(new)) is same


def test_sizes_are_exact_when_small_and_close_when_large():
    assert all(decode_size(encode_size(size)) == size for size in range(2048))
    for size in (2049, 5001, 10**6 + 1, 10**9 + 7, (1 << 63) - 1):
        assert 0 <= size - decode_size(encode_size(size)) < size / 1000
        assert encode_size(size) < 1 << 16


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (b"usr/lib/libc.so.6", FileKind.NATIVE),
        (b"app/build/addon.node", FileKind.NATIVE),
        (b"app/Main.DLL", FileKind.MANAGED),
        (b"app/readme.md", FileKind.TEXT),
        (b"app/__pycache__/main.cpython-311.pyc", FileKind.BYTECODE),
        (b"app/logo.png", FileKind.PACKED),
        (b"usr/bin/perl", FileKind.OTHER),
        (b"a.so/readme", FileKind.OTHER),
    ],
)
def test_the_kind_of_a_file_is_guessed_from_its_name(path, kind):
    assert kind_of(path) is kind
