"""What is forgotten and what is not: by age, by end, by what stands on devices; sums stay true."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from contracts.records import DeploymentSet
from contracts.requests import RegisterImage
from imagedelta.errors import DependencyError
from store.kernel.schema import bundles, device_installations, history, metadata, releases, transfers
from store.retained import lines
from store.retained.lines import LINES
from store.retention import AUDIT, MAIL_TEXTS
from tests.simulators.statements import statements
from tests.unit.store.world import MANIFEST, START, World

YEAR = timedelta(days=365)


def forget(world: World, at: datetime, *kinds: str) -> None:
    """A whole run."""
    for kind in kinds or world.store.retention.kinds:
        after: Any = None
        while (after := world.store.retention.forget(kind, after, at)) is not None:
            pass


def rows(world: World) -> dict[str, int]:
    def count(connection: Connection) -> dict[str, int]:
        tables = metadata.sorted_tables
        return {t.name: connection.execute(select(func.count()).select_from(t)).scalar_one() for t in tables}

    return world.store._db.read(count)


def completed(world: World, reference: str, *device_ids: str, released: bool = False) -> DeploymentSet:
    """A set that brought an image; applied on its devices when ``released``."""
    of = world.set(list(device_ids), reference, manifest=MANIFEST if released else None)
    of = world.deliver(of, *device_ids)
    for device_id in device_ids if released else ():
        assert world.release(of, device_id, version=of.ordinal + 7)
        assert world.confirm(of, device_id, "applied")
    return world.settled(of)


def sums(world: World) -> list[tuple[int, int, int]]:
    series = world.store.transfers.timeseries("day", START, START + timedelta(days=3))
    return [(day["succeeded"], day["failed"], day["bytes"]) for day in series]


def test_lines_go_half_a_year_after_the_end_and_the_sums_over_time_stay(world: World) -> None:
    world.device("ship-1", "-")
    of = completed(world, "app:2", "ship-1")
    before = sums(world)

    forget(world, world.now + LINES - timedelta(hours=1))
    kept = rows(world)["history"]
    forget(world, world.now + LINES + timedelta(hours=1))

    assert kept > 5
    assert rows(world)["history"] == 0
    assert sums(world) == before == [(1, 0, 120), (0, 0, 0), (0, 0, 0), (0, 0, 0)]
    assert world.states(of) == ("completed", {"ship-1": "ready"})


def test_lines_of_what_goes_on_are_kept_however_old(world: World) -> None:
    for name in ("ship-1", "ship-2"):
        world.device(name, "-")
    of = world.set(["ship-1", "ship-2"], "app:2")
    world.publish(of)
    world.report(world.transfer(of, "ship-1"), "succeeded")

    forget(world, world.now + 3 * YEAR)

    kept = [(e["kind"], e["subject"], e["new"]) for e in world.store.sets.events(of.set_id, limit=99, after=None).items]
    assert ("set", of.set_id, "accepted") in kept
    assert ("transfer", world.transfer(of, "ship-2").transfer_id, "published") in kept
    assert not [line for line in kept if line[1] == world.transfer(of, "ship-1").transfer_id]


def test_a_pass_goes_on_where_a_part_ended_and_through_lines_that_are_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "PART", 3)
    for name in ("ship-1", "ship-2"):
        world.device(name, "-")
    going = world.set(["ship-2"], "app:2")
    completed(world, "tool:1", "ship-1")
    old = len(world.store.sets.events(going.set_id, limit=99, after=None).items)

    forget(world, world.now + YEAR, "history")

    assert rows(world)["history"] == old


def test_what_a_set_left_at_its_devices_goes_two_years_after_its_end(world: World) -> None:
    world.device("ship-1", "-")
    for version in range(3):
        completed(world, f"app:{version}", "ship-1")
    before = sums(world)

    forget(world, world.now + 2 * YEAR + timedelta(days=1))

    left = rows(world)
    of_sets = ("deployment_sets", "members", "member_transfers", "transfers", "bundles", "notifications")
    assert {name: left[name] for name in of_sets} == dict.fromkeys(of_sets, 2)
    assert (left["history"], left["devices"], left["images"]) == (0, 1, 3)
    assert sums(world) == before


def test_what_stands_on_a_device_is_kept_with_what_a_rollback_returns_to(world: World) -> None:
    world.device("ship-1", "-")
    sets = [completed(world, f"app:{version}", "ship-1", released=True) for version in range(1, 5)]

    forget(world, world.now + 3 * YEAR)

    assert [world.store.sets.deployment_set(of.set_id) is None for of in sets] == [True, True, False, False]
    assert [len(world.store.sets.members(of.set_id)) for of in sets] == [0, 0, 1, 1]
    assert world.store.releases.workstream_modules("ship-1") == {"app": "default"}


def test_a_manifest_that_two_newer_ones_have_replaced_is_emptied_after_a_month(world: World) -> None:
    world.device("ship-1", "-")
    for version in range(1, 4):
        completed(world, f"app:{version}", "ship-1", released=True)

    def contents() -> list[Any]:
        query = select(releases.c.content).order_by(releases.c.version)
        return world.store._db.read(lambda connection: list(connection.execute(query).scalars()))

    forget(world, world.now + timedelta(days=29))
    young = contents()
    forget(world, world.now + timedelta(days=31))

    assert young == [{"new": 1}] * 3
    assert contents() == [{}, {"new": 1}, {"new": 1}]


def test_a_manifest_that_a_device_without_link_has_not_yet_run_is_kept(world: World) -> None:
    """Newer sets may name the same image: the older one is confirmed, too, when the device is back."""
    world.device("ship-1", "-")
    for version in range(1, 4):
        of = world.set(["ship-1"], f"app:{version}", manifest=MANIFEST)
        world.deliver(of, "ship-1")
        assert world.release(of, "ship-1", version=of.ordinal + 7)
        world.settled(of)

    forget(world, world.now + timedelta(days=100))

    contents = world.store._db.read(lambda connection: list(connection.execute(select(releases.c.content)).scalars()))
    assert contents == [{"new": 1}] * 3


def test_a_transfer_that_another_set_waits_for_is_kept(world: World) -> None:
    world.device("ship-1", "-")
    old = world.set(["ship-1"], "app:2", workstream="one")
    world.set(["ship-1"], "app:2", workstream="two")
    world.cancel(old)

    forget(world, world.now + 3 * YEAR)

    assert world.store.sets.deployment_set(old.set_id) is None
    assert (rows(world)["transfers"], rows(world)["members"]) == (1, 1)


def test_that_a_mail_went_out_is_known_when_its_text_is_gone(world: World) -> None:
    world.device("ship-1", "-")
    of = completed(world, "app:2", "ship-1")
    (pending,) = world.store.notifications.of_set(of.set_id)
    world.store.notifications.claim(pending.notification_id, timedelta(minutes=1), 3, world.now + timedelta(minutes=9))
    world.store.notifications.sent(pending.notification_id, "done", "all of it", world.now)

    forget(world, world.now + MAIL_TEXTS + timedelta(days=1))

    (told,) = world.store.notifications.of_set(of.set_id)
    assert (told.state, told.subject, told.body) == ("sent", "done", None)


def test_old_audit_lines_registrations_and_installations_go_and_present_ones_stay(world: World) -> None:
    line = {"request_digest": "d", "who": "olga", "how": "key", "action": "a", "subject": "s", "detail": {}}
    world.store.audit.record("old", **line, at=world.now - AUDIT - YEAR)
    world.store.audit.record("young", **line, at=world.now)
    images = world.store.images
    done = images.request_registration(RegisterImage(upload="u1"), "t", world.now - 2 * YEAR).registration_id
    images.finish_registration(done, {}, world.now)
    still_open = images.request_registration(RegisterImage(upload="u2"), "t", world.now - 2 * YEAR).registration_id
    world.device("ship-1", "-")
    world.store.devices.replace("ship-1", "t", world.now)
    world.inventory("ship-1", installation="disk-2")
    other = device_installations.insert().values(
        device_id="ship-1", installation_id="disk-0", sequence=1, first_at=START, last_at=START
    )
    world.store._db.write(lambda connection: connection.execute(other))

    forget(world, world.now + YEAR + timedelta(days=1))

    assert [entry.order_id for entry in audit_of(world)] == ["young"]
    assert images.open_registrations(9) == (still_open,)
    assert images.registration(done) is None
    assert rows(world)["device_installations"] == 1


def audit_of(world: World) -> tuple[Any, ...]:
    return world.store.audit.list_entries(who=None, subject=None, limit=9, after=None).items


def test_a_part_of_which_a_statement_fails_has_forgotten_nothing(world: World) -> None:
    world.device("ship-1", "-")
    for version in range(1, 4):
        completed(world, f"app:{version}", "ship-1", released=True)
    at = world.now + 3 * YEAR
    before, totals = rows(world), sums(world)

    for kind in ("history", "devices"):
        for number in range(2, 40):
            with statements(world.store, failing=number) as seen:
                try:
                    forget(world, at, kind)
                except DependencyError:
                    assert rows(world) == before, seen[-1]
                    assert sums(world) == totals
                else:
                    break
        assert number > 4
        before = rows(world)
    assert sums(world) == totals


def test_lines_that_somebody_else_has_forgotten_meanwhile_are_not_counted_twice(world: World) -> None:
    world.device("ship-1", "-")
    of = completed(world, "app:2", "ship-1")
    transfer_id = world.transfer(of, "ship-1").transfer_id
    before = sums(world)

    def late(connection: Connection) -> None:
        found = lines.lines_of_transfers(connection, [transfer_id])
        lines.remove_lines(connection, found)
        lines.remove_lines(connection, found)

    with pytest.raises(DependencyError):
        world.store._db.write(late)

    assert sums(world) == before
    assert rows(world)["history"] > 5


# ---------------------------------------------------------------- patches


def old_patch(world: World) -> tuple[str, datetime]:
    world.device("ship-1", "-")
    of = completed(world, "app:2", "ship-1")
    (patch,) = world.store.patches.list_patches(state=None, target=None, limit=9, after=None).items
    assert of.state == "completed"
    return patch.patch_id, world.now + timedelta(days=91)


def test_a_patch_that_nobody_used_for_three_months_is_taken_apart_and_forgotten(world: World) -> None:
    patch_id, at = old_patch(world)

    assert world.store.retention.patches.take(at - timedelta(days=2)) is None
    assert world.store.retention.patches.take(at) == (patch_id, "ab")
    assert world.store.retention.patches.take(at) is None
    world.store.retention.patches.forget(patch_id, at)

    assert world.store.patches.patch(patch_id) is None
    assert rows(world)["transfers"] == 1


def test_a_patch_whose_taking_apart_died_is_taken_again_once_the_lease_is_over(world: World) -> None:
    patch_id, at = old_patch(world)
    world.store.retention.patches.take(at)

    assert world.store.retention.patches.take(at + timedelta(minutes=11)) == (patch_id, "ab")


def test_a_patch_that_is_asked_for_while_it_is_taken_apart_is_built_anew(world: World) -> None:
    patch_id, at = old_patch(world)
    world.store.retention.patches.take(at)
    world.now = at
    world.device("ship-2", "-")
    of = world.set(["ship-2"], "app:2")

    world.store.retention.patches.forget(patch_id, at)

    found = world.store.patches.patch(patch_id)
    assert found is not None
    assert (found.state, found.blob) == ("requested", None)
    assert world.to_build(of) == (patch_id,)


def test_a_patch_that_a_transfer_on_its_way_was_made_of_stays(world: World) -> None:
    world.device("ship-1", "-")
    world.publish(world.set(["ship-1"], "app:2"))

    assert world.store.retention.patches.take(world.now + 2 * YEAR) is None


def test_a_blob_that_two_patches_have_stays_with_the_other(world: World) -> None:
    world.device("ship-1", "-")
    completed(world, "app:2", "ship-1")
    completed(world, "tool:1", "ship-1")
    at = world.now + timedelta(days=91)

    first = world.store.retention.patches.take(at)
    assert first is not None
    world.store.retention.patches.forget(first[0], at)
    second = world.store.retention.patches.take(at)

    assert (first[1], second and second[1]) == (None, "ab")


def test_a_hundred_thousand_lines_go_in_parts_that_cost_alike(world: World) -> None:
    world.device("ship-1", "-")
    of = completed(world, "app:2", "ship-1")
    transfer = world.transfer(of, "ship-1")
    line = {"at": START, "hour": START.replace(minute=0, second=0, microsecond=0), "kind": "transfer", "old": "a"}
    many = [{**line, "transfer_id": transfer.transfer_id, "subject": "x", "new": "failed", "bytes": 1}] * 100_000
    world.store._db.write(lambda connection: connection.execute(history.insert(), many))
    total = sums(world)

    parts = 0
    after: Any = None
    while (after := world.store.retention.forget("history", after, world.now + YEAR)) is not None:
        parts += 1

    assert parts == 100_000 // lines.PART
    assert rows(world)["history"] == 0
    assert sums(world) == total
    assert total[0][1:] == (100_000, 100_120)
    assert world.store._db.read(lambda c: c.execute(select(func.count()).select_from(transfers)).scalar_one()) == 1
    assert world.store._db.read(lambda c: c.execute(select(func.count()).select_from(bundles)).scalar_one()) == 1
