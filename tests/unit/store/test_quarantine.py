"""What cannot be taken is kept, and nobody can fill the database with it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

import store.quarantine as bounds
from contracts.records import QuarantinedMessage
from services.store_port import Untaken
from tests.unit.store.world import World


def untaken(body: bytes = b"{", **fields: Any) -> Untaken:
    values = {"hub": "north", "device_id": "ship-1", "module_id": "m", "reason": "content.malformed_message"}
    return Untaken(**{**values, "detail": "x", "properties": {"kind": "report"}, **fields}, body=body)


def kept(world: World) -> list[QuarantinedMessage]:
    return list(world.store.quarantine.entries(limit=1000, after=None).items)


def test_a_message_that_could_not_be_taken_is_kept_whole(world: World) -> None:
    body = bytes(range(256))

    world.store.quarantine.keep([untaken(body, device_id=None, module_id=None)], world.now)

    (entry,) = kept(world)
    assert base64.b64decode(entry.body) == body
    assert (entry.device_id, entry.module_id, entry.properties) == (None, None, {"kind": "report"})
    assert (entry.count, entry.first_at, entry.at, entry.kept_at) == (1, world.now, world.now, world.now)


def test_what_a_sender_repeats_is_counted_and_its_example_stands_for_a_while(world: World) -> None:
    start = world.now
    world.store.quarantine.keep([untaken(b"first")], start)

    for _ in range(10):
        world.store.quarantine.keep([untaken(b"more")] * 100, world.later(1))

    (entry,) = kept(world)
    assert (entry.count, base64.b64decode(entry.body)) == (1001, b"first")
    assert (entry.first_at, entry.at, entry.kept_at) == (start, world.now, start)
    world.store.quarantine.keep([untaken(b"later")], world.later(60))
    assert (base64.b64decode(kept(world)[0].body), kept(world)[0].kept_at) == (b"later", world.now)


def test_senders_and_reasons_are_told_apart_and_the_last_heard_of_comes_first(world: World) -> None:
    for number, fields in enumerate([{}, {"module_id": "n"}, {"reason": "internal"}, {"hub": "south"}]):
        world.store.quarantine.keep([untaken(**fields)] * (number + 1), world.later())
    world.store.quarantine.keep([untaken()], world.later())

    assert [entry.count for entry in kept(world)] == [2, 4, 3, 2]


def test_a_device_keeps_a_bounded_number_of_entries_the_newest(world: World) -> None:
    for number in range(40):
        world.store.quarantine.keep([untaken(module_id=f"m{number}")], world.later())
    world.store.quarantine.keep([untaken(device_id="ship-2")], world.now)

    modules = [entry.module_id for entry in kept(world) if entry.device_id == "ship-1"]
    assert modules == [f"m{number}" for number in range(39, 39 - bounds.MAX_ROWS_OF_DEVICE, -1)]


def test_a_device_keeps_a_bounded_number_of_bytes_but_always_its_last_message(world: World) -> None:
    for number in range(8):
        world.store.quarantine.keep([untaken(b"x" * 200_000, module_id=f"m{number}")], world.later())

    assert [entry.module_id for entry in kept(world)] == ["m7", "m6"]
    assert sum(len(base64.b64decode(entry.body)) for entry in kept(world)) <= bounds.MAX_BYTES_OF_DEVICE


@pytest.mark.parametrize(("rows", "size"), [(30, 10**9), (10**9, 30 * 18)])
def test_in_all_the_oldest_go_first(world: World, monkeypatch: pytest.MonkeyPatch, rows: int, size: int) -> None:
    monkeypatch.setattr(bounds, "MAX_ROWS", rows)
    monkeypatch.setattr(bounds, "MAX_BYTES", size)

    for number in range(4):
        strangers = [untaken(b"12345", device_id=f"ship-{number}{i:03}", properties={"kind": "a"}) for i in range(20)]
        world.store.quarantine.keep(strangers, world.later())

    devices = [str(entry.device_id) for entry in kept(world)]
    assert len(devices) == 30
    assert {device[:6] for device in devices} == {"ship-3", "ship-2"}


@pytest.mark.parametrize(
    "odd",
    [
        {"device_id": "s" * 1000, "module_id": "m" * 1000, "hub": "h" * 1000, "reason": "r" * 1000},
        {"device_id": "boat-\ud800\x00é"},
        {"detail": "\udfff" * 5000},
        {"properties": {"kind": "\ud800", "of": object()}},
        {"properties": {"kind": "x" * 200_000}},
        {"body": b"x" * 2_000_000},
    ],
)
def test_whatever_a_sender_calls_itself_can_be_kept(world: World, odd: dict[str, Any]) -> None:
    world.store.quarantine.keep([untaken(**odd)], world.now)
    world.store.quarantine.keep([untaken(**odd)], world.later())

    (entry,) = kept(world)
    assert entry.count == 2
    assert len(entry.body) <= 4 * (bounds.MAX_BODY_BYTES + 2) // 3 + 4


@pytest.fixture
def statements(world: World) -> Iterator[list[str]]:
    texts: list[str] = []

    def note(_connection: Any, _cursor: Any, text: str, *_rest: Any) -> None:
        texts.append(text)

    engine = world.store._db.engine
    event.listen(engine, "before_cursor_execute", note)
    yield texts
    event.remove(engine, "before_cursor_execute", note)


def test_a_batch_of_a_thousand_strangers_costs_as_many_statements_as_one(world: World, statements: list[str]) -> None:
    def cost(number: int, when: str) -> int:
        statements.clear()
        world.store.quarantine.keep([untaken(device_id=f"{when}-{i}") for i in range(number)], world.later())
        return len(statements)

    assert cost(400, "a") == cost(1, "b")
    assert cost(400, "a") == cost(1, "b")


def test_a_flood_of_one_sender_grows_nothing(world: World) -> None:
    for _ in range(20):
        world.store.quarantine.keep([untaken(b"x" * 1000)] * 100, world.later(timedelta(minutes=2).total_seconds()))

    assert [entry.count for entry in kept(world)] == [2000]
