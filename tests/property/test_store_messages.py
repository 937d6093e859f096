"""Whatever a device says, in whatever order and however often: SQL stays consistent and heals."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.records import DeploymentSet
from contracts.states import ACTIVE_TRANSFER, TRANSFER
from store.sql import SqlStore
from tests.unit.store.world import World, digest

STATES = ("receiving", "received", "applying", "succeeded", "failed", "blocked", "source_missing")
NAMES = (f"ship-{number}" for number in count())

reports = st.tuples(st.just("report"), st.integers(0, 1), st.integers(1, 6), st.sampled_from(STATES))
inventories = st.tuples(st.just("inventory"), st.booleans(), st.sampled_from(["disk-1", "disk-1", "disk-2"]))
work = st.sampled_from([("drive",), ("settle",), ("resync",), ("retry",)])
steps = st.lists(st.one_of(reports, reports, inventories, work), max_size=12)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    store = SqlStore(f"sqlite:///{tmp_path_factory.mktemp('property')}/store.db")
    store.migrate()
    yield store
    store.close()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_messages_in_any_order_leave_sql_consistent_and_an_inventory_heals(
    store: SqlStore, steps: list[tuple[Any, ...]]
) -> None:
    world, device_id = World(store), next(NAMES)
    world.device(device_id, "-")
    of = world.set([device_id], "app:2")
    world.publish(of)

    for step in steps:
        take(world, of, device_id, step)
        check(world, of, device_id)

    heal(world, device_id)
    drive(world, of)
    state = world.states(of)[0]
    assert state == "completed" or (state == "failed" and world.member(of, device_id).code is not None)


def heal(world: World, device_id: str) -> None:
    """A person releases the device, and one installation is heard from; heard after another one, it is held first."""
    for _ in range(2):
        world.store.devices.resync(device_id, "tester", world.later())
        world.inventory(device_id, digest("app:2"), installation="disk-2")


def take(world: World, of: DeploymentSet, device_id: str, step: tuple[Any, ...]) -> None:
    kind, *rest = step
    if kind == "report":
        back, sequence, state = rest
        transfer = world.transfer(of, device_id)
        attempt = max(transfer.attempt - back, 1)
        world.report(transfer, state, sequence, attempt=attempt, code="disk.full")
        before = fingerprint(world, of, device_id)
        world.report(transfer, state, sequence, attempt=attempt, code="disk.full")
        assert fingerprint(world, of, device_id) == before
    elif kind == "inventory":
        present, installation = rest
        world.inventory(device_id, *([digest("app:2")] if present else []), installation=installation)
    elif kind == "resync":
        world.store.devices.resync(device_id, "tester", world.later())
    elif kind == "retry":
        if world.member(of, device_id).state == "failed":
            world.store.sets.retry_member(of.set_id, device_id, "tester", world.later())
    elif kind == "drive":
        drive(world, of)
    else:
        world.settled(of)


def drive(world: World, of: DeploymentSet) -> None:
    world.plan(of)
    world.publish(of)
    world.settled(of)


def fingerprint(world: World, of: DeploymentSet, device_id: str) -> Any:
    transfers = world.store.transfers.of_set(of.set_id)
    return (
        transfers,
        [world.store.transfers.history(transfer.transfer_id) for transfer in transfers],
        world.states(of),
        world.store.devices.images_on(device_id),
    )


def check(world: World, of: DeploymentSet, device_id: str) -> None:
    """One active transfer, a history without gaps along allowed moves, attempts and numbers that only grow."""
    page = world.store.transfers.list_transfers(
        device_id=device_id, image_id=None, state=None, set_id=None, limit=100, after=None
    )
    assert sum(transfer.state in ACTIVE_TRANSFER for transfer in page.items) <= 1
    for transfer in page.items:
        events = world.store.transfers.history(transfer.transfer_id)
        assert events[-1].new == transfer.state
        for before, after in pairwise(events):
            assert after.old == before.new
            assert after.attempt >= before.attempt
            assert after.new == after.old or TRANSFER.allows(after.old or "", after.new)
    assert len(world.kinds(of)) == len(set(world.kinds(of)))
