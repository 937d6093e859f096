"""What the owner is told by mail, a program is told by the webhook: the same, by itself, and in the promised form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from activities.notices.kinds import KINDS
from contracts.channels import CHANNELS
from imagedelta.errors import DependencyError, RequestError
from store.kernel.engine import CHANNELS as OPTION
from store.sql import SqlStore
from tests.simulators.calls import Crash
from tests.simulators.fleet import FleetSimulator
from tests.simulators.webhook import WebhookSimulator

FORMATS = Path(__file__).parents[3] / "docs" / "formats"
SCHEMA = json.loads((FORMATS / "webhook.schema.json").read_text())


@pytest.fixture
def receiver() -> WebhookSimulator:
    return WebhookSimulator()


@pytest.fixture
def hooked(fleet: FleetSimulator, receiver: WebhookSimulator) -> Iterator[FleetSimulator]:
    """Its store tells by both ways."""
    store = fleet.deps.store
    assert isinstance(store, SqlStore)
    fleet.deps = replace(fleet.deps, webhook=receiver)
    for engine in (store._db.engine, store._db._writer):
        engine.update_execution_options(**{OPTION: CHANNELS})
    fleet.register("app:1", "app:2")
    yield fleet
    for engine in (store._db.engine, store._db._writer):
        engine.update_execution_options(**{OPTION: ("mail",)})


def bodies(receiver: WebhookSimulator) -> list[dict[str, Any]]:
    events = [json.loads(event.text) for event in receiver.taken]
    for event in events:
        Draft202012Validator(SCHEMA).validate(event)
    return events


def types(receiver: WebhookSimulator) -> list[str]:
    return [event["type"].removeprefix("deployment_set.") for event in bodies(receiver)]


def test_a_set_that_arrives_and_is_applied_is_told_by_both_ways(
    hooked: FleetSimulator, receiver: WebhookSimulator
) -> None:
    hooked.enrol("ship-1", "app:1")
    set_id = hooked.start("app:2")
    hooked.run()

    assert [mail.subject for mail in hooked.mail.taken] == ["March has arrived on 1 device", "March is complete"]
    assert types(receiver) == ["arrived", "completed"]
    arrived = bodies(receiver)[0]
    assert arrived["data"]["set"]["id"] == set_id
    assert arrived["data"]["summary"] == "March has arrived on 1 device"
    assert len({event.event_id for event in receiver.taken}) == 2
    assert sorted((notice.channel, notice.state) for notice in hooked.notifications(set_id)) == [
        ("mail", "sent"),
        ("mail", "sent"),
        ("webhook", "sent"),
        ("webhook", "sent"),
    ]


def test_every_kind_is_in_the_schema_and_in_the_document() -> None:
    known = {name.removeprefix("deployment_set.") for name in SCHEMA["properties"]["type"]["enum"]}
    document = (FORMATS / "webhook.md").read_text()

    assert known == KINDS.keys()
    assert [kind for kind in KINDS if f".{kind}`" not in document] == []
    Draft202012Validator(SCHEMA).validate(json.loads(document.split("```json\n")[1].split("```")[0]))


def test_devices_that_fail_are_named_with_the_reason_and_what_to_do(
    hooked: FleetSimulator, receiver: WebhookSimulator
) -> None:
    for number in range(30):
        hooked.enrol(f"ship-{number:02}", "app:1").breaks_with = "content.digest_mismatch"
    hooked.start("app:2", name='<b>"March"</b>\x00\u2028')
    hooked.run()

    [failed] = bodies(receiver)
    [trouble] = failed["data"]["troubles"]
    assert failed["type"] == "deployment_set.failed"
    assert (trouble["devices"], trouble["named"][0]) == (30, "ship-00")
    assert trouble["reason"]["code"] == "content.digest_mismatch"
    assert trouble["reason"]["remedy"].startswith("The bytes were damaged")


def test_a_receiver_that_is_down_keeps_no_mail_back_and_gets_its_events_later(
    hooked: FleetSimulator, receiver: WebhookSimulator
) -> None:
    hooked.enrol("ship-1", "app:1")
    set_id = hooked.start("app:2")
    for nth in range(1, 9):
        receiver.calls.fail("post", nth, error=DependencyError("down", code="dependency.webhook"))
    hooked.run()
    told = len(hooked.mail.taken)

    for _ in range(12):
        hooked.now.forward(hours=1)
        hooked.tick()

    assert told == 2
    assert sorted(types(receiver)) == ["arrived", "completed"]
    assert {notice.state for notice in hooked.notifications(set_id)} == {"sent"}


def test_a_mail_server_that_is_down_keeps_no_event_back(hooked: FleetSimulator, receiver: WebhookSimulator) -> None:
    hooked.enrol("ship-1", "app:1")
    hooked.start("app:2")
    for nth in range(1, 20):
        hooked.mail.calls.fail("send", nth, error=DependencyError("down", code="dependency.mail"))

    hooked.run()

    assert (hooked.mail.taken, types(receiver)) == ([], ["arrived", "completed"])


def test_a_crash_between_the_receivers_answer_and_our_mark_sends_the_same_id_again(
    hooked: FleetSimulator, receiver: WebhookSimulator
) -> None:
    hooked.enrol("ship-1", "app:2")
    hooked.start("app:2", manifest=False)
    receiver.calls.fail("post", after=True, error=Crash())
    with pytest.raises(Crash):
        hooked.tick()

    hooked.now.forward(seconds=hooked.deps.settings.claim_lease.total_seconds() + 1)
    hooked.tick()
    hooked.now.forward(days=1)
    hooked.tick()

    first, second = receiver.taken
    assert first.event_id == second.event_id
    assert len(hooked.mail.taken) == 1


def test_a_receiver_that_is_gone_is_asked_once_for_each_event(
    hooked: FleetSimulator, receiver: WebhookSimulator
) -> None:
    hooked.enrol("ship-1", "app:2")
    set_id = hooked.start("app:2", manifest=False)
    receiver.calls.fail("post", error=RequestError("answered 410", code="webhook.gone"))
    hooked.tick()
    hooked.now.forward(days=5)
    hooked.tick()

    assert receiver.calls.count["post"] == 1
    assert {notice.channel: notice.state for notice in hooked.notifications(set_id)} == {
        "mail": "sent",
        "webhook": "dead",
    }


def test_a_receiver_that_asks_to_be_left_alone_is_for_every_event_and_for_so_long(
    hooked: FleetSimulator, receiver: WebhookSimulator
) -> None:
    for name in ("ship-1", "ship-2", "ship-3"):
        hooked.enrol(name, "app:2")
    busy = DependencyError("answered 429", code="dependency.webhook", retry_after=timedelta(hours=1))
    receiver.calls.fail("post", error=busy)
    for name in ("ship-1", "ship-2", "ship-3"):
        hooked.start("app:2", devices=[name], manifest=False)

    hooked.tick()
    asked = receiver.calls.count["post"]
    hooked.now.forward(minutes=50)
    hooked.tick()
    early = receiver.calls.count["post"]
    hooked.now.forward(minutes=15)
    hooked.tick()

    assert asked == early <= 3
    assert types(receiver).count("completed") == 3


def test_events_that_nobody_is_to_get_any_more_are_dropped(hooked: FleetSimulator, receiver: WebhookSimulator) -> None:
    hooked.enrol("ship-1", "app:2")
    set_id = hooked.start("app:2", manifest=False)
    hooked.deps = replace(hooked.deps, webhook=None)

    hooked.tick()

    assert {notice.channel: notice.state for notice in hooked.notifications(set_id)} == {
        "mail": "sent",
        "webhook": "dropped",
    }
