from __future__ import annotations

import hashlib
import io
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagedelta.bundles import (
    MAX_SHARED_BYTES,
    check_chunk_list,
    compose,
    parse_head,
    read_bundle,
    read_shared,
    share,
)
from imagedelta.errors import ContentError, ImageDeltaError, LimitExceeded, Truncated
from imagedelta.limits import DEFAULT_LIMITS
from tests.unit.bundles.bundles import PATCH, SEALER, TRUSTED, a_bundle, a_head, a_shared, chunks_of


@pytest.mark.parametrize("sources", [(), ("sha256:" + "2" * 64,)])
def test_a_shared_bundle_and_the_patch_make_the_composed_one_byte_for_byte(sources: tuple[str, ...]) -> None:
    chunks = chunks_of(PATCH, 100)
    changes = {
        "chunk_bytes": 100,
        "chunks_sha256": hashlib.sha256(chunks).hexdigest(),
        "source_image_ids": sources,
    }

    shared = read_shared(a_shared(**changes))

    whole = shared.before + PATCH + shared.after
    assert whole == a_bundle(**changes)
    assert (shared.patch_bytes, shared.bundle_bytes) == (len(PATCH), len(whole))
    assert whole[shared.patch_end :] == shared.after
    check_chunk_list(read_bundle(io.BytesIO(whole), TRUSTED).head, shared.chunks)


def test_the_seal_is_checked_before_a_byte_of_the_patch_is_here() -> None:
    shared = read_shared(a_shared())

    head, offset = parse_head(shared.before, TRUSTED)

    assert (head.patch_bytes, offset) == (len(PATCH), len(shared.before))
    with pytest.raises(ImageDeltaError) as refusal:
        parse_head(read_shared(a_shared(sealer=None)).before, TRUSTED)
    assert refusal.value.code == "seal.missing"


@pytest.mark.parametrize("patch_bytes", [2**32 - 65_536, 2**33])
def test_a_patch_of_many_gigabytes_is_shared_too(patch_bytes: int) -> None:
    head = a_head(patch_bytes=patch_bytes)
    before, after = compose(head, SEALER, 7, patch_bytes)

    shared = read_shared(share(before, bytes(32)))

    assert (shared.before, shared.patch_bytes, shared.after) == (before, patch_bytes, after)


@pytest.mark.parametrize("cut", [0, 1, 29, 100, 300])
def test_a_shared_bundle_cut_in_its_head_is_truncated(cut: int) -> None:
    with pytest.raises(Truncated):
        read_shared(a_shared()[:cut])


def test_a_list_cut_by_one_byte_is_not_the_sealed_one() -> None:
    shared = read_shared(a_shared()[:-1])

    with pytest.raises(ContentError) as refusal:
        check_chunk_list(parse_head(shared.before, TRUSTED)[0], shared.chunks)
    assert refusal.value.code == "content.digest_mismatch"


def test_a_file_over_the_limit_is_neither_made_nor_read() -> None:
    before, _ = compose(a_head(), SEALER, zlib.crc32(PATCH), len(PATCH))
    fits = MAX_SHARED_BYTES - len(before)

    assert len(read_shared(share(before, bytes(fits))).chunks) == fits
    with pytest.raises(LimitExceeded):
        share(before, bytes(fits + 1))
    with pytest.raises(LimitExceeded):
        read_shared(before + bytes(fits + 1))


@pytest.mark.parametrize("patch_bytes", [DEFAULT_LIMITS.max_image_bytes + 1, 2**63 - 1, 2**64 - 1])
def test_a_size_that_no_patch_has_is_refused_before_anything_is_computed_from_it(patch_bytes: int) -> None:
    before, _ = compose(a_head(patch_bytes=2**40), SEALER, 0, 2**40)
    size = (2**40).to_bytes(8, "little")

    with pytest.raises(LimitExceeded):
        read_shared(before.replace(size, patch_bytes.to_bytes(8, "little")))


@given(st.binary(max_size=600), st.integers(0, 500))
def test_any_bytes_are_a_shared_bundle_or_refused(noise: bytes, keep: int) -> None:
    data = a_shared()[:keep] + noise

    try:
        shared = read_shared(data)
    except ImageDeltaError:
        return
    assert shared.before + shared.chunks == data
