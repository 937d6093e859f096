"""Planned and sent bytes are added up from what is so: whatever came late, again, from elsewhere or for others."""

from __future__ import annotations

from contracts.records import DeploymentSet, Figures
from store.sql import SqlStore
from tests.unit.store.world import MANIFEST, World, digest


def figures(world: World, of: DeploymentSet) -> tuple[int, int] | None:
    """Planned and sent."""
    found: Figures | None = world.store.sets.figures([of.set_id]).get(of.set_id)
    return (found.planned_bytes, found.sent_bytes) if found else None


def test_a_set_that_is_not_planned_has_no_figures(world: World) -> None:
    world.device("ship-1", "-")

    assert figures(world, world.accepted(["ship-1"], "app:2")) is None


def test_what_is_sent_counts_once_it_has_arrived(world: World) -> None:
    world.device("ship-1", "-")
    of = world.set(["ship-1"], "app:2")
    world.publish(of)
    published = figures(world, of)

    world.report(world.transfer(of, "ship-1"), "receiving", 1)
    receiving = figures(world, of)
    world.report(world.transfer(of, "ship-1"), "received", 2)
    received = figures(world, of)
    world.report(world.transfer(of, "ship-1"), "succeeded", 3)

    assert (published, receiving, received, figures(world, of)) == ((100, 0), (100, 0), (100, 120), (100, 120))


def test_bytes_that_the_device_counted_on_its_link_are_the_true_ones(world: World) -> None:
    world.device("ship-1", "-")
    of = world.set(["ship-1"], "app:2")
    world.publish(of)

    world.report(world.transfer(of, "ship-1"), "received", bytes_fetched=150, seconds_on_link=2.5)

    transfer = world.transfer(of, "ship-1")
    assert figures(world, of) == (100, 150)
    assert (transfer.bytes_fetched, transfer.seconds_on_link) == (150, 2.5)


def test_a_device_that_is_planned_late_is_added(world: World) -> None:
    world.device("ship-1", "-")
    world.device("ship-2")
    of = world.set(["ship-1", "ship-2"], "app:2")
    before = figures(world, of)

    world.inventory("ship-2")
    world.plan(of)

    assert (before, figures(world, of)) == ((100, 0), (200, 0))


def test_planning_again_what_is_planned_changes_no_figure(world: World) -> None:
    world.device("ship-1", "-")
    of = world.set(["ship-1"], "app:2")

    world.plan(of)
    world.plan(of)

    assert figures(world, of) == (100, 0)


def test_another_attempt_adds_to_what_was_sent_before(world: World) -> None:
    world.device("ship-1", "-")
    of = world.set(["ship-1"], "app:2")
    world.publish(of)
    world.report(world.transfer(of, "ship-1"), "received", 1)
    world.report(world.transfer(of, "ship-1"), "source_missing", 2, missing_source=digest("app:1"))
    lost = figures(world, of)

    world.plan(of)
    planned = figures(world, of)
    world.deliver(of, "ship-1")

    assert (lost, planned, figures(world, of)) == ((100, 120), (200, 120), (200, 240))
    assert world.transfer(of, "ship-1").bytes_fetched is None


def test_a_bundle_refused_by_its_head_cost_nothing(world: World) -> None:
    world.device("ship-1", "-")
    of = world.set(["ship-1"], "app:2")
    world.publish(of)

    world.report(world.transfer(of, "ship-1"), "source_missing", missing_source=digest("app:1"))

    assert figures(world, of) == (0, 0)


def test_an_image_that_came_before_the_set_costs_it_nothing(world: World) -> None:
    """A rollback, and every set whose images are there already."""
    world.device("ship-1", "-")
    first = world.deliver(world.set(["ship-1"], "app:2"), "ship-1")
    world.inventory("ship-1", digest("app:2"))

    again = world.set(["ship-1"], "app:2", workstream="other")

    assert again.state == "completed"
    assert (figures(world, first), figures(world, again)) == ((100, 120), (0, 0))


def test_what_is_sent_again_for_a_newer_set_is_not_counted_for_the_one_that_is_complete(world: World) -> None:
    world.device("ship-1", "-")
    first = world.deliver(world.set(["ship-1"], "app:2"), "ship-1")
    world.inventory("ship-1", digest("app:2"))
    newer = world.set(["ship-1"], "app:2", workstream="other", manifest=MANIFEST, release="manual")

    world.inventory("ship-1")
    world.plan(newer)
    world.deliver(newer, "ship-1")

    assert world.transfer(newer, "ship-1").attempt == 2
    assert (figures(world, first), figures(world, newer)) == ((100, 120), (100, 120))


def test_a_transfer_that_two_sets_wait_for_counts_in_both(world: World) -> None:
    world.device("ship-1", "-")
    first = world.set(["ship-1"], "app:2")
    second = world.set(["ship-1"], "app:2", workstream="other")

    world.deliver(first, "ship-1")

    assert figures(world, first) == figures(world, second) == (100, 120)


def test_an_excluded_device_is_planned_no_more_but_what_it_got_stays(world: World) -> None:
    for device_id in ("ship-1", "ship-2", "ship-3"):
        world.device(device_id, "-")
    of = world.set(["ship-1", "ship-2", "ship-3"], "app:2", manifest=MANIFEST)
    world.publish(of)
    world.report(world.transfer(of, "ship-1"), "received")

    for device_id in ("ship-1", "ship-2"):
        world.store.sets.exclude_member(of.set_id, device_id, "tester", world.later())

    assert figures(world, of) == (200, 120)


def test_a_failed_transfer_that_another_set_took_over_keeps_its_account(world: World) -> None:
    world.device("ship-1", "-")
    first = world.set(["ship-1"], "app:2")
    world.publish(first)
    world.report(world.transfer(first, "ship-1"), "failed", bytes_fetched=130, code="seal.invalid")
    world.settled(first)
    second = world.set(["ship-1"], "app:2", workstream="other")
    failed = figures(world, first)

    world.store.sets.retry_member(first.set_id, "ship-1", "tester", world.later())
    world.plan(first)
    world.deliver(second, "ship-1")

    assert (failed, figures(world, first), figures(world, second)) == ((100, 130), (200, 250), (100, 120))


def test_members_add_up_to_their_set(world: World) -> None:
    for device_id in ("ship-1", "ship-2"):
        world.device(device_id, "-")
    of = world.set(["ship-1", "ship-2"], "app:2", "tool:1")
    world.deliver(of, "ship-1")

    found = world.store.sets.figures_of_members(of.set_id)

    assert {name: (one.planned_bytes, one.sent_bytes) for name, one in found.items()} == {
        "ship-1": (200, 240),
        "ship-2": (200, 0),
    }
    assert figures(world, of) == (400, 240)


def test_bytes_over_time_are_those_of_bundles_when_they_arrive_whatever_comes_of_them(
    store: SqlStore, world: World
) -> None:
    for device_id in ("ship-1", "ship-2"):
        world.device(device_id, "-")
    start = world.now
    of = world.set(["ship-1", "ship-2"], "app:2")
    world.publish(of)
    world.report(world.transfer(of, "ship-1"), "received", 1)
    world.report(world.transfer(of, "ship-1"), "failed", 2, code="seal.invalid")
    world.report(world.transfer(of, "ship-2"), "succeeded", 3)

    (bucket,) = store.transfers.timeseries("day", start, world.later())

    assert (bucket["succeeded"], bucket["failed"], bucket["bytes"]) == (1, 1, 240)
