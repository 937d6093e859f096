"""What people and pipelines ask often costs the same in a large fleet as in a small one, and scans no table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from store.kernel.schema import (
    audit,
    bundles,
    device_images,
    device_tags,
    devices,
    history,
    images,
    member_transfers,
    members,
    sets,
    transfers,
)
from store.sql import SqlStore
from tests.unit.store.statements import planned
from tests.unit.store.test_engine import ROW
from tests.unit.store.world import START as NOW

pytestmark = pytest.mark.sqlite

SMALL, LARGE = 400, 4_000
"""Devices; a set has forty of them, and a device twenty images."""
DEVICES_OF_SET, IMAGES_OF_DEVICE = 40, 20


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def fill(store: SqlStore, size: int) -> None:
    """Rows as a fleet leaves them; made at once, since living it takes minutes."""
    every = range(size)
    ship = [f"ship-{number:06}" for number in every]
    of_set = [f"set-{number // DEVICES_OF_SET:06}" for number in every]
    at = [NOW - timedelta(minutes=number) for number in every]
    state = ["published" if number < DEVICES_OF_SET else "succeeded" for number in every]
    rows: dict[Any, list[dict[str, Any]]] = {
        images: [
            {
                "image_id": digest(number),
                "platform": "linux/amd64",
                "config": b"{}",
                "full_bytes": 1,
                "signature": digest(0),
                "registered_at": NOW,
            }
            for number in range(size // DEVICES_OF_SET + IMAGES_OF_DEVICE)
        ],
        devices: [
            {**ROW, "device_id": name, "hub_device_id": name, "state": "active", "hub": f"hub-{number % 10}"}
            for number, name in enumerate(ship)
        ],
        device_tags: [
            {"device_id": name, "name": "site", "value": f"site-{number // 40}"} for number, name in enumerate(ship)
        ],
        device_images: [
            {"device_id": name, "image_id": digest(image), "references": [], "seen_at": NOW}
            for name in ship
            for image in range(IMAGES_OF_DEVICE)
        ],
        sets: [
            {
                **SET_ROW,
                "set_id": f"set-{number:06}",
                "ordinal": number,
                "owner_email": f"person-{number % 97}@example.com",
                "workstream": f"stream-{number % 97}",
                "state": "in_transit" if number == 0 else "completed",
            }
            for number in range(size // DEVICES_OF_SET)
        ],
        members: [
            {
                "set_id": of,
                "device_id": name,
                "state": "in_transit" if its == "published" else "applied",
                "updated_at": NOW,
                "tries": 0,
            }
            for of, name, its in zip(of_set, ship, state, strict=True)
        ],
        transfers: [
            {
                **TRANSFER_ROW,
                "transfer_id": f"transfer-{number:06}",
                "device_id": name,
                "image_id": digest(IMAGES_OF_DEVICE + number // DEVICES_OF_SET),
                "state": its,
                "created_at": when,
                "updated_at": when,
            }
            for number, (name, its, when) in enumerate(zip(ship, state, at, strict=True))
        ],
        member_transfers: [
            {
                "set_id": of,
                "device_id": name,
                "image_id": digest(IMAGES_OF_DEVICE + number // DEVICES_OF_SET),
                "transfer_id": f"transfer-{number:06}",
                "reference": "app:2",
                "since_attempt": 1,
                "planned_before": 0,
                "sent_before": 0,
            }
            for number, (of, name) in enumerate(zip(of_set, ship, strict=True))
        ],
        bundles: [
            {
                "transfer_id": f"transfer-{number:06}",
                "attempt": 1,
                "device_id": name,
                "number": 1,
                "lowest": 1,
                "estimated_bytes": 9,
                "bytes": 9,
            }
            for number, name in enumerate(ship)
        ],
        history: [
            {
                "at": when,
                "hour": when.replace(minute=0, second=0, microsecond=0),
                "kind": "transfer",
                "transfer_id": f"transfer-{number:06}",
                "subject": f"transfer-{number:06}",
                "attempt": 1,
                "new": new,
                "bytes": 9 if new == "succeeded" else None,
                "set_id": of_set[number] if new == "queued" else None,
            }
            for number, when in enumerate(at)
            for new in ("queued", "published", "receiving", "succeeded")
        ],
        audit: [
            {
                "order_id": f"order-{number}",
                "request_digest": "",
                "at": when,
                "who": f"person-{number % 97}",
                "how": "person",
                "action": f"action-{number % 97}",
                "subject": name,
                "detail": {},
            }
            for number, (name, when) in enumerate(zip(ship, at, strict=True))
        ],
    }
    for table, its in rows.items():
        store._db.write(lambda connection, table=table, its=its: connection.execute(table.insert(), its))  # type: ignore[misc]


SET_ROW = {
    "name": "March",
    "owner_name": "Olga",
    "ordered_by": "olga",
    "release_policy": "set",
    "canaries": [],
    "promoted": False,
    "overdue": False,
    "allow_full_bundles": True,
    "images": {},
    "release_requested": False,
    "created_at": NOW,
    "updated_at": NOW,
    "locks": 0,
    "release_by": "device",
}
TRANSFER_ROW = {
    "reference": "app:2",
    "attempt": 1,
    "sequence": 1,
    "refused_sources": [],
    "priority": "normal",
    "full_bytes": 10,
}
PAGE: dict[str, Any] = {"limit": 20, "after": None}
NONE: dict[str, Any] = {"device_id": None, "image_id": None, "state": None, "set_id": None}
DAY = timedelta(days=1)
NOBODY: dict[str, Any] = {"who": None, "subject": None, "action": None, "start": None, "end": None}

QUESTIONS: dict[str, Callable[[SqlStore], Any]] = {
    "the state of a deployment": lambda store: store.sets.deployment_set("set-000001"),
    "its figures": lambda store: store.sets.figures(["set-000001"]),
    "how its members are": lambda store: store.sets.member_states("set-000001"),
    "what is wrong with it": lambda store: store.sets.troubles("set-000001", {"failed"}),
    "its devices": lambda store: store.sets.list_members("set-000001", state=None, **PAGE),
    "its transfers": lambda store: store.transfers.list_transfers(**{**NONE, "set_id": "set-000001"}, **PAGE),
    "its stages": lambda store: store.transfers.stages("set-000001"),
    "one of its devices": lambda store: store.sets.list_members(
        "set-000001", state=None, device_id="ship-000041", **PAGE
    ),
    "what happened to it": lambda store: store.sets.events("set-000001", **PAGE),
    "images on a device": lambda store: store.devices.images_on("ship-000001"),
    "devices that have an image": lambda store: store.images.devices_with(digest(1), **PAGE),
    "transfers to a device": lambda store: store.transfers.list_transfers(
        **{**NONE, "device_id": "ship-000001"}, **PAGE
    ),
    "transfers of an image": lambda store: store.transfers.list_transfers(**{**NONE, "image_id": digest(21)}, **PAGE),
    "what is on its way": lambda store: store.transfers.list_transfers(**{**NONE, "state": "in_transit"}, **PAGE),
    "the last that succeeded": lambda store: store.transfers.list_transfers(**{**NONE, "state": "succeeded"}, **PAGE),
    "the newest transfers": lambda store: store.transfers.list_transfers(**NONE, **PAGE),
    "the history of a transfer": lambda store: store.transfers.history("transfer-000001"),
    "success and failure of an hour": lambda store: store.transfers.timeseries("hour", NOW - DAY / 24, NOW),
    "success and failure of a set": lambda store: store.transfers.timeseries(
        "day", NOW - 9 * DAY, NOW, set_id="set-000001"
    ),
    "success and failure of a device": lambda store: store.transfers.timeseries(
        "day", NOW - 9 * DAY, NOW, device_id="ship-000001"
    ),
    "success and failure of an hour in a workstream": lambda store: store.transfers.timeseries(
        "hour", NOW - DAY / 24, NOW, workstream="stream-1"
    ),
    "deployments by user": lambda store: store.sets.list_sets(
        owner="person-1@example.com", state=None, workstream=None, **PAGE
    ),
    "deployments that are under way": lambda store: store.sets.list_sets(
        owner=None, state="in_transit", workstream=None, **PAGE
    ),
    "deployments that have not ended": lambda store: store.sets.list_sets(
        owner=None, state="open", workstream=None, **PAGE
    ),
    "deployments of a device": lambda store: store.sets.list_sets(
        owner=None, state=None, workstream=None, device_id="ship-000001", **PAGE
    ),
    "deployments of a workstream": lambda store: store.sets.list_sets(
        owner=None, state=None, workstream="stream-1", **PAGE
    ),
    "the newest deployments": lambda store: store.sets.list_sets(owner=None, state=None, workstream=None, **PAGE),
    "who did what": lambda store: store.audit.list_entries(**{**NOBODY, "who": "person-1"}, **PAGE),
    "what was done to a device": lambda store: store.audit.list_entries(**{**NOBODY, "subject": "ship-000001"}, **PAGE),
    "who did that": lambda store: store.audit.list_entries(**{**NOBODY, "action": "action-1"}, **PAGE),
    "what was done that hour": lambda store: store.audit.list_entries(
        **{**NOBODY, "start": NOW - DAY / 12, "end": NOW - DAY / 24}, **PAGE
    ),
    "devices of a site": lambda store: store.devices.list_devices(state=None, hub=None, tag=("site", "site-1"), **PAGE),
    "devices": lambda store: store.devices.list_devices(state=None, hub=None, tag=None, **PAGE),
}


@pytest.fixture(scope="module")
def fleets(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SqlStore, SqlStore]]:
    folder = tmp_path_factory.mktemp("costs")
    made = []
    for size in (SMALL, LARGE):
        path = folder / f"{size}.db"
        path.write_bytes(empty_database.read_bytes())
        store = SqlStore(f"sqlite:///{path}")
        fill(store, size)
        made.append(store)
    yield made[0], made[1]
    for store in made:
        store.close()


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)
def test_a_question_costs_the_same_in_a_fleet_ten_times_as_large(
    fleets: tuple[SqlStore, SqlStore], ask: Callable[[SqlStore], Any]
) -> None:
    small, large = (steps(store, ask) for store in fleets)

    assert large < 2 * small + 500, f"{small} and {large} steps of SQLite's machine"


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)
def test_no_question_scans_a_table(fleets: tuple[SqlStore, SqlStore], ask: Callable[[SqlStore], Any]) -> None:
    """A list without a filter goes along its key, page by page; the last line of all is known without a look."""
    with planned(fleets[0]) as plans:
        ask(fleets[0])

    lines = [line for text, its in plans.items() for line in its if "max(history.event_id)" not in text]
    scans = [line for line in lines if line.startswith("SCAN") and "INDEX" not in line]
    assert [line for line in scans if not re.match(r"SCAN (CONSTANT ROW|\(subquery|anon_)", line)] == []


def steps(store: SqlStore, ask: Callable[[SqlStore], Any]) -> int:
    """Of SQLite's virtual machine, in tens."""
    taken = [0]

    def count() -> int:
        taken[0] += 1
        return 0

    def watch(connection: Any, *_: Any) -> None:
        connection.set_progress_handler(count, 10)

    engine = store._db.engine
    event.listen(engine, "checkout", watch)
    try:
        ask(store)
    finally:
        event.remove(engine, "checkout", watch)
    return taken[0]
