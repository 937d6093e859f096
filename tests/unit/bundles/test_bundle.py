import hashlib
import io
import random
import zipfile
import zlib

import pytest

from imagedelta.bundles import (
    HEAD_BYTES,
    Ed25519Sealer,
    check_chunk,
    check_chunk_list,
    compose,
    parse_head,
    read_bundle,
    seal,
)
from imagedelta.bundles.keys import generate_private_key
from imagedelta.bundles.zip_layout import BundleParts, head_bytes, pack_json, tail_bytes
from imagedelta.errors import ContentError, DigestMismatch, ImageDeltaError, LimitExceeded, SealError, Truncated
from imagedelta.limits import Limits
from tests.images import an_image
from tests.unit.bundles.bundles import ANYONE, PATCH, SEALER, TRUSTED, a_bundle, a_head, chunks_of
from tests.unit.delta.patches import a_patch


def refused(bundle: bytes, trusted=TRUSTED) -> str:
    with pytest.raises(ImageDeltaError) as refusal:
        read_bundle(io.BytesIO(bundle), trusted).verify_patch_digest()
    return refusal.value.code


def test_a_bundle_is_a_zip_of_three_members_that_any_tool_opens():
    with zipfile.ZipFile(io.BytesIO(a_bundle())) as archive:
        assert archive.namelist() == ["bundle.json", "bundle.seal", "patch.imgdelta"]
        assert archive.testzip() is None
        assert archive.read("bundle.json") == a_head().to_bytes()
        assert archive.read("patch.imgdelta") == PATCH


def test_reading_gives_back_head_patch_and_key():
    opened = read_bundle(io.BytesIO(a_bundle()), TRUSTED)
    opened.verify_patch_digest()

    assert (opened.head, opened.sealed_by, opened.patch.read()) == (a_head(), SEALER.key_id, PATCH)


def test_the_first_64_kib_tell_a_downloader_what_comes():
    patch = random.Random(0).randbytes(200_000)
    bundle = a_bundle(patch)

    head, offset = parse_head(bundle[:HEAD_BYTES], TRUSTED)

    assert (head.patch_bytes, bundle[offset : offset + 100]) == (len(patch), patch[:100])


@pytest.mark.parametrize("sources", [0, 1, 2])
def test_head_seal_and_zip_of_a_bundle_made_by_hand_add_at_most_700_bytes(sources):
    """The hardest digests are random ones."""
    rng = random.Random(7)
    head = a_head(
        bundle_id="",
        device_id="",
        transfer_id="",
        attempt=0,
        number=0,
        floor=0,
        reference="",
        priority=0,
        target_image_id="sha256:" + rng.randbytes(32).hex(),
        source_image_ids=tuple("sha256:" + rng.randbytes(32).hex() for _ in range(sources)),
        patch_sha256=rng.randbytes(32).hex(),
        patch_bytes=61_869_918,
        memory_bytes=67_108_864,
        full_bytes=241_482_666,
    )

    before, after = compose(head, SEALER, 0, head.patch_bytes)

    assert len(before) + len(after) <= 700


def test_neutral_fields_are_left_out_of_the_json():
    head = a_head(**ANYONE, priority=0, source_image_ids=(), chunks_sha256="")

    assert not {b"bundleId", b"floor", b"priority", b"sourceImageIds", b"chunk"} & set(head.to_bytes().split(b'"'))


def test_composing_is_deterministic():
    assert a_bundle() == a_bundle()


@pytest.mark.parametrize("position", range(len(a_bundle()) - len(PATCH)))
def test_a_bundle_changed_at_any_byte_around_the_patch_is_refused(position):
    start = parse_head(a_bundle(), None)[1]
    end_of_json = a_bundle().index(b"PK\3\4", 1)
    if position >= start:
        position += len(PATCH)
    damaged = bytearray(a_bundle())
    damaged[position] ^= 0x20
    if position == end_of_json - 1:
        damaged[position] ^= 0x21  # the highest bits of a deflate stream's last byte mean nothing

    assert refused(bytes(damaged))


@pytest.mark.parametrize("cut", range(0, len(a_bundle()), 7))
def test_a_bundle_cut_anywhere_is_truncated(cut):
    assert refused(a_bundle()[:cut]) == "content.truncated"


def test_a_changed_patch_is_noticed():
    damaged = bytearray(a_bundle())
    damaged[parse_head(bytes(damaged), None)[1] + 5] ^= 1

    assert refused(bytes(damaged)) == "content.digest_mismatch"


def test_bytes_after_the_end_are_refused():
    assert refused(a_bundle() + b"\0") == "content.invalid"


def test_an_unsealed_bundle_is_refused_by_a_device_and_read_without_keys():
    bundle = a_bundle(sealer=None)

    assert refused(bundle) == "seal.missing"
    assert read_bundle(io.BytesIO(bundle), None).head == a_head()


def test_a_bundle_sealed_by_an_unknown_key_is_refused():
    assert refused(a_bundle(sealer=Ed25519Sealer(generate_private_key()))) == "seal.unknown_key"


def test_a_seal_moved_to_another_bundle_is_invalid():
    mine = a_bundle()
    moved = zipfile.ZipFile(io.BytesIO(mine)).read("bundle.seal")
    json = a_head(device_id="vessel-002").to_bytes()
    parts = BundleParts(pack_json(json), json, moved, zlib.crc32(PATCH), len(PATCH))

    assert refused(head_bytes(parts) + PATCH + tail_bytes(parts)) == "seal.invalid"


def sealed(json: bytes, patch: bytes = PATCH) -> bytes:
    parts = BundleParts(pack_json(json), json, seal(json, SEALER), zlib.crc32(patch), len(patch))
    return head_bytes(parts) + patch + tail_bytes(parts)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b'"version":1', b'"version":2', "content.unsupported"),
        (b'"version":1', b'"version":true', "content.unsupported"),
        (b'"version":1', b'"wheels":1,"version":1', "content.invalid"),
        (b'"version":1', b'"version":1,"wheels":1', "content.unsupported"),
        (b'"attempt":1', b'"attempt":-1', "content.invalid"),
        (b'"attempt":1', b'"attempt":0', "content.invalid"),
        (b'"attempt":1', b'"attempt":"1"', "content.invalid"),
        (b'"attempt":1', b'"attempt":99999999999999999999', "content.invalid"),
        (b'"floor":12', b'"floor":1.5', "content.invalid"),
        (b'"platform":"linux/amd64",', b"", "content.invalid"),
        (b'"reference":"app:2"', b'"reference":"app\\n2"', "content.invalid"),
        (b'"reference":"app:2"', b'"reference":["app:2"]', "content.invalid"),
        (b'"sourceImageIds":[', b'"sourceImageIds":["../etc",', "content.invalid"),
        (b"sha256:1", b"sha256:X", "content.invalid"),
        (b'"patchBytes":390', b'"patchBytes":391', "content.invalid"),
    ],
)
def test_a_sealed_head_that_breaks_a_rule_is_refused(old, new, code):
    json = a_head().to_bytes()
    assert old in json

    expected = {"content.unsupported", "content.invalid"} if b"true" in new else {code}
    assert refused(sealed(json.replace(old, new, 1))) in expected


def test_a_head_that_unpacks_to_more_than_it_may_is_refused_before_it_is_unpacked():
    bomb = pack_json(b" " * 50_000_000)[:8000]
    parts = BundleParts(bomb, b"", b"", 0, 1)

    with pytest.raises(LimitExceeded):
        parse_head(head_bytes(parts) + bytes(HEAD_BYTES), None)


def test_a_json_member_that_declares_gigabytes_is_refused():
    bundle = bytearray(a_bundle())
    bundle[18:22] = b"\xff\xff\xff\x7f"

    with pytest.raises(LimitExceeded):
        parse_head(bytes(bundle), None)


@pytest.mark.parametrize("name", ["../../etc/passwd", "extra"])
def test_a_zip_with_another_member_is_refused(name):
    out = io.BytesIO(a_bundle())
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr(name, b"x")

    assert refused(out.getvalue()) == "content.invalid"


def test_a_zip_with_members_of_other_names_is_refused():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in ("../bundle.json", "bundle.seal", "patch.imgdelta"):
            archive.writestr(name, b"x")

    assert refused(out.getvalue()) == "content.invalid"


def test_a_bundle_written_by_a_zip_tool_is_refused_even_with_the_right_members():
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(a_bundle())) as ours, zipfile.ZipFile(out, "w") as theirs:
        for name in ours.namelist():
            theirs.writestr(name, ours.read(name))

    assert refused(out.getvalue()).startswith("content.")


def test_a_patch_over_the_limit_is_refused():
    with pytest.raises(LimitExceeded):
        read_bundle(io.BytesIO(a_bundle()), TRUSTED, Limits(max_image_bytes=100))


class HugeBundle(io.RawIOBase):
    """A bundle with a patch of zeros that is never held: seek and read only."""

    def __init__(self, head: bytes, patch_bytes: int, tail: bytes) -> None:
        super().__init__()
        self._head, self._patch, self._tail, self._at = head, patch_bytes, tail, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        size = len(self._head) + self._patch + len(self._tail)
        self._at = {0: 0, 1: self._at, 2: size}[whence] + offset
        return self._at

    def readinto(self, buffer) -> int:
        size = len(self._head) + self._patch + len(self._tail)
        wanted = min(len(buffer), size - self._at)
        data = bytearray(wanted)
        for start, part in ((0, self._head), (len(self._head) + self._patch, self._tail)):
            low, high = max(self._at, start), min(self._at + wanted, start + len(part))
            if low < high:
                data[low - self._at : high - self._at] = part[low - start : high - start]
        buffer[:wanted] = data
        self._at += wanted
        return wanted


@pytest.mark.parametrize("patch_bytes", [0xFFFEFFFF, 0xFFFF0000, 0xFFFFFFFF, 0x100000000, 6 << 30])
def test_a_patch_around_and_over_4_gib_makes_a_valid_zip64(patch_bytes):
    head = a_head(patch_bytes=patch_bytes)
    before, after = compose(head, SEALER, 0, patch_bytes)
    stream = HugeBundle(before, patch_bytes, after)

    opened = read_bundle(stream, TRUSTED)
    with zipfile.ZipFile(HugeBundle(before, patch_bytes, after)) as archive:
        info = archive.getinfo("patch.imgdelta")
        with archive.open(info) as member:
            assert member.read(10) == bytes(10)

    assert (opened.head, info.file_size) == (head, patch_bytes)


def test_the_chunk_list_lets_each_chunk_be_held_as_it_arrives():
    patch = random.Random(1).randbytes(2500)
    chunks = chunks_of(patch, 1000)
    head = a_head(patch, chunk_bytes=1000, chunks_sha256=hashlib.sha256(chunks).hexdigest())

    check_chunk_list(head, chunks)
    for number in range(3):
        check_chunk(chunks, number, patch[number * 1000 : (number + 1) * 1000])
    with pytest.raises(DigestMismatch):
        check_chunk(chunks, 1, patch[:1000])
    with pytest.raises(DigestMismatch):
        check_chunk(chunks, 3, b"")
    with pytest.raises(DigestMismatch):
        check_chunk_list(head, chunks[:-32])


def test_sizes_that_disagree_cannot_be_composed():
    with pytest.raises(ContentError):
        compose(a_head(), SEALER, 0, len(PATCH) + 1)


def test_a_prefix_that_ends_inside_the_head_is_truncated():
    with pytest.raises(Truncated):
        parse_head(a_bundle()[:100], TRUSTED)


def test_nothing_inside_is_read_before_the_seal_holds():
    with pytest.raises(SealError):
        parse_head(sealed_by_nobody(b"not even JSON"), TRUSTED)


def sealed_by_nobody(json: bytes) -> bytes:
    parts = BundleParts(pack_json(json), json, bytes(73), 0, 1)
    return head_bytes(parts) + b"\0" + tail_bytes(parts)


def test_without_keys_the_seal_is_named_and_not_checked():
    opened = read_bundle(io.BytesIO(a_bundle()), None)
    unsealed = read_bundle(io.BytesIO(a_bundle(sealer=None)), None)

    assert (opened.sealed_by, opened.seal_checked) == (SEALER.key_id, False)
    assert (unsealed.sealed_by, unsealed.seal_checked) == (None, False)
    assert read_bundle(io.BytesIO(a_bundle()), TRUSTED).seal_checked


OLD, NEW = an_image({"a": b"old"}), an_image({"a": b"new"})
SEALED = {"target_image_id": NEW.image_id, "source_image_ids": (OLD.image_id,), "platform": "linux/amd64"}


@pytest.fixture
def patch(tmp_path) -> bytes:
    return a_patch(NEW, OLD, scratch=tmp_path)[0]


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm/v7"])
def test_a_patch_that_makes_what_was_sealed_is_taken_whatever_a_person_said_of_its_platform(patch, platform):
    opened = read_bundle(io.BytesIO(a_bundle(patch, **SEALED | {"platform": platform})), TRUSTED)

    assert opened.read_patch_head().target_image_id == NEW.image_id
    assert opened.patch.read() == patch


@pytest.mark.parametrize(
    "other",
    [
        {"target_image_id": OLD.image_id},
        {"source_image_ids": ()},
        {"source_image_ids": (NEW.image_id,)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_patch_for_something_else_than_was_sealed_is_refused(patch, other):
    opened = read_bundle(io.BytesIO(a_bundle(patch, **SEALED | other)), TRUSTED)

    opened.verify_patch_digest()
    with pytest.raises(ContentError, match="wrong patch"):
        opened.read_patch_head()
