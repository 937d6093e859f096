"""A set is cancelled at once and taken back in parts, whatever else happens to it meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from contracts.states import ACTIVE_TRANSFER, MEMBER
from imagedelta.errors import DependencyError, RequestError
from store.sets import cancel
from tests.simulators.statements import statements
from tests.unit.store.world import MANIFEST, World

SHIPS = [f"ship-{number:02d}" for number in range(12)]
CANCELLED = MEMBER.leading_to("cancelled", "api")


@pytest.fixture
def fleet(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(cancel.withdraw_part, "__defaults__", (5,))
    for name in SHIPS:
        world.device(name, "-")
    return world


def take_back(world: World, set_id: str) -> int:
    parts = 1
    while world.store.sets.withdraw_part(set_id, world.later()):
        parts += 1
    return parts


def left_of(world: World, set_id: str) -> tuple[set[str], set[str]]:
    """States of members and of transfers."""
    members = {member.state for member in world.store.sets.members(set_id)}
    return members, {transfer.state for transfer in world.store.transfers.of_set(set_id)}


def test_the_order_moves_the_set_alone_and_parts_do_the_rest(fleet: World) -> None:
    of = fleet.set(SHIPS, "app:2", "tool:1")
    fleet.publish(of)

    answered = fleet.store.sets.cancel(of.set_id, "olga", fleet.later())
    at_once = left_of(fleet, of.set_id)
    parts = take_back(fleet, of.set_id)

    assert answered.state == "cancelled"
    assert at_once == ({"in_transit"}, {"published"})
    assert left_of(fleet, of.set_id) == ({"cancelled"}, {"cancelled"})
    assert parts == 3
    assert len(fleet.store.devices.desired_facts("ship-00")["revokedBundles"]) == 2


def test_parts_are_the_timers_until_none_is_left(fleet: World) -> None:
    of = fleet.set(SHIPS, "app:2")
    fleet.store.sets.cancel(of.set_id, "olga", fleet.later())

    for _ in range(3):
        fleet.settled(of)

    assert left_of(fleet, of.set_id) == ({"cancelled"}, {"cancelled"})


def test_what_another_set_wants_is_left_to_it(fleet: World) -> None:
    one = fleet.set(SHIPS, "app:2", workstream="one")
    two = fleet.set(SHIPS[:4], "app:2", workstream="two")

    fleet.store.sets.cancel(one.set_id, "olga", fleet.later())
    take_back(fleet, one.set_id)

    assert left_of(fleet, two.set_id) == ({"in_transit"}, {"queued"})
    states = [transfer.state for transfer in fleet.store.transfers.of_set(one.set_id)]
    assert sorted(states) == ["cancelled"] * 8 + ["queued"] * 4


def test_a_part_that_died_anywhere_is_done_again(fleet: World) -> None:
    of = fleet.set(SHIPS, "app:2")
    fleet.publish(of)
    fleet.store.sets.cancel(of.set_id, "olga", fleet.later())
    before = left_of(fleet, of.set_id)

    for number in range(2, 60):
        with statements(fleet.store, failing=number) as seen:
            try:
                fleet.store.sets.withdraw_part(of.set_id, fleet.now)
            except DependencyError:
                assert left_of(fleet, of.set_id) == before, seen[-1]
            else:
                break
    take_back(fleet, of.set_id)

    assert number > 8
    assert left_of(fleet, of.set_id) == ({"cancelled"}, {"cancelled"})


def test_a_device_that_is_being_released_ends_as_released_and_one_given_back_is_let_go(fleet: World) -> None:
    for name in SHIPS[:2]:
        fleet.inventory(name, fleet.image("app:2"))
    of = fleet.set(SHIPS, "app:2", manifest=MANIFEST, release="device")
    claims = [fleet.store.releases.claim(of.set_id, name, timedelta(minutes=2), fleet.later()) for name in SHIPS[:2]]
    assert claims[1] is not None

    fleet.store.sets.cancel(of.set_id, "olga", fleet.later())
    take_back(fleet, of.set_id)
    between = fleet.states(of)[1]
    assert fleet.record_release(of, SHIPS[0])
    assert fleet.store.releases.refuse(claims[1], "ready", "release.busy", "later", fleet.later())
    take_back(fleet, of.set_id)

    states = fleet.states(of)[1]
    assert [between[name] for name in SHIPS[:3]] == ["releasing", "releasing", "cancelled"]
    assert [states[name] for name in SHIPS[:3]] == ["released", "cancelled", "cancelled"]


def test_what_reports_plans_and_releases_do_meanwhile_leaves_nothing_behind(fleet: World) -> None:
    """Two cancels, two workers on parts, reports, plans and publications, all at once."""
    of = fleet.set(SHIPS, "app:2", "tool:1")
    fleet.publish(of)
    store, at = fleet.store, fleet.later()
    transfers = store.transfers.of_set(of.set_id)

    def report() -> None:
        for number, transfer in enumerate(transfers):
            fleet.report(transfer, ("receiving", "received", "succeeded")[number % 3])

    def plan() -> None:
        fleet.plan(of)

    def take() -> None:
        store.sets.cancel(of.set_id, "olga", at)
        while store.sets.withdraw_part(of.set_id, at):
            pass

    def exclude() -> None:
        for name in SHIPS[::3]:
            try:
                store.sets.exclude_member(of.set_id, name, "olga", at)
            except RequestError as error:
                assert error.code == "request.state"  # cancelled already

    at_once(take, take, report, plan, exclude)
    take_back(fleet, of.set_id)

    members, states = left_of(fleet, of.set_id)
    assert fleet.states(of)[0] == "cancelled"
    assert members <= {"cancelled", "excluded"}
    assert not states & ACTIVE_TRANSFER
    lines = [e["new"] for e in store.sets.events(of.set_id, limit=999, after=None).items if e["kind"] == "set"]
    assert lines.count("cancelled") == 1


def test_a_set_that_is_cancelled_while_it_is_planned_and_started_leaves_nothing_behind(fleet: World) -> None:
    for _ in range(3):
        of = fleet.accepted(SHIPS, "app:2", "tool:1")

        def take(set_id: str = of.set_id) -> None:
            fleet.store.sets.cancel(set_id, "olga", fleet.later())
            take_back(fleet, set_id)

        at_once(lambda of=of: fleet.plan(of), take)  # type: ignore[misc]
        take_back(fleet, of.set_id)

        members, states = left_of(fleet, of.set_id)
        assert (fleet.states(of)[0], members) == ("cancelled", {"cancelled"})
        assert not states & ACTIVE_TRANSFER


def test_a_set_costs_as_many_statements_to_cancel_whatever_its_size(fleet: World) -> None:
    small, large = fleet.set(SHIPS[:2], "app:2"), fleet.set(SHIPS[2:], "app:2")

    def cancels(set_id: str) -> int:
        with statements(fleet.store) as seen:
            fleet.store.sets.cancel(set_id, "olga", fleet.now)
        return len(seen)

    def part(set_id: str) -> int:
        with statements(fleet.store) as seen:
            fleet.store.sets.withdraw_part(set_id, fleet.now)
        return len(seen)

    assert cancels(small.set_id) == cancels(large.set_id)
    assert part(small.set_id) == part(large.set_id)


def at_once(*tasks: Callable[[], None]) -> None:
    errors: list[BaseException] = []

    def run(task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
