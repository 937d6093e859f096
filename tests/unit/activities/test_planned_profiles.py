"""Which patch profiles are planned: those with the native coder where this machine and the device have it."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import NamedTuple

import pytest

from edge_module.inventory import readable_profiles
from imagedelta.delta.format.profiles import MIXED, PROFILES, THIN
from imagedelta.limits import MIB
from services.plan_facts import policy_of
from tests.unit.activities.bench import Bench

BASE = next(name for name in PROFILES if f"{name}{MIXED}" in PROFILES)


class NoOrder(NamedTuple):
    workstream: str = "bridge"
    priority: str | None = None


@pytest.fixture
def no_native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagedelta_native", None)


def known(bench: Bench, default: str) -> tuple[list[str], list[str]]:
    settings = replace(bench.deps.settings, default_profile=default)
    policy = policy_of(replace(bench.deps, settings=settings), NoOrder())
    return list(policy.known_profiles), list(policy.thin_profiles)


def test_the_native_coder_comes_first_where_it_is(bench: Bench) -> None:
    profiles, thin = known(bench, BASE)

    assert profiles[:2] == [f"{BASE}{MIXED}", BASE]
    assert thin == [f"{BASE}{THIN}"]


def test_a_default_without_a_form_for_the_native_coder_is_built_as_it_is(bench: Bench) -> None:
    profiles, thin = known(bench, "v1-16m")

    assert (profiles[0], thin) == ("v1-16m", [])


@pytest.mark.parametrize("default", ["v1-64m", "v1-16m-nofold", "v2-64m", "v2-16m"])
def test_who_chose_a_format_gets_it_wherever_a_device_reads_it(bench: Bench, default: str) -> None:
    profiles, _ = known(bench, default)
    formats = [name[:3] for name in profiles]

    assert formats == sorted(formats, key=lambda each: each != default[:3])
    assert set(profiles) >= {name for name, profile in PROFILES.items() if not profile.mixes}


@pytest.mark.parametrize(
    ("reads", "gets"),
    [
        ({"v1-64m", "v1-16m"}, "v1-64m"),
        ({"v1-16m", "v2-16m"}, "v2-16m"),
        ({"v1-64m-nofold", "v2-64m-nofold", "v2-16m-nofold"}, "v2-64m-nofold"),
        ({"v1-16m-nofold", "v2-16m-nofold"}, "v2-16m-nofold"),
    ],
)
def test_a_device_that_cannot_read_the_default_gets_the_largest_it_reads(
    bench: Bench, reads: set[str], gets: str
) -> None:
    profiles, _ = known(bench, "v2-64m")

    assert next(name for name in profiles if name in reads) == gets


def test_whatever_the_first_format_offers_the_second_does() -> None:
    first = {name.removeprefix("v1-") for name in PROFILES if name.startswith("v1-")}

    assert first <= {name.removeprefix("v2-") for name in PROFILES}


def test_without_the_native_coder_nothing_is_planned_with_it(bench: Bench, no_native: None) -> None:
    profiles, thin = known(bench, BASE)

    assert (profiles[0], thin) == (BASE, [])
    assert not any(PROFILES[name].mixes for name in profiles)


def test_a_device_offers_what_the_native_coder_reads_only_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with_it = readable_profiles(128 * MIB)
    monkeypatch.setitem(sys.modules, "imagedelta_native", None)
    without = readable_profiles(128 * MIB)

    assert {f"{BASE}{MIXED}", f"{BASE}{THIN}", BASE} <= set(with_it)
    assert without == [name for name in with_it if not PROFILES[name].mixes]
