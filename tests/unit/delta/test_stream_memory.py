"""How the memory of a patch's decoders is divided: dictionaries and tables stay within it, and go where bytes are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagedelta.delta.encode.stream_memory import bits_of_differences, divide
from imagedelta.delta.format.coders import LZMA2, MIXED_BYTES, MIXED_PROGRAMS, PROGRAMS, Params, coder
from imagedelta.delta.format.mixing import LEAST_BITS, MOST_BITS, memory_bytes
from imagedelta.delta.format.profiles import PROFILES, Profile
from imagedelta.delta.format.roles import Role
from imagedelta.limits import MIB


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize("size", [100, 3 * MIB, 100 * MIB, 10_000 * MIB])
def test_decoders_together_stay_within_the_profile_whatever_the_size(profile: Profile, size: int) -> None:
    division = divide(dict.fromkeys(Role, size), profile.decoder_bytes, replace(profile, mixed_roles=frozenset()), 0)

    decoders = [coder(LZMA2).memory(Params(dictionary_bytes=division.dictionary(role))) for role in Role]
    assert sum(decoders) <= profile.decoder_bytes
    assert max(map(division.dictionary, Role)) <= profile.max_dictionary_bytes


@given(
    st.dictionaries(st.sampled_from(list(Role)), st.integers(1, 10**10), min_size=1),
    st.integers(0, 10**9),
    st.integers(8 * MIB, 64 * MIB),
)
def test_decoders_of_the_native_coder_stay_within_it_too(sizes: dict[Role, int], changed: int, budget: int) -> None:
    profile = PROFILES["v2-64m-cm-thin"]

    bits = bits_of_differences(sizes, changed, budget, profile, 10**9)
    left = budget - (memory_bytes(bits) if bits else 0)
    division = divide(sizes, left, profile, 10**9)

    decoders = []
    for role in sizes:
        number, has_programs = division.bits(role), role is division.programs
        mixed = coder(MIXED_PROGRAMS if has_programs else MIXED_BYTES).memory(Params(bits=number)) if number else 0
        alone = coder(PROGRAMS if has_programs else LZMA2).memory(Params(dictionary_bytes=division.dictionary(role)))
        decoders.append(max(mixed, alone))
        assert not number or sizes[role] <= 10**9
    assert sum(decoders) <= max(
        left, sum(coder(LZMA2).memory(Params(dictionary_bytes=4096)) for role in sizes) + 8 * MIB
    )


@pytest.mark.parametrize("code", [1 * MIB, 30 * MIB, 60 * MIB])
def test_tables_of_the_native_coder_are_largest_for_the_largest_stream(code: int) -> None:
    profile = PROFILES["v2-64m-cm-thin"]
    sizes = {Role.LITERAL: code // 40, Role.CODE: code, Role.TEXT: code // 50, Role.TIMES: 100}

    division = divide(sizes, 52 * MIB, profile, 10**9)

    assert division.bits(Role.CODE) == MOST_BITS
    assert division.bits(Role.LITERAL) >= division.bits(Role.TEXT) >= LEAST_BITS


def test_two_large_streams_have_tables_of_the_same_size() -> None:
    division = divide({Role.LITERAL: 40 * MIB, Role.CODE: 50 * MIB}, 48 * MIB, PROFILES["v2-64m-cm-thin"], 10**9)

    assert division.bits(Role.CODE) == division.bits(Role.LITERAL) == 14


@pytest.mark.parametrize(("new", "bits"), [(100_000, MOST_BITS), (30 * MIB, 14), (300 * MIB, 12)])
def test_differences_leave_the_memory_to_new_bytes_where_most_is_new(new: int, bits: int) -> None:
    sizes = {Role.EXTRA: new, Role.SEEKS: 100}

    assert bits_of_differences(sizes, 5_000_000, 40 * MIB, PROFILES["v2-64m-cm-thin"], 10**9) == bits


def test_only_over_thin_links_are_new_bytes_mixed_that_take_a_device_long() -> None:
    divisions = {
        (name, size): divide({Role.EXTRA: size}, 48 * MIB, PROFILES[name], 10**9)
        for name in ("v2-64m-cm", "v2-64m-cm-thin")
        for size in (4 * MIB, 4 * MIB + 1)
    }

    mixing = [case for case, division in divisions.items() if division.bits(Role.EXTRA)]
    assert mixing == [("v2-64m-cm", 4 * MIB), ("v2-64m-cm-thin", 4 * MIB), ("v2-64m-cm-thin", 4 * MIB + 1)]
