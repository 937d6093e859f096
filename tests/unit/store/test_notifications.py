from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import event

from contracts.records import DeploymentSet, Notification
from store.kernel.notices import BETWEEN, GATHER, announce
from tests.unit.store.world import MANIFEST, World

LEASE = timedelta(minutes=2)


@pytest.fixture
def pending(world: World) -> Notification:
    world.device("ship-1", world.image("app:2"))
    of = world.set(["ship-1"], "app:2")
    (notification,) = world.store.notifications.of_set(of.set_id)
    return notification


def test_a_claim_keeps_others_away_until_its_lease_is_over(world: World, pending: Notification) -> None:
    notifications, mail = world.store.notifications, pending.notification_id
    assert notifications.due(world.now, 10) == (mail,)

    first = notifications.claim(mail, LEASE, 3, world.now)
    assert first is not None
    assert (first.state, first.tries) == ("claimed", 1)
    assert notifications.due(world.later(60), 10) == ()
    assert notifications.claim(mail, LEASE, 3, world.now) is None
    world.later(61)
    assert notifications.due(world.now, 10) == (mail,)
    again = notifications.claim(mail, LEASE, 3, world.now)
    assert again is not None
    assert again.tries == 2


def test_what_is_sent_is_sent_for_good(world: World, pending: Notification) -> None:
    notifications, mail = world.store.notifications, pending.notification_id
    notifications.claim(mail, LEASE, 3, world.now)

    assert notifications.sent(mail, "subject", "body", world.now)
    assert not notifications.sent(mail, "another", "text", world.now)
    assert not notifications.failed(mail, "late", None)
    assert notifications.claim(mail, LEASE, 3, world.later(9999)) is None
    (sent,) = notifications.of_set(pending.set_id)
    assert (sent.state, sent.sent_at is not None) == ("sent", True)
    assert (sent.subject, sent.body) == ("subject", "body")


def test_a_mail_that_fails_is_tried_again_when_it_was_put_off_to(world: World, pending: Notification) -> None:
    notifications, mail = world.store.notifications, pending.notification_id
    notifications.claim(mail, LEASE, 3, world.now)

    assert notifications.failed(mail, "no answer", world.now + timedelta(seconds=30))

    assert notifications.due(world.later(29), 10) == ()
    assert notifications.due(world.later(1), 10) == (mail,)


def test_a_mail_whose_sender_dies_each_time_is_dead_in_the_end(world: World, pending: Notification) -> None:
    notifications, mail = world.store.notifications, pending.notification_id

    claims = [notifications.claim(mail, LEASE, 3, world.later(180)) is not None for _ in range(5)]

    (dead,) = notifications.of_set(pending.set_id)
    assert claims == [True, True, True, False, False]
    assert (dead.state, dead.detail) == ("dead", "its sender died 3 times")


def test_a_mail_refused_for_good_is_dead_at_once(world: World, pending: Notification) -> None:
    world.store.notifications.claim(pending.notification_id, LEASE, 3, world.now)

    world.store.notifications.failed(pending.notification_id, "no such box", None)

    (dead,) = world.store.notifications.of_set(pending.set_id)
    assert dead.state == "dead"


def test_a_server_that_does_not_answer_has_every_mail_that_is_due_put_off_at_once(
    world: World, pending: Notification
) -> None:
    world.store.notifications.put_off("mail", world.now + timedelta(minutes=2), world.now)

    assert world.store.notifications.due(world.now, 10) == ()
    assert world.store.notifications.due(world.later(120), 10) == (pending.notification_id,)
    (waiting,) = world.store.notifications.of_set(pending.set_id)
    assert (waiting.state, waiting.tries) == ("pending", 0)


def test_a_mail_that_tells_nothing_any_more_is_dropped_for_good(world: World, pending: Notification) -> None:
    notifications, mail = world.store.notifications, pending.notification_id
    notifications.claim(mail, LEASE, 3, world.now)

    assert notifications.drop(mail)
    assert not notifications.sent(mail, "subject", "body", world.now)
    assert notifications.due(world.later(9999), 10) == ()
    assert [notice.state for notice in notifications.of_set(pending.set_id)] == ["dropped"]


def a_set_whose_devices_fail(world: World, *device_ids: str) -> DeploymentSet:
    """With one more device that never does, so that the set goes on."""
    for device_id in (*device_ids, "good"):
        world.device(device_id, "-")
    of = world.set([*device_ids, "good"], "app:2", manifest=MANIFEST)
    world.publish(of)
    return world.settled(of)


def fail(world: World, of: DeploymentSet, device_id: str) -> None:
    world.report(world.transfer(of, device_id), "failed", code="seal.invalid")
    world.settled(of)


def of_kind(world: World, of: DeploymentSet, kind: str) -> list[Notification]:
    return [notice for notice in world.store.notifications.of_set(of.set_id) if notice.kind == kind]


def test_devices_that_fail_while_a_mail_is_pending_go_into_it(world: World) -> None:
    of = a_set_whose_devices_fail(world, "ship-1", "ship-2", "ship-3")

    for device_id in ("ship-1", "ship-2", "ship-3"):
        fail(world, of, device_id)

    (notice,) = of_kind(world, of, "member_failed")
    assert world.store.notifications.due(world.now, 10) == ()
    assert world.store.notifications.due(world.now + GATHER, 10) == (notice.notification_id,)


def test_a_device_that_fails_after_a_mail_was_claimed_makes_the_next_an_hour_later(world: World) -> None:
    of = a_set_whose_devices_fail(world, "ship-1", "ship-2", "ship-3")
    fail(world, of, "ship-1")
    (first,) = of_kind(world, of, "member_failed")
    world.later(GATHER.total_seconds())
    assert world.store.notifications.claim(first.notification_id, LEASE, 3, world.now)

    fail(world, of, "ship-2")
    fail(world, of, "ship-3")

    first, second = of_kind(world, of, "member_failed")
    assert (first.number, second.number) == (1, 2)
    world.store.notifications.sent(first.notification_id, "subject", "body", world.now)
    assert world.store.notifications.due(world.now + GATHER, 10) == ()
    assert world.store.notifications.due(world.now + BETWEEN, 10) == (second.notification_id,)


def test_of_a_set_the_earlier_mail_goes_first_unless_it_must_be_tried_again_later(world: World) -> None:
    world.device("ship-1", "-")
    of = world.set(["ship-1"], "app:2", manifest=MANIFEST)
    world.publish(of)
    world.deliver(of, "ship-1")
    world.later()
    world.store._db.write(lambda connection: announce(connection, of.set_id, "completed", world.now))
    [arrived], [completed] = of_kind(world, of, "arrived"), of_kind(world, of, "completed")
    notifications = world.store.notifications

    assert notifications.due(world.now, 10) == (arrived.notification_id,)
    notifications.claim(arrived.notification_id, LEASE, 3, world.now)
    assert notifications.due(world.now, 10) == ()

    notifications.failed(arrived.notification_id, "no answer", world.now + timedelta(seconds=30))
    assert notifications.due(world.now, 10) == (completed.notification_id,)


def test_a_second_success_after_a_retry_is_told_too(world: World) -> None:
    for device_id in ("bad", "good"):
        world.device(device_id, "-")
    of = world.set(["bad", "good"], "app:2")
    world.publish(of)
    fail(world, of, "bad")
    assert world.deliver(of, "good").state == "completed_with_failures"
    (first,) = of_kind(world, of, "completed")
    world.store.notifications.claim(first.notification_id, LEASE, 3, world.now)
    world.store.notifications.sent(first.notification_id, "subject", "body", world.now)

    world.store.sets.retry_member(of.set_id, "bad", "tester", world.later())
    world.plan(of)

    assert world.deliver(of, "bad").state == "completed"
    assert [notice.number for notice in of_kind(world, of, "completed")] == [1, 2]


def test_what_a_failing_device_costs_does_not_grow_with_their_number(world: World) -> None:
    def statements_of(count: int) -> int:
        ids = [f"of-{count}-{number:03}" for number in range(count)]
        for device_id in ids:
            world.device(device_id, "-")
        of = world.set(ids, "app:2", workstream=f"of-{count}")
        world.publish(of)
        for device_id in ids:
            world.report(world.transfer(of, device_id), "failed", code="seal.invalid")
        seen: list[str] = []
        engine = world.store._db.engine
        listener = event.listens_for(engine, "before_cursor_execute")(lambda *call: seen.append(call[2]))
        world.settled(of)
        event.remove(engine, "before_cursor_execute", listener)
        return len(seen)

    few, many = statements_of(5), statements_of(25)

    assert (many - few) / 20 <= 3
