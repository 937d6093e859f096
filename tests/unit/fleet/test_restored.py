"""A database restored to yesterday in the middle of a fleet: nothing is lost, and nothing is sent twice for ever."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import activities.reconcile
from activities.reconcile import reconcile
from contracts.outbox import number_of, outbox_container, transfer_of
from imagedelta.errors import RequestError
from store.sql import SqlStore
from tests.simulators.fleet import RECON, FleetSimulator
from tests.unit.store.statements import failing_once

SHIPS = ("ship-1", "ship-2", "ship-3")


class Voyage:
    """Three ships get app:2; the second loses its source on the way, the third is seldom heard of."""

    def __init__(self, fleet: FleetSimulator) -> None:
        self.fleet = fleet
        self.resync: dict[str, int] = {}
        fleet.register("app:1", "app:2", "app:3")
        for ship in SHIPS:
            fleet.enrol(ship, "app:1")
        fleet.tick()
        self.told()
        self.set_id = ""

    @property
    def steps(self) -> list[Callable[[], Any]]:
        fleet = self.fleet
        return [
            self.order,
            fleet.tick,
            lambda: fleet.sail("ship-1"),
            self.lose_a_source,
            fleet.tick,
            lambda: fleet.sail("ship-2"),
            fleet.tick,
            lambda: fleet.sail("ship-1", "ship-2"),
            fleet.tick,
        ]

    def order(self) -> None:
        self.set_id = self.fleet.start("app:2", release="device")

    def lose_a_source(self) -> None:
        ship = self.fleet.devices["ship-2"]
        if (image := self.fleet.image_id("app:1")) in ship.images:
            ship.drop(image)

    def told(self) -> None:
        """Devices whose twin asks for an inventory send one."""
        for ship, device in self.fleet.devices.items():
            twin = self.fleet.hubs["north"].module_twin(ship, RECON)
            wanted = twin.desired.get("resync", 0) if twin else 0
            if self.resync.get(ship) != wanted:
                self.resync[ship] = wanted
                self.fleet.deliver(device, device.inventory())

    def go_on(self) -> None:
        for _ in range(3):
            self.fleet.now.forward(minutes=10)
            self.fleet.tick()
            self.told()
            self.fleet.run()

    def check_bundles(self, at_most: int) -> None:
        for ship, device in self.fleet.devices.items():
            numbers = [number_of(name) for name in device.fetched]
            ids = [transfer_of(name) for name in device.fetched]
            assert numbers == sorted(set(numbers)), f"{ship} was given a number twice: {device.fetched}"
            assert len(ids) == len(set(ids)), f"{ship} was given the id of a bundle twice: {device.fetched}"
            assert len(ids) <= at_most, f"{ship}: {device.fetched}"


@pytest.fixture
def voyage(fleet: FleetSimulator) -> Voyage:
    return Voyage(fleet)


def path_of(store: SqlStore) -> str:
    return str(store._db.engine.url.database)


def back_up(store: SqlStore, to: Path) -> None:
    with closing(sqlite3.connect(path_of(store))) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)


def restore(store: SqlStore, backup: Path) -> None:
    store._db.engine.dispose()
    with closing(sqlite3.connect(backup)) as source, closing(sqlite3.connect(path_of(store))) as target:
        source.backup(target)


WHEN = [(1, 2), (1, 8), (2, 4), (2, 7), (3, 5), (3, 9), (4, 6), (5, 8), (6, 7), (7, 9), (8, 9)]
"""Steps after which the backup was made, and the database was lost."""


@pytest.mark.parametrize(("backup_at", "lost_at"), WHEN)
def test_whenever_the_backup_was_made_the_set_ends_well(
    voyage: Voyage, fleet_store: SqlStore, tmp_path: Path, backup_at: int, lost_at: int
) -> None:
    for number, step in enumerate(voyage.steps[:lost_at]):
        if number == backup_at:
            back_up(fleet_store, tmp_path / "backup.db")
        step()

    restore(fleet_store, tmp_path / "backup.db")
    reconcile(voyage.fleet.deps)
    voyage.go_on()

    assert voyage.fleet.set(voyage.set_id).state == "completed"
    assert all(voyage.fleet.image_id("app:2") in device.images for device in voyage.fleet.devices.values())
    voyage.check_bundles(at_most=3)
    newer = voyage.fleet.start("app:3")
    before = {ship: len(device.fetched) for ship, device in voyage.fleet.devices.items()}
    voyage.go_on()
    assert voyage.fleet.set(newer).state == "completed"
    assert {ship: len(device.fetched) - before[ship] for ship, device in voyage.fleet.devices.items()} == dict.fromkeys(
        SHIPS, 1
    )
    voyage.check_bundles(at_most=4)


def test_a_set_that_the_backup_does_not_know_is_ordered_again_for_what_it_has_not_brought(
    voyage: Voyage, fleet_store: SqlStore, tmp_path: Path
) -> None:
    fleet = voyage.fleet
    back_up(fleet_store, tmp_path / "backup.db")
    voyage.order()
    fleet.tick()
    fleet.sail("ship-1")
    restore(fleet_store, tmp_path / "backup.db")

    found = reconcile(fleet.deps)
    voyage.go_on()
    again = fleet.start("app:2")
    voyage.go_on()

    assert found["devicesWithBundlesRemoved"] == ["ship-1", "ship-2", "ship-3"]
    assert fleet.set(again).state == "completed"
    assert len(fleet.devices["ship-1"].fetched) == 1
    voyage.check_bundles(at_most=2)


def test_what_lies_in_its_outbox_goes_on_and_is_sent_once(
    voyage: Voyage, fleet_store: SqlStore, tmp_path: Path
) -> None:
    fleet = voyage.fleet
    voyage.order()
    fleet.tick()
    back_up(fleet_store, tmp_path / "backup.db")
    fleet.now.forward(hours=20)
    restore(fleet_store, tmp_path / "backup.db")

    found = reconcile(fleet.deps)
    voyage.go_on()

    assert (found["transfersPlannedAnew"], found["bundlesRemoved"], found["devicesAsked"]) == (0, 0, 3)
    assert fleet.set(voyage.set_id).state == "completed"
    voyage.check_bundles(at_most=1)


def test_a_second_run_finds_nothing_more_and_harms_nothing(
    voyage: Voyage, fleet_store: SqlStore, tmp_path: Path
) -> None:
    fleet = voyage.fleet
    voyage.order()
    back_up(fleet_store, tmp_path / "backup.db")
    fleet.tick()
    restore(fleet_store, tmp_path / "backup.db")
    reconcile(fleet.deps)

    fleet.now.forward(minutes=1)
    again = reconcile(fleet.deps)
    voyage.go_on()

    assert (again["transfersPlannedAnew"], again["bundlesRemoved"], again["patchesToBuildAgain"]) == (0, 0, 0)
    assert fleet.set(voyage.set_id).state == "completed"
    voyage.check_bundles(at_most=1)


def test_a_dry_run_says_the_same_and_changes_nothing(voyage: Voyage, fleet_store: SqlStore, tmp_path: Path) -> None:
    fleet = voyage.fleet
    back_up(fleet_store, tmp_path / "backup.db")
    voyage.order()
    fleet.tick()
    restore(fleet_store, tmp_path / "backup.db")
    blobs = {name: dict(found) for name, found in fleet.blobs.containers.items()}
    before = dump(fleet_store)

    dry = reconcile(fleet.deps, dry_run=True)

    assert {name: dict(found) for name, found in fleet.blobs.containers.items()} == blobs
    assert dump(fleet_store) == before
    real = reconcile(fleet.deps)
    assert {**dry, "dryRun": False} == real


def dump(store: SqlStore) -> list[str]:
    with closing(sqlite3.connect(path_of(store))) as connection:
        return list(connection.iterdump())


def test_a_run_that_dies_between_any_two_statements_is_run_again(
    voyage: Voyage, fleet_store: SqlStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL between two statements leaves what a statement that raises leaves: whole transactions."""
    monkeypatch.setattr(activities.reconcile, "BATCH", 1)
    fleet = voyage.fleet
    for number, step in enumerate(voyage.steps[:7]):
        if number == 2:
            back_up(fleet_store, tmp_path / "backup.db")
        step()
    blobs = {name: dict(found) for name, found in fleet.blobs.containers.items()}

    def again(dies_at: int | None) -> tuple[Any, bool]:
        restore(fleet_store, tmp_path / "backup.db")
        for container, its in blobs.items():
            for name in its.keys() - fleet.blobs.containers[container].keys():
                fleet.blobs.put(container, name, [its[name]])
        died = False
        if dies_at is not None:
            with failing_once(fleet_store, dies_at, RuntimeError("killed")):
                try:
                    reconcile(fleet.deps)
                except RuntimeError:
                    died = True
        reconcile(fleet.deps)
        return outcome(fleet, voyage.set_id), died

    expected, _ = again(None)
    deaths = 0
    while True:
        found, died = again(deaths)
        assert found == expected, f"after a death at statement {deaths}"
        if not died:
            break
        deaths += 1
    voyage.go_on()

    assert deaths > 30
    assert fleet.set(voyage.set_id).state == "completed"
    voyage.check_bundles(at_most=3)


def outcome(fleet: FleetSimulator, set_id: str) -> Any:
    numbers = fleet.deps.store._db.read(  # type: ignore[attr-defined]
        lambda connection: connection.exec_driver_sql("SELECT device_id, state, last_number FROM devices").all()
    )
    transfers = {one.transfer_id: one.state for one in fleet.transfers(set_id)}
    outboxes = {ship: fleet.outbox(ship) for ship in SHIPS}
    return sorted(tuple(row) for row in numbers), transfers, fleet.members(set_id), outboxes


def test_the_app_and_a_second_run_may_go_on_meanwhile(
    voyage: Voyage, fleet_store: SqlStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activities.reconcile, "BATCH", 1)
    fleet = voyage.fleet
    for number, step in enumerate(voyage.steps[:6]):
        if number == 1:
            back_up(fleet_store, tmp_path / "backup.db")
        step()
    restore(fleet_store, tmp_path / "backup.db")

    def meanwhile(done: int) -> None:
        if done == 1:
            reconcile(fleet.deps)
        fleet.tick()
        fleet.sail(SHIPS[done - 1])

    reconcile(fleet.deps, progress=meanwhile)
    voyage.go_on()

    assert fleet.set(voyage.set_id).state == "completed"
    voyage.check_bundles(at_most=3)


def test_a_device_that_knows_a_later_attempt_heals_without_anybody(
    voyage: Voyage, fleet_store: SqlStore, tmp_path: Path
) -> None:
    """Nobody ran the command: the inventory itself tells that SQL has forgotten an attempt."""
    fleet = voyage.fleet
    voyage.order()
    fleet.tick()
    back_up(fleet_store, tmp_path / "backup.db")
    voyage.lose_a_source()
    fleet.sail("ship-2")
    fleet.tick()
    fleet.devices["ship-2"].breaks_with = "content.digest_mismatch"
    fleet.sail("ship-2")
    fleet.devices["ship-2"].breaks_with = None
    del fleet.devices["ship-2"].results[:-1]  # an inventory holds the last ones alone
    restore(fleet_store, tmp_path / "backup.db")

    fleet.deliver(fleet.devices["ship-2"], fleet.devices["ship-2"].inventory())
    (transfer,) = [one for one in fleet.transfers(voyage.set_id) if one.device_id == "ship-2"]

    assert (transfer.state, fleet.members(voyage.set_id)["ship-2"]) == ("cancelled", "planned")


def test_what_is_forgotten_and_newer_is_not_replaced_by_what_is_older(
    voyage: Voyage, fleet_store: SqlStore, tmp_path: Path
) -> None:
    """Restored to the same backup twice: numbers and ids stay apart, and a person decides about the manifests."""
    fleet = voyage.fleet
    voyage.order()
    fleet.tick()
    back_up(fleet_store, tmp_path / "backup.db")
    for _ in range(2):
        voyage.go_on()
        voyage.set_id, older = fleet.start("app:3"), voyage.set_id
        voyage.go_on()
        applied = len(fleet.hubs["north"].applied)
        voyage.set_id = older
        restore(fleet_store, tmp_path / "backup.db")
        reconcile(fleet.deps)
        voyage.go_on()

        assert set(fleet.members(older).values()) == {"conflict"}
        assert len(fleet.hubs["north"].applied) == applied
    voyage.check_bundles(at_most=3)


def test_manifests_that_were_set_since_are_named(voyage: Voyage, fleet_store: SqlStore, tmp_path: Path) -> None:
    fleet = voyage.fleet
    voyage.order()
    fleet.tick()
    back_up(fleet_store, tmp_path / "backup.db")
    fleet.run()
    restore(fleet_store, tmp_path / "backup.db")

    found = reconcile(fleet.deps)

    assert (found["manifestsChangedSince"], found["devicesWithChangedManifests"]) == (3, list(SHIPS))
    assert found["hubsNotAsked"] == {}


def test_a_device_is_asked_for_by_the_id_that_its_hub_knows(voyage: Voyage) -> None:
    fleet = voyage.fleet
    voyage.order()
    fleet.run()
    device = fleet.deps.store.devices.device("ship-1")
    assert device is not None
    hub = fleet.hubs[device.hub]
    content = hub.modules_content("ship-1")
    assert content is not None
    hub.add_device("vessel", content)
    for _ in range(9):
        twin = hub.module_twin("vessel", "$edgeAgent")
        assert twin is not None
        hub.apply_content("vessel", content, on=twin.version)
    fleet.deps.store.devices.rebind("ship-1", device.hub, "vessel", "operator", fleet.now())

    found = reconcile(fleet.deps)

    assert found["devicesWithChangedManifests"] == ["ship-1"]


def test_patches_whose_blobs_are_gone_are_built_again_and_unknown_ones_go(
    voyage: Voyage, fleet_store: SqlStore, tmp_path: Path
) -> None:
    fleet = voyage.fleet
    voyage.order()
    fleet.tick()
    fleet.run()
    (blob, *_) = sorted(name for name in fleet.blobs.containers["patches"] if not name.endswith(".chunks"))
    fleet.blobs.delete("patches", blob)
    fleet.blobs.put("patches", "0" * 64, [b"x"])
    fleet.blobs.put("patches", f"{'0' * 64}.chunks", [b"x"])
    fleet.now.forward(hours=2)

    found = reconcile(fleet.deps)

    assert found["patchesToBuildAgain"] >= 1
    assert found["unknownPatchesRemoved"] == 2
    assert not any(name.startswith("000") for name in fleet.blobs.containers["patches"])
    assert "requested" in {patch.state for patch in fleet.patches()}


def test_images_whose_layers_are_gone_are_named(voyage: Voyage) -> None:
    fleet = voyage.fleet
    layers = sorted(fleet.blobs.containers["layers"])
    for name in layers:
        fleet.blobs.delete("layers", name)
    fleet.blobs.put("layers", "0" * 64, [b"x"])

    found = reconcile(fleet.deps)

    assert (found["layersMissing"], found["unknownLayers"]) == (len(layers), 1)
    assert found["imagesToRegisterAgain"] == sorted(fleet.image_id(f"app:{number}") for number in (1, 2, 3))


def test_an_empty_database_is_refused_before_anything_is_removed(fleet: FleetSimulator) -> None:
    fleet.blobs.put(outbox_container("ship-1"), "2-000000000001-transfer-x-1.bundle", [b"x"])
    fleet.blobs.put("patches", "0" * 64, [b"x"])
    fleet.now.forward(hours=2)

    with pytest.raises(RequestError) as caught:
        reconcile(fleet.deps)

    assert caught.value.code == "reconcile.no_device"
    assert fleet.outbox("ship-1") != [] and fleet.blobs.containers["patches"] != {}


def test_a_hub_that_does_not_answer_is_told_and_the_rest_is_done(voyage: Voyage) -> None:
    voyage.fleet.hubs["north"].calls.fail("agents")

    found = reconcile(voyage.fleet.deps)

    assert (list(found["hubsNotAsked"]), found["devicesAsked"]) == (["north"], 3)


def test_the_run_stands_in_the_audit_log(voyage: Voyage) -> None:
    found = reconcile(voyage.fleet.deps)

    (entry, *_) = voyage.fleet.deps.store.audit.list_entries(who="operator", subject=None, limit=10, after=None).items
    assert (entry.action, entry.detail) == ("reconcile", found)
