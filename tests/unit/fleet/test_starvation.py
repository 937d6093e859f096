"""Nothing at the head of a line starves the rest, and nothing of ours is taken for somebody else's."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from imagedelta.errors import DependencyError
from tests.simulators.fleet import FleetSimulator


def down(*given: Any, **more: Any) -> Any:
    raise DependencyError("no answer", code="dependency.hub")


@pytest.fixture
def two_workstreams(fleet: FleetSimulator) -> tuple[str, str]:
    """Two sets of one device, planned on the same deployment, both arrived."""
    fleet.register("app:1", "app:2", "nav:1", "nav:2")
    fleet.enrol("ship-1", "app:1", "nav:1")
    one = fleet.start("app:2", workstream="engines", release="manual")
    two = fleet.start("nav:2", workstream="bridge", release="manual")
    for _ in range(3):
        fleet.tick()
        fleet.sail()
    assert [fleet.members(set_id) for set_id in (one, two)] == [{"ship-1": "ready"}] * 2
    return one, two


def release(fleet: FleetSimulator, set_id: str) -> str:
    fleet.deps.store.sets.request_release(set_id, "olga", fleet.now())
    fleet.tick()
    return fleet.members(set_id)["ship-1"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_workstreams_of_one_device_are_released_one_after_the_other(
    fleet: FleetSimulator, two_workstreams: tuple[str, str], order: tuple[int, int]
) -> None:
    states = [release(fleet, two_workstreams[number]) for number in order]
    fleet.run()

    assert states == ["released", "released"]
    assert [fleet.set(set_id).state for set_id in two_workstreams] == ["completed", "completed"]
    released = sorted(
        (one for set_id in two_workstreams for one in fleet.releases(set_id)), key=lambda one: one.version
    )
    assert all(later.base_version == earlier.version for earlier, later in pairwise(released))


def test_somebody_elses_change_between_two_releases_of_ours_is_a_conflict(
    fleet: FleetSimulator, two_workstreams: tuple[str, str]
) -> None:
    one, two = two_workstreams
    first = release(fleet, one)
    fleet.hubs["north"].change_by_somebody_else("ship-1", {"radar": {"settings": {"image": "radar:9"}}})

    assert (first, release(fleet, two)) == ("released", "conflict")


def test_somebody_elses_change_before_both_is_a_conflict_of_both(
    fleet: FleetSimulator, two_workstreams: tuple[str, str]
) -> None:
    fleet.hubs["north"].change_by_somebody_else("ship-1", {"radar": {"settings": {"image": "radar:9"}}})

    assert [release(fleet, set_id) for set_id in two_workstreams] == ["conflict", "conflict"]


def test_a_release_that_died_before_it_was_recorded_is_no_conflict_for_the_next(
    fleet: FleetSimulator, two_workstreams: tuple[str, str]
) -> None:
    one, two = two_workstreams
    fleet.hubs["north"].calls.fail("apply_content", after=True)
    unrecorded = release(fleet, one)
    fleet.now.forward(minutes=3)
    fleet.tick()

    assert (unrecorded, fleet.members(one)["ship-1"]) == ("releasing", "released")
    assert release(fleet, two) == "released"
    assert len(fleet.hubs["north"].applied) == 2


def test_a_hub_that_is_down_keeps_no_other_hub_waiting(fleet: FleetSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.register("app:1", "app:2")
    for number in range(25):
        fleet.enrol(f"a-{number:02}", "app:1", hub="north")
    for number in range(3):
        fleet.enrol(f"z-{number}", "app:1", hub="south")
    set_id = fleet.start("app:2", release="device")
    fleet.tick()
    for device in fleet.devices.values():
        fleet.deliver(device, *device.fetch(fleet.blobs))
        fleet.deliver(device, device.inventory())
    for call in ("module_twin", "modules_content", "update_desired", "agents"):
        monkeypatch.setattr(fleet.hubs["north"], call, down)
    fleet.tick()
    states = fleet.members(set_id)

    monkeypatch.undo()
    fleet.now.forward(hours=1)
    for _ in range(3):
        fleet.sail()
        fleet.now.forward(minutes=30)
        fleet.tick()

    assert {states[f"z-{number}"] for number in range(3)} == {"released"}
    assert "released" not in {state for device, state in states.items() if device.startswith("a-")}
    assert set(fleet.members(set_id).values()) == {"applied"}
    assert [len(hub.applied) for hub in fleet.hubs.values()] == [25, 3]


def test_devices_off_the_air_keep_none_that_runs_from_being_confirmed(fleet: FleetSimulator) -> None:
    fleet.register("app:1")
    for name in [*(f"a-{number:03}" for number in range(110)), "z-1"]:
        fleet.enrol(name, "app:1")
    set_id = fleet.start("app:1", release="device")
    fleet.tick()
    fleet.tick()

    fleet.sail("z-1")
    fleet.now.forward(minutes=1)
    fleet.tick()

    assert fleet.members(set_id)["z-1"] == "applied"
    assert fleet.members(set_id)["a-000"] == "released"
    assert fleet.hubs["north"].calls.count["agents"] <= 8


def test_a_set_that_cannot_be_settled_keeps_no_other_waiting(
    fleet: FleetSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.register("app:1")
    fleet.enrol("ship-1", "app:1")
    fleet.enrol("ship-2", "app:1")
    poison = fleet.start("app:1", devices=["ship-1"], workstream="one")
    innocent = fleet.start("app:1", devices=["ship-2"], workstream="two")
    settle = type(fleet.deps.store.sets).settle

    def failing(self: Any, set_id: str, at: Any) -> Any:
        if set_id == poison:
            raise DependencyError("SQL does not answer: HYT00 query timeout")
        return settle(self, set_id, at)

    monkeypatch.setattr(type(fleet.deps.store.sets), "settle", failing)
    fleet.run()
    while_it_fails = [fleet.set(set_id).state for set_id in (poison, innocent)]
    monkeypatch.undo()
    fleet.now.forward(minutes=10)
    fleet.run()

    assert while_it_fails[1] == "completed"
    assert while_it_fails[0] != "completed"
    assert fleet.set(poison).state == "completed"


def test_a_ship_that_comes_back_after_days_has_its_time_to_start_the_modules(fleet: FleetSimulator) -> None:
    fleet.register("app:1")
    ship = fleet.enrol("ship-1", "app:1")
    set_id = fleet.start("app:1")
    fleet.tick()
    image = ship.images.pop(fleet.image_id("app:1"))
    fleet.now.forward(days=2)
    fleet.run_modules(ship)
    fleet.now.forward(minutes=20)
    fleet.tick()
    just_back = fleet.member(set_id, "ship-1").state

    ship.images[fleet.image_id("app:1")] = image
    fleet.run_modules(ship)
    fleet.now.forward(hours=1)
    fleet.tick()

    assert (just_back, fleet.member(set_id, "ship-1").state) == ("released", "applied")


def test_what_failed_to_run_and_runs_later_completes_a_set_that_had_ended_and_the_owner_is_told(
    fleet: FleetSimulator,
) -> None:
    fleet.register("app:1")
    ship = fleet.enrol("ship-1", "app:1")
    set_id = fleet.start("app:1")
    fleet.tick()
    image = ship.images.pop(fleet.image_id("app:1"))
    fleet.run_modules(ship)
    fleet.now.forward(hours=2)
    fleet.tick()
    fleet.now.forward(hours=2)
    fleet.tick()
    ended = fleet.set(set_id).state
    ship.images[fleet.image_id("app:1")] = image
    fleet.run_modules(ship)
    fleet.now.forward(days=1)
    fleet.tick()

    assert (ended, fleet.set(set_id).state) == ("completed_with_failures", "completed")
    assert [mail.subject.partition("March ")[2] for mail in fleet.mail.taken][-2:] == [
        "is complete, but not on every device",
        "is complete",
    ]


def test_a_mail_that_raises_odd_things_is_tried_a_number_of_times(
    fleet: FleetSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.register("app:1")
    fleet.enrol("ship-1", "app:1")
    set_id = fleet.start("app:1", manifest=False)
    tries: list[Any] = []

    def odd(mail: Any) -> None:
        tries.append(mail)
        raise UnicodeEncodeError("idna", "x", 0, 1, "label too long")

    monkeypatch.setattr(fleet.mail, "send", odd)
    for _ in range(60):
        fleet.tick()
        fleet.now.forward(hours=6)

    (notice,) = fleet.notifications(set_id)
    assert (len(tries), notice.state) == (fleet.deps.settings.max_notify_tries, "dead")
    assert "UnicodeEncodeError" in (notice.detail or "")
