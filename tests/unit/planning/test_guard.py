"""The cost guard: what a plan costs against what its order allows."""

from __future__ import annotations

from contracts.records import Cost, FullBundle
from planning.guard import NAMED, costs_of, guards, held_back, needs_approval
from planning.plan import plan_fleet
from tests.unit.planning.facts import APP_1, APP_2, a_policy, facts, has, limits, wanted


def costs(*bytes_of: int) -> list[Cost]:
    return [Cost(f"ship-{n}", size) for n, size in enumerate(bytes_of)]


def test_a_plan_within_its_limits_needs_no_approval() -> None:
    plan = plan_fleet(facts({"ship-1": has(APP_1)}), wanted(APP_2), a_policy())

    allowed = limits(max_bytes_per_device=10**9, max_bytes=10**9, allow_full_bundles=False)

    assert needs_approval(costs_of(plan), allowed) == ()


def test_each_limit_that_is_passed_is_a_reason_that_names_what_passes_it() -> None:
    fleet = facts({"has-app": has(APP_1), "bare": (), "has-all": has(APP_2)})
    plan = plan_fleet(fleet, wanted(APP_2), a_policy())

    reasons = needs_approval(
        costs_of(plan), limits(max_bytes_per_device=50_000, max_bytes=60_000, allow_full_bundles=False)
    )

    assert len(reasons) == 3
    assert reasons[0].startswith("bare would get ")
    assert reasons[1] == "bare has no source for fleet.example/app:2: only a full bundle is left"
    assert reasons[2].endswith("over maxBytes of 60000")


def test_a_limit_of_exactly_what_is_sent_is_no_reason() -> None:
    assert needs_approval(costs(60, 40), limits(max_bytes_per_device=60, max_bytes=100)) == ()
    assert needs_approval(costs(60, 40), limits(max_bytes=99)) != ()
    assert needs_approval(costs(60, 40), limits(max_bytes=100), spent=1) != ()


def test_of_many_devices_the_first_are_named_and_the_others_counted() -> None:
    few = needs_approval(costs(*[9] * NAMED), limits(max_bytes_per_device=8))
    many = needs_approval(costs(*[9] * 10_000), limits(max_bytes_per_device=8))

    assert len(few) == NAMED
    assert many[:NAMED] == few
    assert many[NAMED:] == (f"{10_000 - NAMED} more devices would get more than maxBytesPerDevice of 8",)


def test_a_reason_names_what_the_device_holds_that_is_not_registered() -> None:
    cost = Cost("ship-1", 9, (FullBundle("app:2", ("app:1",)), FullBundle("nav:2", ("app:1", "nav:1"))))

    assert needs_approval([cost], limits(allow_full_bundles=False)) == (
        "ship-1 has no source for app:2, nav:2: only a full bundle is left (it has app:1, nav:1, not registered)",
    )


def test_of_a_set_on_its_way_those_that_no_longer_fit_are_held_back_and_the_others_go_on() -> None:
    held = held_back(costs(40, 70, 20, 1), limits(max_bytes=100), spent=20)

    assert held == {
        "ship-1": "the set would send 130 bytes, over maxBytes of 100",
    }


def test_an_order_without_limits_is_not_weighed_at_all() -> None:
    assert not guards(limits())
    assert guards(limits(max_bytes=1)) and guards(limits(max_bytes_per_device=1))
    assert guards(limits(allow_full_bundles=False))
