"""A release to many devices stays within what their hub takes, without a storm of refusals, and shares it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from services.hubs.budget import RESERVED, BudgetedCalls, Budgets
from services.hubs.hub import IotHub
from tests.simulators.fleet import FleetSimulator
from tests.simulators.hub_calls import SimulatedCalls


def limited(fleet: FleetSimulator, units: int) -> SimulatedCalls:
    """The fleet's hub north takes what one of so many units takes, and is asked within budgets."""
    monotonic = lambda: fleet.now().timestamp()  # noqa: E731
    calls = SimulatedCalls(fleet.hubs["north"], units, monotonic)
    budgets = Budgets(units, monotonic, lambda seconds: fleet.now.forward(seconds=seconds) and None)
    hub = IotHub(BudgetedCalls(calls, budgets), BudgetedCalls(calls, budgets, RESERVED), budgets.writes.left)
    fleet.deps = replace(fleet.deps, hubs={**fleet.deps.hubs, "north": hub})
    return calls


def minutes_until(fleet: FleetSimulator, *set_ids: str, most: int) -> dict[str, int]:
    """The timer comes by every minute, and devices see their deployments; minute in which each set was completed."""
    done: dict[str, int] = {}
    for minute in range(1, most + 1):
        fleet.tick()
        fleet.sail()
        fleet.now.forward(seconds=max(0.0, 60 - (fleet.now().timestamp() % 60)))
        for set_id in set_ids:
            if set_id not in done and fleet.set(set_id).state == "completed":
                done[set_id] = minute
        if len(done) == len(set_ids):
            break
    return done


def test_a_release_takes_as_long_as_its_hub_makes_it_and_nothing_is_refused(fleet: FleetSimulator) -> None:
    fleet.register("app:1")
    for number in range(40):
        fleet.enrol(f"ship-{number:02}", "app:1")
    calls = limited(fleet, units=1)

    set_id = fleet.start("app:1")
    done = minutes_until(fleet, set_id, most=12)

    assert set(fleet.members(set_id).values()) == {"applied"}
    assert set_id in done
    assert calls.limits.refused == {}
    assert calls.limits.count["configuration"] == 40


def test_a_small_release_is_through_while_a_large_one_still_goes_on(fleet: FleetSimulator) -> None:
    fleet.register("app:1", "tool:1")
    for number in range(40):
        fleet.enrol(f"ship-{number:02}", "app:1")
    for number in range(6):
        fleet.enrol(f"tug-{number}", "tool:1")
    ships, tugs = ([name for name in fleet.devices if name.startswith(kind)] for kind in ("ship", "tug"))
    calls = limited(fleet, units=1)

    large = fleet.start("app:1", devices=ships, workstream="ships")
    fleet.tick()
    small = fleet.start("tool:1", devices=tugs, workstream="tugs")
    done = minutes_until(fleet, large, small, most=14)

    assert done[small] < done[large]
    assert calls.limits.refused == {}
    assert Counter(fleet.members(large).values()) == {"applied": 40}
