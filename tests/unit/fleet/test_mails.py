"""One mail for each thing that happens to a set, however many devices it happens to, through a real mail server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage

import pytest
from aiosmtpd.controller import Controller

from activities.notices.story import bytes_text
from services.notices.mail_settings import MailSettings
from services.notices.mail_smtp import SmtpMailer
from tests.simulators.fleet import FleetSimulator
from tests.unit.services.test_mail_smtp import Sink, free_port, part_of
from triggers.http import deploy_set


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def mailed(fleet: FleetSimulator, sink: Sink) -> Iterator[FleetSimulator]:
    """Its mails go to a server that keeps what it is sent."""
    controller = Controller(sink, hostname="127.0.0.1", port=free_port())
    controller.start()
    settings = MailSettings("127.0.0.1", controller.port, "none", "cloud@example.org")
    fleet.deps = replace(fleet.deps, mailer=SmtpMailer(settings, now=fleet.now))
    fleet.register("app:1", "app:2")
    yield fleet
    controller.stop()


def told(sink: Sink) -> list[str]:
    return [str(mail["Subject"]).removeprefix("March ") for mail in sink.received]


def text_of(mail: EmailMessage) -> str:
    return part_of(mail, "plain")


def test_the_owner_is_told_when_all_has_arrived_and_again_when_the_release_is_applied(
    mailed: FleetSimulator, sink: Sink
) -> None:
    mailed.enrol("ship-1", "app:1")
    set_id = mailed.start("app:2")
    mailed.tick()
    mailed.sail()
    mailed.tick()
    arrived = told(sink)

    mailed.run()

    figures = mailed.deps.store.sets.figures([set_id])[set_id]
    assert arrived == ["has arrived on 1 device"]
    assert told(sink) == ["has arrived on 1 device", "is complete"]
    assert f"Sent: {bytes_text(figures.sent_bytes)} instead of {bytes_text(figures.whole_bytes)}" in text_of(
        sink.received[0]
    )
    assert figures.sent_bytes == mailed.transfer(set_id, "ship-1").bytes_fetched
    assert "Its release is applied: the modules run on 1 device." in text_of(sink.received[1])
    assert len({mail["Message-ID"] for mail in sink.received}) == 2


def test_many_devices_that_fail_are_one_mail(mailed: FleetSimulator, sink: Sink) -> None:
    for number in range(40):
        mailed.enrol(f"ship-{number:02}", "app:1").breaks_with = "content.digest_mismatch"
    mailed.start("app:2")

    mailed.run()
    mailed.now.forward(hours=5)
    mailed.run()

    assert told(sink) == ["has failed"]
    assert "40 failed: ship-00, ship-01" in text_of(sink.received[0])
    assert " and 20 more\n" in text_of(sink.received[0])


def test_devices_that_fail_one_after_the_other_are_gathered(mailed: FleetSimulator, sink: Sink) -> None:
    for name in ("ship-1", "ship-2", "ship-3", "ship-4"):
        mailed.enrol(name, "app:1").breaks_with = "content.digest_mismatch"
    mailed.devices["ship-4"].breaks_with = None
    mailed.start("app:2")
    mailed.tick()

    for name in ("ship-1", "ship-2", "ship-3"):
        mailed.sail(name)
        mailed.tick()
        mailed.now.forward(minutes=1)
    soon = told(sink)
    mailed.now.forward(minutes=5)
    mailed.tick()
    mailed.tick()

    assert soon == []
    assert told(sink) == ["failed on 3 devices"]


def test_a_set_that_is_approved_before_its_mail_goes_out_is_not_asked_for_again(
    mailed: FleetSimulator, sink: Sink
) -> None:
    mailed.enrol("ship-1", "app:1")
    set_id = mailed.start("app:2", max_bytes=1)
    mailed.begin(deploy_set(set_id))
    mailed.deps.store.sets.approve(set_id, "olga", mailed.now())

    mailed.run()

    assert told(sink) == ["has arrived on 1 device", "is complete"]
    assert [notice.state for notice in mailed.notifications(set_id)] == ["dropped", "sent", "sent"]


def test_a_rollback_says_that_it_cost_nothing(mailed: FleetSimulator, sink: Sink) -> None:
    mailed.enrol("ship-1", "app:1")
    mailed.start("app:1")
    mailed.run()
    newer = mailed.start("app:2")
    mailed.run()
    sink.received.clear()

    back = mailed.roll_back(newer)
    mailed.run()

    assert mailed.set(back).state == "completed"
    assert len(sink.received) == 2
    assert all("Planned: 0 B" in text_of(mail) for mail in sink.received)
    assert not any("Sent:" in text_of(mail) for mail in sink.received)


def test_what_is_kept_of_a_mail_is_what_was_sent(mailed: FleetSimulator, sink: Sink) -> None:
    mailed.enrol("ship-1", "app:1")
    set_id = mailed.start("app:2", max_bytes=1)
    mailed.tick()

    (notice,) = mailed.notifications(set_id)

    assert (notice.state, notice.subject) == ("sent", sink.received[0]["Subject"])
    assert (notice.body or "").splitlines() == text_of(sink.received[0]).splitlines()
