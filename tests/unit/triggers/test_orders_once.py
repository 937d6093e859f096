"""An order is done once with its line in the audit log, wherever the connection to SQL breaks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from contracts.records import ImageRecord
from contracts.requests import EnrolDevice
from store.sql import SqlStore
from tests.simulators.statements import statements
from tests.unit.triggers.hubs import VersionedHub
from tests.unit.triggers.world import START, Reply, World, make_world

IMAGE = "sha256:" + "2" * 64
KEY = {"Idempotency-Key": "once"}
SET = {
    "name": "app 2",
    "owner": {"name": "Ada", "email": "ada@example.org"},
    "devices": {"ids": ["boat", "buoy"]},
    "images": ["app:2"],
}
Ask = Callable[[], Reply]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("store.kernel.retries.FIRST_PAUSE_SECONDS", 0)
    made = make_world(tmp_path, {"north": VersionedHub()})
    made.deps.blobs.put("intake", "upload-1", [b"archive"])
    made.deps.store.images.add_image(
        ImageRecord(IMAGE, "linux/amd64", b"{}", (), 5, "sha256:" + "b" * 64, ("app:2",), START)
    )
    for device_id in ("boat", "buoy"):
        made.deps.store.devices.enrol(device_id, EnrolDevice(hub="north"), "test", START)
    return made


def starts(world: World) -> Ask:
    return lambda: world.call("POST", "/api/deployment-sets", SET, headers=KEY)


def cancels(world: World) -> Ask:
    path = world.call("POST", "/api/deployment-sets", SET).headers["Location"]
    return lambda: world.call("POST", f"{path}/cancel", headers=KEY)


def excludes(world: World) -> Ask:
    path = world.call("POST", "/api/deployment-sets", SET).headers["Location"]
    return lambda: world.call("POST", f"{path}/members/boat/exclude", headers=KEY)


def registers(world: World) -> Ask:
    return lambda: world.call("POST", "/api/images", {"upload": "upload-1"}, headers=KEY)


def uploads(world: World) -> Ask:
    return lambda: world.call("POST", "/api/uploads", headers=KEY)


def resyncs(world: World) -> Ask:
    return lambda: world.call("POST", "/api/devices/boat/resync", headers=KEY)


ON_A_SET = (cancels, excludes)
each_order = pytest.mark.parametrize("prepare", (starts, *ON_A_SET, registers, uploads, resyncs))


def engine_of(world: World) -> Engine:
    assert isinstance(world.deps.store, SqlStore)
    return world.deps.store._db.engine


def link_broke() -> OperationalError:
    """What the transaction is run again for."""
    return OperationalError("X", {}, Exception("[08S01] Communication link failure (10054)"))


def server_gone() -> OperationalError:
    """What becomes a 503 at once."""
    return OperationalError("X", {}, Exception("the server went away"))


@contextmanager
def acknowledgement_lost(world: World, error: Callable[[], Exception]) -> Iterator[None]:
    """The database commits the next change, and the connection breaks before it says so."""
    engine, armed = engine_of(world), [True]
    commit = engine.dialect.do_commit

    def lose(connection: Any) -> None:
        commit(connection)
        if armed and connection.driver_connection.total_changes > changes:
            armed.clear()
            raise error()

    with engine.connect() as one:
        changes = one.connection.driver_connection.total_changes  # type: ignore[union-attr]
    engine.dialect.do_commit = lose  # type: ignore[assignment]
    try:
        yield
    finally:
        engine.dialect.do_commit = commit  # type: ignore[method-assign]
    assert not armed


def count(world: World) -> dict[str, Any]:
    """What an order that was done twice would have done twice."""
    store = world.deps.store
    sets = store.sets.list_sets(owner=None, state=None, workstream=None, limit=9, after=None).items
    boat = store.devices.device("boat")
    assert boat is not None
    return {
        "audit": len(store.audit.list_entries(who=None, subject=None, limit=99, after=None).items),
        "sets": [(item.set_id, item.state) for item in sets],
        "registrations": len(store.images.open_registrations(9)),
        "resync": boat.resync,
        "events": [len(store.sets.events(item.set_id, limit=99, after=None).items) for item in sets],
    }


def same(first: Reply, again: Reply) -> bool:
    return first.status == again.status and first.body == again.body


@each_order
def test_an_order_repeated_with_its_key_is_done_once_and_answered_alike(
    world: World, prepare: Callable[[World], Ask]
) -> None:
    ask = prepare(world)
    first = ask()
    done = count(world)

    again = ask()

    assert same(first, again)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert count(world) == done


@each_order
@pytest.mark.parametrize(("error", "status"), [(link_broke, 200), (server_gone, 503)])
def test_an_order_whose_commit_was_never_acknowledged_is_done_once(
    world: World, prepare: Callable[[World], Ask], error: Callable[[], Exception], status: int
) -> None:
    ask = prepare(world)
    before = count(world)

    with acknowledgement_lost(world, error):
        first = ask()
    done = count(world)
    again = ask()

    assert first.status // 100 == status // 100
    assert again.status // 100 == 2
    assert again.headers["Idempotency-Replayed"] == "true"
    assert count(world) == done
    assert done["audit"] == before["audit"] + 1


def test_a_set_ordered_without_a_key_is_stored_once_when_the_acknowledgement_is_lost(world: World) -> None:
    with acknowledgement_lost(world, link_broke):
        reply = world.call("POST", "/api/deployment-sets", SET)

    assert [set_id for set_id, _ in count(world)["sets"]] == [reply.body["setId"]]


@each_order
def test_nothing_stays_of_an_order_of_which_any_statement_fails(world: World, prepare: Callable[[World], Ask]) -> None:
    ask = prepare(world)
    before = count(world)
    for number in range(1, 200):
        with statements(world.deps.store, failing=number, error=server_gone) as seen:
            reply = ask()
        if reply.status != 503:
            break
        assert count(world) == before, seen[-1]

    assert number > 2
    assert reply.status // 100 == 2
    assert count(world)["audit"] == before["audit"] + 1


@each_order
def test_of_two_requests_with_one_key_at_once_one_is_done(world: World, prepare: Callable[[World], Ask]) -> None:
    ask = prepare(world)
    before = count(world)
    replies: list[Reply] = []
    threads = [threading.Thread(target=lambda: replies.append(ask())) for _ in range(2)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert same(*replies)
    assert sorted("Idempotency-Replayed" in reply.headers for reply in replies) == [False, True]
    assert count(world)["audit"] == before["audit"] + 1


def test_a_key_is_of_one_caller_and_one_endpoint(world: World) -> None:
    first = starts(world)()
    other = world.call("POST", "/api/deployment-sets", SET, headers={**KEY, "X-ImageDelta-User": "grace"})

    assert first.body["setId"] != other.body["setId"]
    assert uploads(world)().status == 201
