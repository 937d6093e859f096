"""Pause by the cloud, hold by the crew: fetching and applying rest, talking does not."""

from __future__ import annotations

import threading

import pytest

from edge_module.brake import NAMES
from imagedelta.errors import DependencyError
from tests.unit.edge.test_parts import a_ship, running, wait_for
from tests.unit.edge.world import APP_1, World, make_bundle


@pytest.mark.parametrize("name", NAMES)
def test_a_file_named_hold_stops_fetching_and_applying_until_it_is_taken_away(name: str) -> None:
    world = World(APP_1)
    world.disk.make_folders("inbox")
    world.disk.put(name, b"in the canal until noon\n")
    bundle = make_bundle()
    world.publish(bundle)
    world.drop_into_inbox(make_bundle(bundle_id="b2", transfer_id="transfer-2", number=8), "by-hand.bundle")
    device = world.boot()

    world.turn(device, 60)
    assert (world.hub.reports, world.outbox.served[bundle.name]) == ([], 0)
    assert len(world.hub.inventories) == 1
    hold = world.hub.reported["hold"]
    assert (hold["since"], hold["reason"]) == ("1970-01-01T00:00:00Z", "in the canal until noon")

    world.disk.remove(name)
    world.turn(device, 60)
    assert world.hub.reported.get("hold") is None
    assert {report.state for report in world.hub.reports} >= {"succeeded"}


def test_a_hold_file_in_the_inbox_is_no_bundle_and_stays() -> None:
    world = World(APP_1)
    world.disk.make_folders("inbox")
    world.disk.put("inbox/hold", b"")

    world.turn(world.boot(), 20)

    assert world.disk.list("inbox") == ["hold"]


@pytest.mark.parametrize("by", ["crew", "cloud"])
def test_a_rebuild_that_runs_is_stopped_and_goes_on_afterwards_and_no_report_blames_anybody(by: str) -> None:
    world = a_ship()
    world.drop_into_inbox(make_bundle())
    stopped = threading.Event()

    def until_stopped(*_: object) -> None:
        assert stopped.wait(20)
        raise DependencyError("stopped", code="rebuild.stopped")

    rebuilds = world.rebuild_with(until_stopped, stopped.set)
    with running(world.boot()):
        wait_for(lambda: rebuilds.begun == 1)
        if by == "crew":
            world.disk.put("hold", b"")
            wait_for(lambda: world.hub.reported.get("hold"))
        else:
            world.hub.desired_now["paused"] = True
        wait_for(stopped.is_set)
        stopped.clear()
        world.disk.remove("hold")
        world.hub.desired_now["paused"] = False
        wait_for(lambda: rebuilds.begun == 2)
        stopped.set()

    assert world.states() == []
