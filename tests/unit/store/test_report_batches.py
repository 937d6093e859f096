"""Many reports in one transaction: what it costs, and what failing in the middle of it leaves."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

import store.kernel.retries as retries
from contracts.messages import MAX_FETCHED_BYTES, Report
from contracts.records import DeploymentSet, Transfer
from services.store_port import Origin
from store.kernel.schema import devices, members, sets
from tests.unit.store.statements import failing_once, planned, said
from tests.unit.store.world import MANIFEST, World, digest


def fleet(world: World, size: int, prefix: str = "ship") -> DeploymentSet:
    """Published bundles of two images on each of so many devices."""
    base = world.image("app:1")
    names = [world.device(f"{prefix}-{number:03}", base) for number in range(size)]
    of = world.accepted(names, "app:2", "app:3", manifest=MANIFEST, name=prefix, workstream=prefix)
    world.plan(of, sources=[base])
    world.store.sets.move(of.set_id, "planning", "preparing", "orchestrator", world.now)
    world.start(of)
    world.publish(of)
    return world.settled(of)


def reports(world: World, transfers: Iterable[Transfer], state: str, sequence: int = 1, **fields: Any) -> list[Any]:
    return [
        (
            world.origin(transfer.device_id),
            Report(
                transfer_id=transfer.transfer_id,
                attempt=transfer.attempt,
                sequence=sequence,
                state=state,
                image_id=transfer.image_id,
                **fields,
            ),
        )
        for transfer in transfers
    ]


def record(world: World, batch: list[tuple[Origin, Report]]) -> list[str]:
    return [outcome.result for outcome in world.store.transfers.record_reports(batch, max_attempts=3)]


def column(world: World, what: Any, *where: Any) -> Any:
    return world.store._db.read(lambda connection: connection.execute(select(what).where(*where)).scalar_one())


# ------------------------------------------------------------ what it costs


@pytest.mark.parametrize(
    ("state", "fields"),
    [
        ("receiving", {}),
        ("received", {"bytes_fetched": 120, "seconds_on_link": 1.5}),
        ("succeeded", {"local_digest": digest("l")}),
        ("failed", {"code": "seal.invalid"}),
        ("source_missing", {"missing_source": digest("app:1")}),
    ],
)
def test_a_batch_says_as_much_as_one_report_and_a_large_fleet_as_a_small_one(
    world: World, state: str, fields: dict[str, Any]
) -> None:
    counts = []
    for size in (3, 15):
        transfers = world.store.transfers.of_set(fleet(world, size, f"of{size}").set_id)
        by_image = [[one for one in transfers if one.reference == reference] for reference in ("app:2", "app:3")]
        for batch in (reports(world, by_image[0][:1], state, **fields), reports(world, by_image[1], state, **fields)):
            with said(world.store) as statements:
                assert record(world, batch) == ["applied"] * len(batch)
            counts.append(len(statements))

    assert max(counts) <= 20
    assert counts[:2] == counts[2:]
    assert abs(counts[0] - counts[1]) <= 5  # the first mail of a kind is inserted, the next joins it


@pytest.mark.sqlite
def test_no_statement_of_a_message_walks_through_a_fleet(world: World) -> None:
    of = fleet(world, 100)
    transfers = world.store.transfers.of_set(of.set_id)

    with planned(world.store) as plans:
        for place, state in enumerate(("received", "failed", "source_missing")):
            record(world, reports(world, transfers[place * 50 : place * 50 + 50], state))
        world.inventory("ship-000", digest("app:2"), digest("app:9"))
        world.inventory("ship-001", installation="disk-2")
        world.inventory("ship-002", hub="south")
        world.store.devices.resync("ship-002", "tester", world.now)

    assert len(plans) > 25
    walks = (
        "SCAN deployment",
        "SCAN member",
        "SCAN transf",
        "SCAN device",
        "SCAN hist",
        "SCAN bund",
        "SCAN patch",
        "state=?)",
        "state_ordinal",
    )
    for statement, plan in plans.items():
        for line in plan:
            of_a_few = "device_id=? AND state=?" in line or "notifications" in line
            assert of_a_few or not any(walk in line for walk in walks), (line, statement)


def test_messages_that_change_nothing_write_nothing(world: World) -> None:
    (one, *_rest) = world.store.transfers.of_set(fleet(world, 1).set_id)
    (sent,) = reports(world, [one], "received")
    record(world, [sent])

    with said(world.store) as statements:
        assert record(world, [sent] * 50) == ["duplicate"] * 50

    assert len([one for one in statements if not one.startswith(("SELECT", "BEGIN"))]) == 1  # the device is held
    assert len(statements) <= 5


# ------------------------------------------------------------ what failing in the middle of it leaves


def test_whichever_statement_finds_the_database_busy_everything_is_recorded_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE_SECONDS", 0)
    done = place = 0
    while not done:
        of = fleet(world, 3, f"of{place}")
        transfers = world.store.transfers.of_set(of.set_id)
        batch = [
            *reports(world, transfers, "received", bytes_fetched=9),
            *reports(world, transfers[:2], "failed", 2, code="seal.invalid"),
            *reports(world, transfers[2:3], "source_missing", 2),
        ]

        with failing_once(world.store, place) as ran:
            assert record(world, batch) == ["applied"] * len(batch)

        lines = [[e.new for e in world.store.transfers.history(t.transfer_id)][3:] for t in transfers]
        assert lines[:3] == [["received", "failed"], ["received", "failed"], ["received", "source_missing", "queued"]]
        done, place = ran[0] <= place, place + 1
    assert place > 10


def test_a_statement_that_the_database_refuses_leaves_nothing_of_its_batch(world: World) -> None:
    transfers = world.store.transfers.of_set(fleet(world, 3).set_id)
    trap = (
        "CREATE TRIGGER trap BEFORE UPDATE ON transfers WHEN NEW.code = 'disk.full' BEGIN SELECT RAISE(ABORT, 'x'); END"
    )
    world.store._db.write(lambda connection: connection.execute(text(trap)))
    spoilt = reports(world, transfers[:1], "blocked", 2, code="disk.full")

    try:
        with pytest.raises(IntegrityError):
            record(world, [*reports(world, transfers, "received"), *spoilt])
    finally:
        world.store._db.write(lambda connection: connection.execute(text("DROP TRIGGER trap")))

    assert {one.state for one in world.store.transfers.of_set(column(world, sets.c.set_id))} == {"published"}


def test_two_workers_that_are_given_the_same_batches_record_each_report_once(world: World) -> None:
    of = fleet(world, 6)
    transfers = world.store.transfers.of_set(of.set_id)
    states = enumerate(("receiving", "received", "applying", "succeeded"), 1)
    batches = [reports(world, transfers, state, sequence) for sequence, state in states]

    with ThreadPoolExecutor(3) as workers:
        results = workers.map(
            lambda order: [record(world, batch) for batch in order], [batches, batches, batches[::-1]]
        )
        told = [result for of_worker in results for of_batch in of_worker for result in of_batch]

    assert set(told) <= {"applied", "duplicate", "stale"}
    lines = [[e.new for e in world.store.transfers.history(t.transfer_id)] for t in transfers]
    assert [line.count("succeeded") for line in lines] == [1] * len(transfers)
    assert set(world.states(of)[1].values()) == {"ready"}


def test_the_largest_figures_that_devices_may_tell_can_be_added_up(world: World) -> None:
    of = fleet(world, 3)
    most = {"bytes_fetched": MAX_FETCHED_BYTES, "seconds_on_link": 1e12}

    record(world, reports(world, world.store.transfers.of_set(of.set_id), "received", **most))

    assert world.store.sets.figures([of.set_id])[of.set_id].sent_bytes == 6 * MAX_FETCHED_BYTES
    assert world.store.transfers.timeseries("day", world.now - timedelta(days=1), world.now)


# ------------------------------------------------------------ what becomes due by it


def test_a_device_that_reports_has_a_link_so_what_waited_for_one_is_due(world: World) -> None:
    of = fleet(world, 2)
    world.deliver(of, "ship-000", "ship-001")
    for name in ("ship-000", "ship-001"):
        assert world.release(of, name)
    newer = fleet_of_same(world, of)
    far = world.now + timedelta(hours=5)
    postpone(world, far, tries=3)

    record(world, reports(world, world.store.transfers.of_member(newer.set_id, "ship-000"), "receiving"))

    assert next_try(world, of, "ship-000") == world.now
    assert next_try(world, of, "ship-001") == far
    assert column(world, devices.c.sync_at, devices.c.device_id == "ship-000") == world.now
    assert column(world, devices.c.sync_at, devices.c.device_id == "ship-001") == far


def test_a_twin_that_only_waits_for_its_renewal_is_left_alone(world: World) -> None:
    of = fleet(world, 1)
    far = world.now + timedelta(hours=5)
    postpone(world, far, tries=0)

    record(world, reports(world, world.store.transfers.of_set(of.set_id), "receiving"))

    assert column(world, devices.c.sync_at) == far


def fleet_of_same(world: World, of: DeploymentSet) -> DeploymentSet:
    newer = world.set([m.device_id for m in world.store.sets.members(of.set_id)], "app:4", workstream="another")
    world.publish(newer)
    return newer


def postpone(world: World, until: datetime, tries: int) -> None:
    def work(connection: Any) -> None:
        connection.execute(members.update().where(members.c.state == "released").values(next_try_at=until))
        connection.execute(devices.update().values(sync_at=until, sync_tries=tries))

    world.store._db.write(work)


def next_try(world: World, of: DeploymentSet, device_id: str) -> Any:
    return column(world, members.c.next_try_at, members.c.set_id == of.set_id, members.c.device_id == device_id)


def test_sets_that_wait_for_a_transfer_without_a_source_have_something_to_plan_and_no_others(world: World) -> None:
    of, other = fleet(world, 2), fleet(world, 2, "boat")
    world.store._db.write(lambda connection: connection.execute(sets.update().values(plan_at=None)))

    (one, *_rest) = world.store.transfers.of_member(of.set_id, "ship-000")
    outcomes = world.store.transfers.record_reports(reports(world, [one], "source_missing"), max_attempts=3)

    assert outcomes[0].set_ids == (of.set_id,)
    assert column(world, sets.c.plan_at, sets.c.set_id == of.set_id) == world.now
    assert column(world, sets.c.plan_at, sets.c.set_id == other.set_id) is None


# ------------------------------------------------------------ what the owner is told


def test_a_second_failure_after_a_retry_is_told_again_and_so_is_the_success_after_it(world: World) -> None:
    of = fleet(world, 1)

    for _ in range(2):
        publish_and_report(world, of, "failed", code="seal.invalid")
        tell_everybody(world, of)
        world.store.sets.retry_member(of.set_id, "ship-000", "tester", world.later())
        world.plan(of)
    publish_and_report(world, of, "succeeded")
    world.settled(of)
    tell_everybody(world, of)

    told = [(one.kind, one.number) for one in world.store.notifications.of_set(of.set_id)]
    assert [number for kind, number in told if kind == "member_failed"] == [1, 2]
    assert told[-1][0] == "arrived"


def publish_and_report(world: World, of: DeploymentSet, state: str, **fields: Any) -> None:
    world.publish(of)
    waiting = [t for t in world.store.transfers.of_set(of.set_id) if t.state == "published"]
    assert record(world, reports(world, waiting, state, **fields)) == ["applied"] * len(waiting)


def tell_everybody(world: World, of: DeploymentSet) -> None:
    world.settled(of)
    world.later(7200)
    for notification_id in world.store.notifications.due(world.now, 10):
        assert world.store.notifications.claim(notification_id, timedelta(minutes=1), 3, world.now)
        assert world.store.notifications.sent(notification_id, "subject", "body", world.now)
