"""A way is looked at for many kinds of references and for fewer matches: each time it is what it would be by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imagedelta.delta.encode import ways
from imagedelta.delta.encode.file_diff import Difference, between
from imagedelta.delta.encode.matches import Match, matches
from imagedelta.delta.encode.versions import Versions
from imagedelta.delta.encode.ways import SAMPLE_BYTES, Way, packed_cost
from imagedelta.delta.predict.controls import Controls
from imagedelta.delta.predict.kinds import Kind
from imagedelta.limits import KIB
from tests.unit.delta.predict.programs import a_program

ALL = Kind.CODE | Kind.ADDRESSES | Kind.TABLES | Kind.JUMPS | Kind.NUMBERS
OLD = a_program(20_000, {})
NEW = a_program(20_000, {100: b"\x90" * 7, 9000: b"\xcc" * 33, 15_000: b"\x90" * 400})


def a_way(found: Difference, kinds: Kind = ALL, sample_bytes: int = SAMPLE_BYTES) -> Way:
    return Way(Versions(OLD, NEW), found, Controls(found.start, found.controls), kinds, sample_bytes)


@pytest.fixture(scope="module")
def found() -> Difference:
    return between(OLD, NEW, matches(OLD, NEW), 1)


@pytest.mark.parametrize("left_out", [Kind.NONE, Kind.CODE, Kind.ADDRESSES, Kind.TABLES, Kind.JUMPS, Kind.NUMBERS])
def test_fewer_kinds_along_a_way_are_those_kinds_alone(found: Difference, left_out: Kind) -> None:
    kinds = ALL & ~left_out

    assert a_way(found).difference(kinds) == a_way(found, kinds).difference(kinds)


def test_a_way_with_a_part_of_a_match_left_out_is_predicted_as_by_itself(found: Difference) -> None:
    whole = matches(OLD, NEW)
    first, rest = whole[0], whole[1:]
    cut = first.length // 2
    fewer = [
        Match(first.old, first.new, cut - 40),
        Match(first.old + cut, first.new + cut, first.length - cut),
        *rest,
    ]
    narrower = between(OLD, NEW, fewer, 1)

    made = a_way(found).narrowed(narrower, ALL)

    assert made == a_way(narrower).difference(ALL)
    assert len(made.difference) < len(found.difference)


def test_a_sample_tells_about_what_all_of_it_costs(found: Difference, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "_BLOCK_BYTES", 4 * KIB)
    kinds = ALL & ~Kind.CODE

    sampled = a_way(found, sample_bytes=len(NEW) // 3).cost(kinds)

    whole = packed_cost(a_way(found).difference(kinds))
    assert sampled != whole
    assert 0.7 * whole < sampled < 1.4 * whole


@pytest.mark.parametrize("left_out", [Kind.CODE, Kind.ADDRESSES, Kind.TABLES, Kind.JUMPS, Kind.NUMBERS])
def test_a_small_sample_of_all_tells_whether_a_kind_pays(found: Difference, left_out: Kind) -> None:
    roughly, exactly = a_way(found, sample_bytes=2 * len(NEW)), a_way(found)

    saved = roughly.cost(ALL & ~left_out) - roughly.cost(ALL)

    assert saved == pytest.approx(exactly.cost(ALL & ~left_out) - exactly.cost(ALL), rel=0.1, abs=40)
    assert roughly.difference(ALL) == exactly.difference(ALL)


def test_what_a_way_costs_is_counted_once(found: Difference) -> None:
    way = a_way(replace(found))

    assert way.cost(ALL) == packed_cost(way.difference(ALL))
    assert way.difference(ALL) is way.difference(ALL)
