from __future__ import annotations

from typing import Any

import pytest

from imagedelta.ranking import Ranked, estimate_full, rank
from planning import sources
from planning.sources import SourceChooser, Spending
from tests.unit.planning.facts import APP_1, APP_2, RECON, SIGNATURES, STRANGER, TOOL

TARGET = APP_2.image_id
PROFILE = "v1-64m"
UNKNOWN = "sha256:" + "0" * 64


def test_the_best_ranked_image_comes_first_and_the_modules_own_second() -> None:
    here = frozenset({TOOL.image_id, APP_1.image_id, RECON.image_id})

    choice = SourceChooser(SIGNATURES).choose(TARGET, here, RECON.image_id, PROFILE)

    assert choice.sources == (APP_1.image_id, RECON.image_id)
    assert choice.estimated_bytes < estimate_full(SIGNATURES[TARGET]) / 5


def test_the_modules_own_image_alone_is_named_once() -> None:
    choice = SourceChooser(SIGNATURES).choose(TARGET, frozenset({RECON.image_id}), RECON.image_id, PROFILE)

    assert choice.sources == (RECON.image_id,)


@pytest.mark.parametrize("here", [frozenset[str](), frozenset({UNKNOWN}), frozenset({TARGET})])
def test_without_a_registered_image_everything_is_sent(here: frozenset[str]) -> None:
    choice = SourceChooser(SIGNATURES).choose(TARGET, here, None, PROFILE)

    assert (choice.sources, choice.estimated_bytes) == ((), estimate_full(SIGNATURES[TARGET]))


def test_an_image_that_saves_nothing_is_no_source() -> None:
    choice = SourceChooser(SIGNATURES).choose(STRANGER.image_id, frozenset({APP_1.image_id}), None, PROFILE)

    assert choice.sources == ()


def test_the_modules_own_image_does_not_serve_where_it_is_not() -> None:
    choice = SourceChooser(SIGNATURES).choose(TARGET, frozenset({APP_1.image_id}), RECON.image_id, PROFILE)

    assert choice.sources == (APP_1.image_id,)


def test_devices_with_the_same_images_and_profile_share_one_ranking(monkeypatch: pytest.MonkeyPatch) -> None:
    rankings = []

    def counted(*given: Any, profile: str) -> list[Ranked]:
        rankings.append(profile)
        return rank(*given, profile=profile)

    monkeypatch.setattr(sources, "rank", counted)
    chooser = SourceChooser(SIGNATURES)
    here = frozenset({APP_1.image_id, RECON.image_id})

    for profile in ("v1-64m", "v2-64m"):
        own = (here | {f"sha256:own-{ship}"} for ship in range(20))
        assert len({chooser.choose(TARGET, images, RECON.image_id, profile) for images in own}) == 1

    assert rankings == ["v1-64m", "v2-64m"]


@pytest.mark.parametrize(
    ("rate", "price", "hours", "money"), [(1_000.0, 2.5, 10.0, 90.0), (None, None, None, None), (None, 0.0, None, 0.0)]
)
def test_a_plan_says_hours_and_money_where_link_and_price_are_known(
    rate: float | None, price: float | None, hours: float | None, money: float | None
) -> None:
    spending = Spending(36_000_000, rate, price)

    assert (spending.hours_on_link, spending.money) == (hours, money)
