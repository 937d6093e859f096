"""Any bundle round-trips; any damage to one is refused with a code, never accepted and never a crash."""

import io

from hypothesis import given, settings
from hypothesis import strategies as st

from imagedelta.bundles import parse_head, read_bundle
from imagedelta.bundles.head import MAX_ATTEMPT, TRANSFER_ID
from imagedelta.errors import ImageDeltaError
from tests.unit.bundles.bundles import ANYONE, PATCH, TRUSTED, a_bundle, a_head

_texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=60)
_numbers = st.integers(0, 2**63 - 1)
_transfer_ids = st.from_regex(TRANSFER_ID, fullmatch=True)
_addresses = st.just(ANYONE) | st.fixed_dictionaries(
    {
        **dict.fromkeys(("bundle_id", "device_id"), _texts.filter(bool)),
        "transfer_id": _transfer_ids,
        "attempt": st.integers(1, MAX_ATTEMPT),
        "number": st.integers(1, 2**63 - 1),
        "floor": _numbers,
    }
)
_GOOD = a_bundle()


@settings(max_examples=200)
@given(_addresses, _texts, _numbers, st.binary(min_size=1, max_size=3000))
def test_every_head_round_trips(address, reference, full, patch):
    fields = {**address, "reference": reference, "full_bytes": full}

    opened = read_bundle(io.BytesIO(a_bundle(patch, **fields)), TRUSTED)

    assert (opened.head, opened.patch.read()) == (a_head(patch, **fields), patch)


@settings(max_examples=500)
@given(st.data())
def test_a_mutated_bundle_is_refused_or_unchanged_in_meaning(data):
    mutated = bytearray(_GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        mutated[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=6))

    try:
        opened = read_bundle(io.BytesIO(bytes(mutated)), TRUSTED)
        opened.verify_patch_digest()
    except ImageDeltaError:
        return

    assert (opened.head, opened.patch.read()) == (a_head(), PATCH)


@settings(max_examples=300)
@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_no_bundle(data):
    for prefix in (b"", _GOOD[:60]):
        try:
            parse_head(prefix + data, TRUSTED)
        except ImageDeltaError:
            continue
        raise AssertionError("accepted")
