"""Budgets of a hub: what it takes in a minute, and no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from imagedelta.errors import DependencyError
from services.hubs.budget import RESERVED, Budget, BudgetedCalls, Budgets
from services.hubs.calls import Rows, unanswered
from tests.hubs.limits import Limits, kind_of


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.slept = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds


class Calls:
    """A hub that counts, and refuses over its limits as the stand-in does."""

    name = "north"

    def __init__(self, clock: Clock, units: int = 1) -> None:
        self.limits = Limits(units, clock)

    def _take(self, method: str, path: str) -> None:
        if rest := self.limits.rest(kind_of(method, path)):
            raise unanswered("north", "answered 429", timedelta(seconds=rest))

    def module_twin(self, device_id: str, module_id: str) -> Mapping[str, Any] | None:
        self._take("GET", f"/twins/{device_id}/modules/{module_id}")
        return None

    def patch_desired(self, device_id: str, module_id: str, patch: Mapping[str, Any]) -> Mapping[str, Any] | None:
        self._take("PATCH", f"/twins/{device_id}/modules/{module_id}")
        return None

    def device_twin(self, device_id: str) -> Mapping[str, Any] | None:
        self._take("GET", f"/twins/{device_id}")
        return None

    def patch_tags(self, device_id: str, patch: Mapping[str, Any], etag: str) -> bool | None:
        self._take("PATCH", f"/twins/{device_id}")
        return True

    def query(self, text: str, page: int, after: str | None) -> Rows:
        self._take("POST", "/devices/query")
        return Rows([], None)

    def apply(self, device_id: str, modules_content: Mapping[str, Any]) -> bool:
        self._take("POST", f"/devices/{device_id}/applyConfigurationContent")
        return True

    def configurations(self) -> Sequence[Any]:
        self._take("GET", "/configurations")
        return []

    def configuration(self, configuration_id: str) -> Mapping[str, Any]:
        self._take("GET", f"/configurations/{configuration_id}")
        return {}

    def create_configuration(self, document: Mapping[str, Any]) -> bool:
        self._take("PUT", "/configurations/x")
        return True

    def delete_configuration(self, configuration_id: str) -> None:
        self._take("DELETE", f"/configurations/{configuration_id}")


def test_what_a_hub_takes_in_a_minute_may_be_used_at_once_and_not_twice() -> None:
    clock = Clock()
    budget = Budget(18, clock, clock.sleep)

    assert [budget.take() for _ in range(18)] == [None] * 18
    rest, left = budget.take(), budget.left()
    clock.now += 59

    assert (rest, left) == (timedelta(seconds=61), 0)
    assert (budget.left(), clock.slept) == (18, 0)


def test_who_need_not_wait_long_waits_instead_of_being_put_off() -> None:
    clock = Clock()
    budget = Budget(10, clock, clock.sleep)
    for _ in range(10):
        budget.take()
    clock.now += 60

    assert budget.take() is None
    assert clock.slept == pytest.approx(1)


def test_a_hub_that_asks_to_be_left_alone_is_for_as_long() -> None:
    clock = Clock()
    budget = Budget(60, clock, clock.sleep)
    budget.close(timedelta(seconds=30))

    refused = budget.take()
    clock.now += 27
    still = budget.left()
    clock.now += 3

    assert refused == timedelta(seconds=30)
    assert (still, budget.left()) == (0, 60)


def test_what_can_wait_leaves_half_of_the_queries_to_others() -> None:
    clock = Clock()
    budgets = Budgets(1, clock, clock.sleep)
    busy, idle = BudgetedCalls(Calls(clock), budgets), BudgetedCalls(Calls(clock), budgets, RESERVED)

    asked = 0
    with pytest.raises(DependencyError) as caught:
        while asked < 100:
            idle.query("q", 100, None)
            asked += 1

    assert (asked, caught.value.code) == (9, "hub.budget")
    for _ in range(9):
        busy.query("q", 100, None)


@pytest.mark.parametrize("units", [1, 3])
def test_an_hour_of_all_that_a_hub_takes_brings_not_one_refusal(units: int) -> None:
    """Everything at once, as fast as it goes, put off for as long as it is said."""
    clock = Clock()
    hub = Calls(clock, units)
    calls = BudgetedCalls(hub, Budgets(units, clock, clock.sleep))
    done = dict.fromkeys(("query", "configuration"), 0)
    end = clock.now + 3600
    while clock.now < end:
        rests = []
        for kind, ask in (
            ("query", lambda: calls.query("q", 100, None)),
            ("configuration", lambda: calls.apply("ship", {})),
        ):
            try:
                ask()
                done[kind] += 1
            except DependencyError as error:
                assert error.code == "hub.budget" and error.retry_after is not None
                rests.append(error.retry_after.total_seconds())
        if len(rests) == 2:
            clock.now += max(min(rests), 0.001)

    assert hub.limits.refused == {}
    assert all(count == pytest.approx(18 * units * 60, rel=0.03) for count in done.values())
