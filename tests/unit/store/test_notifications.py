from __future__ import annotations

from datetime import timedelta

import pytest

from contracts.records import Notification
from store.notices import one_line
from tests.unit.store.world import World

LEASE = timedelta(minutes=2)


@pytest.fixture
def pending(world: World) -> Notification:
    world.device("ship-1", world.image("app:2"))
    of = world.set(["ship-1"], "app:2")
    (notification,) = world.store.notifications.of_set(of.set_id)
    return notification


def test_a_notification_says_in_plain_words_what_happened(pending: Notification) -> None:
    assert pending.subject == "Deployment set March is complete"
    assert "Hello Olga," in pending.body
    assert "Images: app:2" in pending.body
    assert "Devices: 1 ready" in pending.body
    assert pending.set_id in pending.body


def test_a_claim_keeps_others_away_until_its_lease_is_over(world: World, pending: Notification) -> None:
    notifications, mail = world.store.notifications, pending.notification_id
    assert notifications.due(world.now, 10) == (mail,)

    first = notifications.claim(mail, LEASE, world.now)
    assert first is not None
    assert (first.state, first.tries) == ("claimed", 1)
    assert notifications.due(world.later(60), 10) == ()
    assert notifications.claim(mail, LEASE, world.now) is None
    world.later(61)
    assert notifications.due(world.now, 10) == (mail,)
    again = notifications.claim(mail, LEASE, world.now)
    assert again is not None
    assert (again.message_id, again.tries) == (first.message_id, 2)


def test_what_is_sent_is_sent_for_good(world: World, pending: Notification) -> None:
    notifications, mail = world.store.notifications, pending.notification_id
    notifications.claim(mail, LEASE, world.now)

    assert notifications.sent(mail, world.now)
    assert not notifications.sent(mail, world.now)
    assert not notifications.failed(mail, "late", final=True, max_tries=3, at=world.now)
    assert notifications.claim(mail, LEASE, world.later(9999)) is None
    (sent,) = notifications.of_set(pending.set_id)
    assert (sent.state, sent.sent_at is not None) == ("sent", True)


def test_a_mail_that_fails_is_tried_later_with_growing_pauses_and_dies_in_the_end(
    world: World, pending: Notification
) -> None:
    notifications, mail = world.store.notifications, pending.notification_id
    pauses = []
    for _ in range(3):
        assert notifications.claim(mail, LEASE, world.now)
        notifications.failed(mail, "no answer", final=False, max_tries=3, at=world.now)
        waited = 0
        while not notifications.due(world.now, 10) and waited < 600:
            world.later(10)
            waited += 10
        pauses.append(waited)

    assert pauses == [30, 60, 600]
    (dead,) = notifications.of_set(pending.set_id)
    assert (dead.state, dead.detail, dead.tries) == ("dead", "no answer", 3)


def test_a_mail_refused_for_good_is_dead_at_once(world: World, pending: Notification) -> None:
    world.store.notifications.claim(pending.notification_id, LEASE, world.now)

    world.store.notifications.failed(pending.notification_id, "no such box", final=True, max_tries=9, at=world.now)

    (dead,) = world.store.notifications.of_set(pending.set_id)
    assert dead.state == "dead"


def test_text_from_outside_adds_no_lines() -> None:
    assert one_line("a\r\nBcc: everyone\x85\u2028b", 100) == "a Bcc: everyone b"
