from __future__ import annotations

from planning.update_costs import most_held, version_costs
from tests.unit.planning.facts import APP_1, APP_2, SIGNATURES, STRANGER, TOOL

NEAR, FAR, OTHER = APP_1.image_id, STRANGER.image_id, TOOL.image_id
TARGET = SIGNATURES[APP_2.image_id]


def test_each_device_counts_with_the_nearest_version_that_it_has() -> None:
    held = {frozenset({NEAR, FAR}): 3, frozenset({FAR}): 2, frozenset({NEAR}): 4}

    costs, not_measured = version_costs(TARGET, held, {name: SIGNATURES[name] for name in (NEAR, FAR)}, "v1-64m")

    assert [(cost.image_id, cost.devices) for cost in costs] == [(FAR, 2), (NEAR, 7)]
    assert costs[0].estimated_bytes > 5 * costs[1].estimated_bytes
    assert not_measured == 0


def test_devices_whose_versions_are_not_looked_at_are_counted() -> None:
    costs, not_measured = version_costs(
        TARGET, {frozenset({FAR}): 2, frozenset({NEAR}): 1}, {NEAR: SIGNATURES[NEAR]}, "v1-64m"
    )

    assert ([cost.image_id for cost in costs], not_measured) == ([NEAR], 2)


def test_the_versions_that_most_devices_have_are_looked_at() -> None:
    held = {frozenset({NEAR}): 5, frozenset({FAR, OTHER}): 3, frozenset({FAR}): 3}

    assert most_held(held, 2) == [FAR, NEAR]
