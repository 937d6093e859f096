"""Signatures of any image survive storage and keep to their bound; ranking takes whatever they say."""

from __future__ import annotations

import io

from hypothesis import given, settings
from hypothesis import strategies as st

from imagedelta.delta import PROFILES
from imagedelta.errors import ContentError
from imagedelta.ranking import estimate_full, rank
from imagedelta.signatures import Signature, index_layer, sign, size_bound
from imagedelta.signatures.size_code import decode_size, encode_size
from tests.images import an_image

FILES = st.dictionaries(st.from_regex(r"[a-z]{1,5}(/[a-z0-9.]{1,7}){0,2}", fullmatch=True), st.binary(max_size=300))
SIGNATURES = st.builds(
    lambda layers, note: signed(an_image(*layers, note=note)), st.lists(FILES, max_size=3), st.text("ab", max_size=2)
)


def signed(built) -> Signature:
    return sign(built.image, [index_layer(io.BytesIO(layer)) for layer in built.layers])


@given(SIGNATURES)
def test_any_signature_survives_storage_within_its_bound(signature):
    data = signature.to_bytes()

    assert Signature.from_bytes(data) == signature
    assert len(data) <= size_bound(signature.full_bytes)


@settings(max_examples=50)
@given(
    SIGNATURES, st.lists(SIGNATURES, max_size=4), st.lists(SIGNATURES, max_size=1), st.sampled_from(sorted(PROFILES))
)
def test_ranking_is_complete_deterministic_and_never_above_the_full_estimate(target, candidates, always, profile):
    ranked = rank(target, candidates, always, profile=profile)

    assert sorted(entry.image_id for entry in ranked) == sorted(entry.image_id for entry in candidates)
    assert ranked == rank(target, candidates[::-1], always, profile=profile)
    assert all(0 < entry.estimated_bytes <= estimate_full(target) + 1 for entry in ranked)


@settings(max_examples=150)
@given(SIGNATURES, st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=5))
def test_a_damaged_signature_is_refused_or_ranks_without_a_crash(signature, changes):
    data = bytearray(signature.to_bytes())
    for at, value in changes:
        data[at % len(data)] = value

    try:
        damaged = Signature.from_bytes(bytes(data))
    except ContentError:
        return
    assert len(rank(signature, [damaged])) == len(rank(damaged, [signature])) == 1


@given(st.integers(0, (1 << 63) - 1), st.integers(0, (1 << 63) - 1))
def test_size_codes_keep_the_order_of_sizes(one, other):
    low, high = sorted((one, other))

    assert encode_size(low) <= encode_size(high) < 1 << 16
    assert decode_size(encode_size(low)) <= low
