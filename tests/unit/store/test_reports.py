from __future__ import annotations

import itertools
from typing import Any

import pytest

from contracts.records import DeploymentSet, Transfer
from services.store_port import BundleResult
from tests.unit.store.world import MANIFEST, World, digest


@pytest.fixture
def published(world: World) -> DeploymentSet:
    """One set, one device, one published transfer that starts from app:1."""
    base = world.image("app:1")
    world.device("ship-1", base)
    of = world.accepted(["ship-1"], "app:2", manifest=MANIFEST)
    world.plan(of, sources=[base])
    world.store.sets.move(of.set_id, "planning", "preparing", "orchestrator", world.now)
    world.start(of)
    world.publish(of)
    return world.settled(of)


def fingerprint(world: World, of: DeploymentSet) -> Any:
    """Everything a message could change."""
    transfer = world.transfer(of, "ship-1")
    return (
        transfer,
        world.store.transfers.history(transfer.transfer_id),
        world.states(of),
        world.store.devices.images_on("ship-1"),
        world.store.devices.device("ship-1"),
    )


def test_reports_move_a_transfer_forward_and_keep_what_they_tell(world: World, published: DeploymentSet) -> None:
    transfer = world.transfer(published, "ship-1")

    for sequence, state in enumerate(["receiving", "received", "applying"], 1):
        assert world.report(transfer, state, sequence).result == "applied"
    outcome = world.report(transfer, "succeeded", 4, localDigest=digest("local"), bytesFetched=120, secondsOnLink=3.5)

    done = world.transfer(published, "ship-1")
    assert outcome.set_ids == ()  # nothing to plan, build or publish: the sweep settles it
    assert (done.state, done.sequence, done.local_digest) == ("succeeded", 4, digest("local"))
    assert (done.bytes_fetched, done.seconds_on_link, done.bundle_bytes) == (120, 3.5, 120)
    history = [(event.new, event.source) for event in world.store.transfers.history(done.transfer_id)]
    assert history[-4:] == [(s, "report") for s in ("receiving", "received", "applying", "succeeded")]


def test_a_report_delivered_ten_times_changes_nothing_after_the_first(world: World, published: DeploymentSet) -> None:
    transfer = world.transfer(published, "ship-1")
    world.report(transfer, "receiving", 1)
    world.report(transfer, "succeeded", 2)
    before = fingerprint(world, published)

    results = [world.report(transfer, "succeeded", 2).result for _ in range(10)]

    assert results == ["duplicate"] * 10
    assert fingerprint(world, published) == before


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::3])
def test_in_any_order_the_last_report_decides(world: World, published: DeploymentSet, order: tuple[int, ...]) -> None:
    transfer = world.transfer(published, "ship-1")
    states = ["receiving", "received", "applying", "succeeded"]

    for place in order:
        world.report(transfer, states[place], place + 1)

    assert world.transfer(published, "ship-1").state == "succeeded"


def test_a_report_overtaken_by_a_later_one_is_stale(world: World, published: DeploymentSet) -> None:
    transfer = world.transfer(published, "ship-1")
    world.report(transfer, "applying", 3)
    before = fingerprint(world, published)

    assert world.report(transfer, "receiving", 1).result == "stale"
    assert fingerprint(world, published) == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"transfer_id": "transfer-0"},
        {"image_id": digest("another")},
        {"attempt": 2},
        {"hub": "south"},
        {"module": "spy"},
        {"module": None},
        {"device": "ship-2"},
        {"device": "nobody"},
    ],
)
def test_a_report_about_what_is_not_the_senders_changes_nothing(
    world: World, published: DeploymentSet, wrong: dict[str, Any]
) -> None:
    world.device("ship-2", "-")
    before = fingerprint(world, published)
    sender = {"device_id": "ship-1", "hub": "north", "module": "imagereconstruction"}
    for field, name in (("hub", "hub"), ("module", "module"), ("device", "device_id")):
        if field in wrong:
            sender[name] = wrong[field]
    fields = {key: value for key, value in wrong.items() if key not in ("hub", "module", "device")}

    outcome = world.report(world.transfer(published, "ship-1"), "succeeded", origin=world.origin(**sender), **fields)

    assert outcome.result == "unknown"
    assert outcome.set_ids == ()
    assert fingerprint(world, published) == before


def test_a_report_from_an_older_attempt_changes_nothing(world: World, published: DeploymentSet) -> None:
    first = world.transfer(published, "ship-1")
    world.report(first, "source_missing", 1, missingSource=digest("app:1"))
    world.plan(published)
    before = fingerprint(world, published)

    assert world.report(first, "succeeded", 9).result == "stale"
    assert world.report(first, "source_missing", 1).result == "duplicate"
    assert fingerprint(world, published) == before


def test_a_missing_source_is_refused_corrected_and_planned_anew(world: World, published: DeploymentSet) -> None:
    transfer = world.transfer(published, "ship-1")

    world.report(transfer, "source_missing", 1, missingSource=digest("app:1"), code="source.missing")

    again = world.transfer(published, "ship-1")
    assert (again.state, again.attempt, again.sequence) == ("queued", 2, 0)
    assert (again.sources, again.patch_id, again.number) == (None, None, None)
    assert again.refused_sources == (digest("app:1"),)
    assert world.store.devices.images_on("ship-1") == ()
    assert world.store.sets.to_plan(world.now, 10) == (published.set_id,)
    assert world.store.sets.is_unplanned(published.set_id, world.now)
    world.plan(published)
    world.publish(published)
    assert world.transfer(published, "ship-1").number == 2


def test_sources_run_out_after_the_last_attempt(world: World, published: DeploymentSet) -> None:
    for _ in range(2):
        world.report(world.transfer(published, "ship-1"), "source_missing", 1, code="source.missing")
        world.plan(published)
        world.publish(published)

    world.report(world.transfer(published, "ship-1"), "source_missing", 1, code="source.missing")

    last = world.transfer(published, "ship-1")
    assert (last.state, last.attempt, last.code) == ("failed", 3, "source.missing")
    assert world.states(world.settled(published))[0] == "failed"


def test_blocked_keeps_the_transfer_in_transit_and_goes_on_by_itself(world: World, published: DeploymentSet) -> None:
    transfer = world.transfer(published, "ship-1")

    world.report(transfer, "blocked", 1, code="disk.full", detail="needs 9 bytes")
    blocked = world.transfer(published, "ship-1")
    world.report(transfer, "blocked", 2, code="registry.down")
    world.report(transfer, "applying", 3)

    assert (blocked.state, blocked.code, blocked.detail) == ("blocked", "disk.full", "needs 9 bytes")
    assert world.transfer(published, "ship-1").code is None
    assert [e.code for e in world.store.transfers.history(transfer.transfer_id)][-3:] == [
        "disk.full",
        "registry.down",
        None,
    ]


def test_a_report_that_outruns_the_mark_of_its_publisher_counts(world: World) -> None:
    world.device("ship-1", "-")
    of = world.set(["ship-1"], "app:2")
    world.build(world.to_build(of)[0])
    (patch_id,) = world.to_publish(of)
    (claimed,) = world.store.publications.claim(patch_id, "", 10, shared=False, at=world.now)

    world.report(claimed.transfer, "receiving", 1)
    marked = world.store.publications.finish(patch_id, [BundleResult(claimed.transfer, 120)], world.now, last=True)

    transfer = world.transfer(of, "ship-1")
    assert marked == 0
    assert (transfer.state, transfer.bundle, transfer.bundle_bytes) == ("receiving", claimed.transfer.bundle, 120)


def test_success_after_failure_is_believed_failure_after_success_is_not(world: World, published: DeploymentSet) -> None:
    transfer = world.transfer(published, "ship-1")
    world.report(transfer, "failed", 1, code="seal.invalid")
    world.report(transfer, "succeeded", 2)

    assert world.report(transfer, "failed", 3, code="seal.invalid").result == "stale"
    assert world.transfer(published, "ship-1").state == "succeeded"


def test_reports_of_a_held_device_wait(world: World, published: DeploymentSet) -> None:
    world.inventory("ship-1", hub="south")

    assert world.report(world.transfer(published, "ship-1"), "succeeded").result == "held"
    assert world.transfer(published, "ship-1").state == "published"


def test_outcomes_are_counted_over_time(world: World, published: DeploymentSet) -> None:
    transfer: Transfer = world.transfer(published, "ship-1")
    world.later(3600)
    world.report(transfer, "succeeded", 1)
    start = world.now.replace(hour=0)

    days = world.store.transfers.timeseries("day", start, world.later(86_400))

    assert [(entry["succeeded"], entry["failed"], entry["bytes"]) for entry in days] == [(1, 0, 120), (0, 0, 0)]
    assert days[0]["bucketStart"] == start.replace(minute=0, second=0, microsecond=0)


def test_outcomes_of_a_set_a_device_and_a_workstream_are_counted_apart(world: World) -> None:
    for ship in ("ship-1", "ship-2"):
        world.device(ship, "-")
    first = world.deliver(world.set(["ship-1", "ship-2"], "app:2", workstream="a"), "ship-1", "ship-2")
    other = world.deliver(world.set(["ship-1"], "tool:1", workstream="b"), "ship-1")
    start = world.now.replace(hour=0)

    def succeeded(**only: Any) -> int:
        days = world.store.transfers.timeseries("day", start, world.later(1), **only)
        return sum(day["succeeded"] for day in days)

    assert succeeded() == 3
    assert (succeeded(set_id=first.set_id), succeeded(set_id=other.set_id)) == (2, 1)
    assert (succeeded(device_id="ship-1"), succeeded(device_id="ship-2")) == (2, 1)
    assert (succeeded(workstream="a"), succeeded(workstream="b"), succeeded(workstream="c")) == (2, 1, 0)
    assert succeeded(set_id=first.set_id, device_id="ship-2", workstream="a") == 1
    assert succeeded(set_id=other.set_id, device_id="ship-2") == 0


def test_a_set_that_found_an_image_there_counts_nothing_that_was_sent_for_another(world: World) -> None:
    world.device("ship-1", "-")
    world.deliver(world.set(["ship-1"], "app:2", workstream="a"), "ship-1")
    world.inventory("ship-1", world.image("app:2"))
    later = world.set(["ship-1"], "app:2", workstream="b")

    days = world.store.transfers.timeseries("day", world.now.replace(hour=0), world.later(1), set_id=later.set_id)

    assert sum(day["succeeded"] + day["bytes"] for day in days) == 0
