"""Devices and tags are read from the hubs, page by page: what the hub says is so, and nobody is deleted."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from activities.due_work import Run
from activities.read_hubs import ReadHubs
from contracts.records import Device
from contracts.requests import EnrolDevice
from imagedelta.errors import DependencyError, RequestError
from services.hubs.connection import HubConnection
from services.hubs.settings import HubSettings
from tests.simulators.hub import HubSimulator
from tests.simulators.statements import statements
from tests.unit.activities.bench import MODULE, Bench

CONTENT: dict[str, Any] = {"$edgeAgent": {"properties.desired": {"modules": {}}}}
SIX_HOURS = timedelta(hours=6)


class Place:
    """A bench whose hub north is read."""

    def __init__(self, bench: Bench, **rule: Any) -> None:
        self.bench = bench
        settings = HubSettings("north", HubConnection("north.example"), **{"sync": "enrol", **rule})
        self.hub = HubSimulator("north")
        self.deps = replace(
            bench.deps, settings=replace(bench.deps.settings, hubs={"north": settings}), hubs={"north": self.hub}
        )

    def device(self, device_id: str, **tags: Any) -> None:
        self.hub.add_device(device_id, CONTENT, MODULE)
        self.hub.tag(device_id, tags)

    def read(self) -> int:
        """Everything that is due; how many pages there were."""
        kind, run = ReadHubs(), Run(self.deps)
        self.deps.store.hubs.expect(["north"], self.deps.now())
        pages = 0
        while due := kind.due(self.deps, self.deps.now(), 20):
            for hub in due:
                kind.do(run, hub)
            pages += 1
            assert pages < 100
        return pages

    def known(self, device_id: str) -> Device | None:
        return self.deps.store.devices.device(device_id)

    def later(self, by: timedelta = SIX_HOURS) -> None:
        self.bench.now.now += by


@pytest.fixture
def place(bench: Bench) -> Place:
    return Place(bench)


def tags_of(place: Place, device_id: str) -> dict[str, str]:
    found = place.known(device_id)
    assert found is not None
    return dict(found.tags)


def test_new_devices_are_enrolled_with_their_hub_platform_and_tags(place: Place) -> None:
    place.device("ship-a", site="north", platform="linux/arm64", number=7, crane=True, deep={"a": 1}, odd="x" * 300)
    place.hub.add_device("no-module", CONTENT)

    place.read()

    found = place.known("ship-a")
    assert found is not None
    assert (found.binding, found.state, found.platform) == (("north", "ship-a"), "enrolled", "linux/arm64")
    assert tags_of(place, "ship-a") == {"site": "north", "platform": "linux/arm64", "number": "7", "crane": "true"}
    assert place.known("no-module") is None
    assert "ship-a" in place.deps.store.devices.to_sync(place.deps.now(), 1000)


@pytest.mark.parametrize(
    ("rule", "enrolled"),
    [
        ({"sync": "tags"}, set()),
        ({"enrol_tag": ("fleet", "delta")}, {"ship-a"}),
        ({}, {"ship-a", "ship-b"}),
    ],
)
def test_who_is_enrolled_the_settings_say(bench: Bench, rule: dict[str, Any], enrolled: set[str]) -> None:
    place = Place(bench, **rule)
    place.device("ship-a", fleet="delta")
    place.device("ship-b", fleet="other")

    place.read()

    assert {name for name in ("ship-a", "ship-b") if place.known(name)} == enrolled


def test_changed_tags_are_taken_and_what_is_the_same_is_not_written(place: Place) -> None:
    place.device("ship-a", site="north", old="x")
    place.read()
    place.hub.tag("ship-a", {"site": "south", "old": None})
    place.later()

    place.read()

    assert tags_of(place, "ship-a") == {"site": "south"}


def test_a_device_under_another_id_of_ours_is_found_by_its_binding(place: Place) -> None:
    order = EnrolDevice(hub="north", hub_device_id="ship-a", tags={"mine": "yes"})
    place.deps.store.devices.enrol("vessel", order, "t", place.deps.now())
    place.device("ship-a", site="north")

    place.read()

    assert tags_of(place, "vessel") == {"site": "north"}
    assert place.known("ship-a") is None


def test_an_id_that_is_another_device_is_not_enrolled_over_it(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.deps.store.devices.enrol("ship-a", EnrolDevice(hub="south"), "t", place.deps.now())
    place.device("ship-a", site="north")

    place.read()

    found = place.known("ship-a")
    assert found is not None
    assert (found.hub, dict(found.tags)) == ("south", {})
    assert "hub north has ship-a, which is the id of another device" in caplog.text


def test_who_is_gone_from_the_hub_is_told_and_stays_and_comes_back(place: Place) -> None:
    place.device("ship-a")
    place.device("ship-b")
    place.read()
    place.hub.remove_device("ship-a")
    place.later()
    place.read()
    gone, other = place.known("ship-a"), place.known("ship-b")
    missing = place.deps.store.devices.list_devices(
        state=None, hub="north", tag=None, missing=True, limit=10, after=None
    )

    place.device("ship-a")
    place.later()
    place.read()

    assert gone is not None and other is not None
    assert (gone.missing_since is not None, other.missing_since) == (True, None)
    assert [device.device_id for device in missing.items] == ["ship-a"]
    back = place.known("ship-a")
    assert back is not None
    assert back.missing_since is None


def test_a_device_enrolled_lately_is_not_missed_since_the_index_of_a_hub_lags(place: Place) -> None:
    place.deps.store.devices.enrol("ship-new", EnrolDevice(hub="north"), "t", place.deps.now())

    place.read()

    found = place.known("ship-new")
    assert found is not None
    assert found.missing_since is None


def test_a_reading_that_dies_goes_on_behind_its_last_page(place: Place) -> None:
    for number in range(250):
        place.device(f"ship-{number:03}")
    place.deps.store.hubs.expect(["north"], place.deps.now())
    kind, run = ReadHubs(), Run(place.deps)
    kind.do(run, "north")
    place.hub.calls.fail("devices_with", error=DependencyError("no answer", retry_after=timedelta(seconds=90)))
    kind.do(run, "north")
    assert kind.due(place.deps, place.deps.now(), 20) == ()
    place.later(timedelta(seconds=91))

    assert place.read() == 2
    assert place.hub.calls.count["devices_with"] == 4
    assert place.known("ship-249") is not None


def test_a_marker_that_the_hub_does_not_know_any_more_begins_the_reading_anew(place: Place) -> None:
    for number in range(150):
        place.device(f"ship-{number:03}")
    place.deps.store.hubs.expect(["north"], place.deps.now())
    kind, run = ReadHubs(), Run(place.deps)
    kind.do(run, "north")
    place.hub.calls.fail("devices_with", error=RequestError("the page is not known", code="hub.refused"))

    assert place.read() == 3
    assert place.known("ship-149") is not None


def test_two_who_read_at_once_read_a_page_once(place: Place) -> None:
    place.deps.store.hubs.expect(["north"], place.deps.now())
    first = place.deps.store.hubs.claim("north", timedelta(minutes=2), place.deps.now())

    assert first is not None
    assert place.deps.store.hubs.claim("north", timedelta(minutes=2), place.deps.now()) is None


def test_a_hub_that_is_not_kept_in_step_any_more_is_left_alone(place: Place, bench: Bench) -> None:
    place.read()
    place.later()
    off = Place(bench, sync="off")

    ReadHubs().do(Run(off.deps), "north")

    assert off.deps.store.hubs.to_read(off.deps.now() + timedelta(days=9)) == ()
    assert off.hub.calls.count["devices_with"] == 0


def test_a_device_costs_the_same_in_a_large_hub(place: Place) -> None:
    def cost(count: int, start: int) -> int:
        for number in range(start, start + count):
            place.device(f"ship-{number:05}", site=str(number))
        place.later()
        with statements(place.deps.store) as counted:
            place.read()
        return len(counted)

    small, large = cost(200, 0), cost(800, 200)

    assert large <= small * 1000 / 200 * 1.2
