"""Shares of the link: the highest class hardly notices the others, and none of them starves."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from edge_module.turns import SHARE, Turns


def test_the_highest_class_is_first_and_each_lower_one_gets_an_eighth_of_the_one_above() -> None:
    turns, served = Turns(), Counter[str]()
    for _ in range(10_000):
        chosen = turns.choose("321")
        served[chosen] += 1
        turns.serve(chosen)

    assert Turns().choose("321") == "1"
    assert served["2"] == pytest.approx(served["1"] / SHARE, rel=0.02)
    assert served["3"] == pytest.approx(served["2"] / SHARE, rel=0.02)


def test_an_urgent_bundle_waits_for_no_chunk_of_a_class_that_had_the_link_alone() -> None:
    turns = Turns()
    for _ in range(1000):
        turns.serve(turns.choose("3"))

    first = []
    for _ in range(SHARE):
        first.append(turns.choose("13"))
        turns.serve(first[-1])

    assert first[0] == "1"
    assert first.count("3") <= 2


@pytest.mark.parametrize("seed", range(5))
def test_classes_that_come_and_go_all_the_time_do_not_push_a_lower_one_back(seed: int) -> None:
    """Small bundles of the middle class come and go with every chunk, an urgent one is always there."""
    chance, turns, served = random.Random(seed), Turns(), Counter[str]()
    for _ in range(20_000):
        chosen = turns.choose("13" + chance.choice(["", "2"]))
        served[chosen] += 1
        turns.serve(chosen)

    assert served["3"] >= 20_000 / SHARE**2 / 2
    assert served["1"] > 0.7 * 20_000


def test_a_class_that_was_away_does_not_catch_up_at_the_cost_of_the_others() -> None:
    turns = Turns()
    turns.serve(turns.choose("123"))
    for _ in range(1000):
        turns.serve(turns.choose("1"))

    served = Counter[str]()
    for _ in range(80):
        chosen = turns.choose("123")
        served[chosen] += 1
        turns.serve(chosen)
    assert served["1"] >= 60
