"""A batch of reports leaves in SQL what its reports leave one by one, whatever they say and in whatever order."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from contracts.messages import Report
from contracts.records import Transfer
from services.store_port import Origin, Outcome
from store.kernel.schema import metadata, sets
from store.sql import SqlStore
from store.transfers.reports import take_reports
from tests.unit.store.world import MANIFEST, MODULE, World, digest

STATES = ("receiving", "received", "applying", "succeeded", "failed", "blocked", "source_missing")
BASE = "app:1"
DUE = frozenset({"settle_at", "sync_at", "next_try_at", "not_before", "created_at"})
"""Only whether there is such a moment counts: a batch says one for all that became due by it."""
OWN = frozenset({"event_id", "locks", "notification_id"})
"""Of each database its own."""
MARK = "plan_at"
"""A batch leaves it out when a later report of it took the need away: the set would have found nothing to plan."""

Sent = tuple[Origin, Report]


@dataclass(frozen=True)
class Base:
    """Two devices, two sets that share one of three images, and their transfers."""

    store: SqlStore
    transfers: tuple[Transfer, ...]
    now: datetime


@pytest.fixture(scope="module")
def base() -> Iterator[Base]:
    with tempfile.TemporaryDirectory() as folder:
        store = SqlStore(f"sqlite:///{folder}/store.db")
        store.migrate()
        world = World(store)
        image = world.image(BASE)
        for device_id in ("ship-1", "ship-2"):
            world.device(device_id, image)
        one = world.set(["ship-1", "ship-2"], "app:2", "app:3", manifest=MANIFEST)
        world.publish(one)
        world.set(["ship-1", "ship-2"], "app:3", "app:4", workstream="other")
        world.settled(one)
        page = store.transfers.list_transfers(
            device_id=None, image_id=None, state=None, set_id=None, limit=100, after=None
        )
        transfers = sorted(page.items, key=lambda transfer: (transfer.device_id, transfer.reference))
        yield Base(store, tuple(transfers), world.now)
        store.close()


reports = st.lists(
    st.tuples(
        st.sampled_from([None, None, None, None, "ship-2", "nobody"]),
        st.sampled_from([0, 0, 1, 1, 2, 3, 4, 5]),
        st.sampled_from([1, 1, 2]),
        st.integers(1, 5),
        st.sampled_from(STATES),
        st.sampled_from([None, 50, 120]),
        st.booleans(),
    ),
    max_size=14,
)


def sent(base: Base, drawn: list[tuple[Any, ...]]) -> list[Sent]:
    made = []
    for place, (device_id, which, attempt, sequence, state, fetched, named) in enumerate(drawn):
        transfer = base.transfers[which]
        report = Report(
            transfer_id=transfer.transfer_id,
            attempt=attempt,
            sequence=sequence,
            state=state,
            image_id=transfer.image_id,
            code="disk.full" if state in ("failed", "blocked") else None,
            detail="x" * 2048 if state == "failed" else None,
            missing_source=digest(BASE) if named else None,
            bytes_fetched=fetched,
            seconds_on_link=fetched,
        )
        made.append(
            (
                Origin("north", device_id or transfer.device_id, MODULE, None, base.now + timedelta(seconds=place + 1)),
                report,
            )
        )
    return made


def after(base: Base, batches: list[list[Sent]]) -> tuple[list[Outcome], dict[str, Any]]:
    """What became of each, and what SQL holds afterwards; taken back, so that the next starts from the same."""
    with base.store._db._writer.connect() as connection, connection.begin() as transaction:
        outcomes = [one for batch in batches for one in take_reports(connection, batch, MODULE, 2, timedelta(days=14))]
        found = contents(connection)
        transaction.rollback()
    return outcomes, found


def contents(connection: Any) -> dict[str, Any]:
    found = {}
    for table in metadata.sorted_tables:
        columns = [column for column in table.c if column.name not in OWN | {MARK}]
        rows = connection.execute(select(*columns)).mappings()
        plain = sorted(repr([_comparable(row, column.name) for column in columns]) for row in rows)
        found[table.name] = _by_subject(connection, table) if table.name == "history" else plain
    marked = select(sets.c.set_id).where(sets.c.plan_at.is_not(None))
    return {"tables": found, "to plan": set(connection.execute(marked).scalars())}


def _comparable(row: Any, column: str) -> Any:
    return row[column] is None if column in DUE else row[column]


def _by_subject(connection: Any, history: Any) -> dict[Any, list[Any]]:
    """The order of lines counts within what they are about."""
    lines: dict[Any, list[Any]] = {}
    for row in connection.execute(select(history).order_by(history.c.event_id)).mappings():
        lines.setdefault((row["kind"], row["subject"], row["set_id"]), []).append(
            tuple(value for name, value in row.items() if name not in OWN)
        )
    return lines


def told(which: int, sequence: int, state: str) -> tuple[Any, ...]:
    return None, which, 1, sequence, state, None, False


@settings(max_examples=100)
@example(drawn=[told(0, 1, "failed"), told(0, 2, "succeeded"), told(1, 1, "succeeded")], cut=3)
@example(drawn=[told(1, 1, "failed"), told(0, 1, "failed"), told(0, 2, "succeeded")], cut=3)
@example(drawn=[told(0, 1, "source_missing"), told(1, 1, "failed"), told(1, 2, "succeeded")], cut=3)
@given(drawn=reports, cut=st.integers(1, 14))
def test_a_batch_leaves_what_its_reports_leave_one_by_one(base: Base, drawn: list[tuple[Any, ...]], cut: int) -> None:
    messages = sent(base, drawn)

    singly, one_by_one = after(base, [[message] for message in messages])
    together, at_once = after(base, [messages[:cut], messages[cut:]])

    assert [outcome.result for outcome in together] == [outcome.result for outcome in singly]
    for table, rows in one_by_one["tables"].items():
        assert at_once["tables"][table] == rows, table
    assert at_once["to plan"] <= one_by_one["to plan"]


@settings(max_examples=40)
@given(drawn=reports)
def test_a_batch_that_comes_again_changes_nothing(base: Base, drawn: list[tuple[Any, ...]]) -> None:
    messages = sent(base, drawn)

    _, once = after(base, [messages])
    _, twice = after(base, [messages, messages])

    assert twice == once
