"""What a deployment asks of SQL, counted on fleets of two sizes: linear in the fleet, constant for one device.

Statements are counted, not seconds: they are the same on every machine, and each costs a round trip in Azure.
"""

from __future__ import annotations

import pytest

from benchmarks.fleet_life import FleetLife
from benchmarks.fleet_meter import Cost

SMALL, LARGE = 40, 160
_ROUNDING = 1.05
"""What a batch costs whatever its size weighs differently on batches of different sizes."""


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Cost]:
    found: dict[tuple[str, int], Cost] = {}
    for devices in (SMALL, LARGE):
        life = FleetLife(
            devices, tmp_path_factory.mktemp("life"), lambda cost: found.update({(cost.step, cost.devices): cost})
        )
        life.live()
    return found


@pytest.mark.parametrize(
    ("step", "most"),
    [
        ("inventory, in batches", 14),
        ("first plan", 2),
        ("superseding plan", 2),
        ("plan of one image", 2),
        ("publish", 1),
        ("sync twin", 15),
        ("report, alone", 12),
        ("report, in batches", 1),
        ("arrival, alone", 14),
        ("arrival, in batches", 1),
        ("release", 65),
        ("confirm", 4),
        ("cancel, its parts", 17),
        ("failure, in batches", 1),
        ("settle after all failed", 17),
    ],
)
def test_one_item_costs_no_more_statements_in_a_larger_fleet_and_few_in_any(
    costs: dict[tuple[str, int], Cost], step: str, most: int
) -> None:
    small, large = (costs[step, devices] for devices in (SMALL, LARGE))

    assert large.each(large.statements) <= min(most, _ROUNDING * small.each(small.statements) + 0.5)


@pytest.mark.parametrize(
    ("step", "most"),
    [
        ("create set", 20),
        ("tick, nothing due", 25),
        ("plan, nothing to plan", 20),
        ("GET set", 24),
        ("GET events", 8),
        ("GET members", 8),
        ("GET transfers", 6),
        ("cancel, its answer", 20),
    ],
)
def test_what_is_done_once_costs_no_more_statements_in_a_larger_fleet(
    costs: dict[tuple[str, int], Cost], step: str, most: int
) -> None:
    small, large = (costs[step, devices] for devices in (SMALL, LARGE))

    assert large.statements <= small.statements
    assert large.statements / large.calls <= most


def test_a_bundle_is_published_in_two_transactions(costs: dict[tuple[str, int], Cost]) -> None:
    publish = costs["publish", LARGE]

    assert publish.each(publish.transactions) <= 2


def test_a_batch_of_reports_costs_less_than_half_of_its_reports_alone(costs: dict[tuple[str, int], Cost]) -> None:
    for what in ("report", "arrival"):
        alone, batches = costs[f"{what}, alone", LARGE], costs[f"{what}, in batches", LARGE]
        assert batches.each(batches.statements) <= 0.4 * alone.each(alone.statements)


def test_the_answer_about_a_set_stays_small(costs: dict[tuple[str, int], Cost]) -> None:
    small, large = (costs["GET set", devices].bytes for devices in (SMALL, LARGE))

    assert large <= min(64 * 1024, small + 200)


def test_a_set_that_fails_everywhere_is_told_of_in_few_mails(costs: dict[tuple[str, int], Cost]) -> None:
    assert costs["mails after all failed", LARGE].items <= 2


def test_no_transaction_grows_with_the_fleet(costs: dict[tuple[str, int], Cost]) -> None:
    most = {devices: max(cost.most_statements for (_, size), cost in costs.items() if size == devices)
            for devices in (SMALL, LARGE)}  # fmt: skip

    assert most[LARGE] <= _ROUNDING * most[SMALL]
