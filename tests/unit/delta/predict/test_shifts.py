"""How far places of an old file moved."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from imagedelta.delta.predict.shifts import Shifts, Stretch

STRETCHES = st.lists(st.builds(Stretch, st.integers(0, 300), st.integers(0, 300), st.integers(1, 80)), max_size=12)


def test_without_a_match_nothing_moves() -> None:
    assert [Shifts([]).moved(place) for place in (0, 7)] == [0, 7]


def test_a_place_between_two_matches_moves_with_the_nearer_one() -> None:
    shifts = Shifts([Stretch(10, 110, 10), Stretch(30, 230, 10)])

    assert [shifts.of(place) for place in (0, 15, 24, 25, 30, 99)] == [100, 100, 100, 200, 200, 200]


def test_where_matches_overlap_the_longest_counts() -> None:
    shifts = Shifts([Stretch(0, 0, 100), Stretch(40, 1040, 20), Stretch(90, 2090, 300)])

    assert [shifts.of(place) for place in (39, 50, 89, 95, 389)] == [0, 0, 0, 2000, 2000]


@given(STRETCHES)
def test_every_place_in_a_match_moves_as_the_longest_that_has_it(stretches: list[Stretch]) -> None:
    shifts = Shifts(stretches)

    for place in range(400):
        having = [s for s in stretches if s.old <= place < s.old + s.length]
        if having:
            longest = max(s.length for s in having)
            assert shifts.of(place) in {s.new - s.old for s in having if s.length == longest}


@given(STRETCHES, st.integers(0, 300), st.integers(1, 200))
def test_stretches_of_one_shift_say_the_same_as_each_place(stretches: list[Stretch], start: int, size: int) -> None:
    shifts = Shifts(stretches)

    parts = list(shifts.constant_between(start, start + size))

    assert [place for first, end, _ in parts for place in range(first, end)] == list(range(start, start + size))
    assert all(shifts.of(place) == shift for first, end, shift in parts for place in range(first, end))
