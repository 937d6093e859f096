"""A whole life of sets in T-SQL, and the tables in it. Every other test of the store is looked at in the same way."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.schema import CreateIndex, CreateTable

from contracts.requests import DeviceSelection
from imagedelta.errors import RequestError
from services.store_port import Decisions, HubLayer
from store.kernel.schema import metadata
from store.sql import SqlStore
from tests.unit.store.test_inventories import state_of
from tests.unit.store.tsql import DIALECT, listening
from tests.unit.store.world import MANIFEST, World


@pytest.fixture
def statements(store: SqlStore) -> Iterator[set[str]]:
    """The T-SQL of everything that runs on SQLite during the test; what SQL Server does not know fails it."""
    with listening(store._db.engine) as texts:
        yield texts


def test_a_whole_life_of_sets_says_nothing_that_sql_server_does_not_know(world: World, statements: set[str]) -> None:
    store = world.store
    for number in range(3):
        world.device(f"ship-{number}", "-", site="north")
    deadline = world.now + timedelta(hours=1)
    of = world.set(["ship-0", "ship-1"], "app:2", manifest=MANIFEST, deadline=deadline)
    world.later(7200)
    world.deliver(of, "ship-0", "ship-1")
    world.release(of, "ship-0")
    world.cancel(world.set(["ship-2"], "app:2"))
    newer = world.accepted([], "app:3", selection=DeviceSelection(query="not tags.site in ['x'] or is_defined(hub)"))
    world.plan(newer)
    world.report(world.transfer(newer, "ship-2"), "source_missing")
    world.inventory("ship-1", installation="disk-2")
    store.devices.retire("ship-2", "tester", world.now)
    for kind in ("hour", "day", "week"):
        store.transfers.timeseries(kind, world.now - timedelta(days=1), world.now)
    for listing in listings(store):
        page = listing(limit=1, after=None)
        if page.next:
            listing(limit=1, after=page.next)
    store.sets.to_plan(world.now, 10)
    store.sets.costs(of.set_id)
    store.sets.hold_back(newer.set_id, {"ship-0": "too dear"}, world.now)
    begun = store.sets.begin_plan(newer.set_id, timedelta(minutes=1), 100, world.now)
    store.sets.unplanned(newer.set_id, ("a", "z"), world.now)
    store.sets.record_plan(newer.set_id, Decisions(put_off=["ship-0"], silent=["ship-1"]), world.now)
    store.sets.is_unplanned(newer.set_id, world.now)
    store.sets.end_plan(newer.set_id, begun.claim or world.now, world.now)
    store.sets.to_settle(world.now, 10)
    store.sets.put_off_settling(of.set_id, world.now, world.now)
    store.attendance.oldest_due(world.now)
    store.attendance.done(["settle", "notify"], {"notify": "internal"}, world.now)
    store.devices.desired_facts("ship-0")
    if (claim := store.devices.claim_sync("ship-0", timedelta(minutes=1), world.later())) is not None:
        store.devices.sync_failed(claim, "hub.unknown_device", world.now)
        store.devices.synced(claim, "sha256:0", world.now, None)
    store.devices.put_off_syncs("north", world.now, world.now)
    store.releases.due(world.now, 10)
    store.releases.put_off("nothing", "nowhere", world.now)
    store.releases.put_off_hub("north", world.now, world.now)
    store.releases.due_to_confirm(world.later(86_400), 10)
    world.confirm(of, "ship-0", "released")
    world.confirm(of, "ship-0", "applied")
    store.releases.own_versions("ship-0", 1)
    store.transfers.wanted_bundles("ship-0")
    store.notifications.put_off("mail", world.now, world.now)
    store.traces.of_sets([of.set_id])
    store.traces.of_patch("patch-1")
    store.traces.of_transfers(["transfer-1"])
    store.census.take(world.now)
    store.sets.figures([of.set_id, newer.set_id])
    store.sets.figures_of_members(of.set_id)
    store.sets.member_states(of.set_id)
    store.sets.troubles(of.set_id, {"released", "failed"})
    store.sets.waiting(of.set_id)
    store.sets.unregistered(of.set_id)
    store.transfers.stages(of.set_id)
    for notification_id in store.notifications.due(world.later(), 10):
        store.notifications.claim(notification_id, timedelta(minutes=1), 3, world.now)
        store.notifications.failed(notification_id, "x", world.now)

    assert len(statements) > 80
    assert any(text.startswith("SELECT TOP ") for text in statements)
    assert state_of(world, "ship-2") == "retired"


def test_what_people_order_and_what_is_forgotten_is_known_to_sql_server(world: World, statements: set[str]) -> None:
    store = world.store
    for number in range(3):
        world.device(f"ship-{number}", "-")
    for version in range(3):
        of = world.deliver(world.set(["ship-0"], f"app:{version}", manifest=MANIFEST), "ship-0")
        world.release(of, "ship-0", version=version + 8)
        world.confirm(of, "ship-0", "applied")
    going = world.set(["ship-1", "ship-2"], "app:2", manifest=MANIFEST, release="manual", canaries=["ship-1"])
    world.publish(going)
    world.report(world.transfer(going, "ship-1"), "failed", code="disk.full")
    with pytest.raises(RequestError):
        store.sets.request_release(going.set_id, "olga", world.now)
    store.sets.retry_member(going.set_id, "ship-1", "olga", world.now)
    store.sets.promote(going.set_id, "olga", world.now)
    store.sets.exclude_member(going.set_id, "ship-2", "olga", world.now)
    store.sets.ran_before(of.set_id)
    for listing in (store.sets.list_members, store.releases.list_of_set, store.notifications.list_of_set):
        more = {"state": "applied"} if listing == store.sets.list_members else {}
        listing(of.set_id, limit=1, after=None, **more)
    store.together(lambda: store.audit.entry_of("order-1"))
    for kind in store.retention.kinds:
        store.retention.forget(kind, None, world.now + timedelta(days=1000))
    taken = store.retention.patches.take(world.now + timedelta(days=1000))
    assert taken is not None
    store.retention.patches.forget(taken[0], world.now)

    assert len(statements) > 80


def test_a_layer_from_its_first_device_to_its_last_is_known_to_sql_server(world: World, statements: set[str]) -> None:
    world.device("ship-1", "-")
    layers, day = world.store.releases.layers, timedelta(days=1)
    first, second = (
        world.deliver(world.set(["ship-1"], f"app:{version}", manifest=MANIFEST), "ship-1") for version in (1, 2)
    )
    old, new = (HubLayer("north", f"layer-of-{of.set_id}", of.set_id, "default") for of in (first, second))

    said = [layers.want(old, world.now), layers.want(old, world.now)]
    layers.made("north", old.layer_id, world.now)
    said.append(layers.want(old, world.now))
    world.release(second, "ship-1", layer_id=new.layer_id)
    layers.put_off("north", old.layer_id, world.now)
    due = layers.due(world.now, 10)
    taken = [layers.claim_leaving("north", old.layer_id, day, world.now)]
    taken.append(layers.claim_leaving("north", old.layer_id, day, world.later(2 * 86_400)))
    said.append(layers.want(old, world.now))
    layers.gone("north", old.layer_id)

    assert said == ["make", "wait", "made", "wait"]
    assert (due, taken) == ((("north", old.layer_id),), [False, True])
    assert layers.due(world.later(10 * 86_400), 10) == ()
    assert any("hub_layers" in text for text in statements)


def listings(store: SqlStore) -> list[Any]:
    def of(method: Any, **filters: Any) -> Any:
        return lambda **page: method(**filters, **page)

    return [
        of(store.images.list_images, reference="app:2", platform="linux/amd64"),
        of(store.devices.list_devices, state="active", hub="north", tag=("site", "north")),
        of(store.sets.list_sets, owner=None, state=None, workstream=None),
        of(store.transfers.list_transfers, device_id=None, image_id=None, state="in_transit", set_id="x"),
        of(store.transfers.list_transfers, device_id=None, image_id=None, state=None, set_id=None),
        of(store.patches.list_patches, state=None, target=None),
        of(store.audit.list_entries, who=None, subject=None),
        of(store.quarantine.entries),
    ]


def test_every_table_and_index_can_be_created_on_sql_server() -> None:
    for table in metadata.sorted_tables:
        text = str(CreateTable(table).compile(dialect=DIALECT))
        assert "VARCHAR(max) COLLATE" not in text
        for index in table.indexes:
            assert str(CreateIndex(index).compile(dialect=DIALECT))


def test_every_key_fits_the_index_limits_of_sql_server() -> None:
    """900 bytes for a clustered key, 1700 for another; NVARCHAR takes two bytes a character."""
    for table in metadata.sorted_tables:
        assert key_bytes(table.primary_key.columns) <= 900, table.name
        for index in table.indexes:
            assert key_bytes(index.columns) <= 1700, index.name
        for constraint in table.constraints:
            if hasattr(constraint, "columns"):
                assert key_bytes(constraint.columns) <= 1700, table.name


def key_bytes(columns: Any) -> int:
    total = 0
    for column in columns:
        text = str(column.type.compile(dialect=DIALECT))
        size = re.match(r"(N?)VARCHAR\((\d+)\)", text)
        total += int(size.group(2)) * (2 if size.group(1) else 1) if size else 8
    return total


def test_every_constraint_has_a_name() -> None:
    for table in metadata.sorted_tables:
        assert all(constraint.name for constraint in table.constraints), table.name
