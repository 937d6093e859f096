"""Publishing in SQL: who gets a bundle, its number, floor and name, and what is marked once it lies in the outbox."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, select

from contracts.records import DeploymentSet, Publication
from services.store_port import BundleResult
from store.kernel.schema import devices
from tests.unit.store.world import World


def built(world: World, devices: int = 1, *references: str) -> tuple[DeploymentSet, str]:
    """A started set, and the patch of its first image, verified."""
    names = [world.device(f"ship-{number}", "-") for number in range(1, devices + 1)]
    of = world.set(names, *(references or ("app:2",)))
    patches = world.to_build(of)
    for patch_id in patches:
        world.build(patch_id)
    return of, patches[0]


def claim(world: World, patch_id: str, after: str = "", limit: int = 50, shared: bool = True) -> Sequence[Publication]:
    return world.store.publications.claim(patch_id, after, limit, shared=shared, at=world.later(1))


def finish(world: World, *claimed: Publication, **result: Any) -> int:
    results = [BundleResult(each.transfer, **(result or {"bytes": 120})) for each in claimed]
    patch_id = claimed[0].transfer.patch_id or ""
    return world.store.publications.finish(patch_id, results, world.later(1), last=True)


def synced(world: World, device_id: str) -> None:
    """Its twin holds what the cloud wants."""
    values = {"sync_at": None}
    world.store._db.write(
        lambda connection: connection.execute(devices.update().where(devices.c.device_id == device_id).values(**values))
    )


def twin_is_due(world: World, device_id: str) -> bool:
    query = select(devices.c.sync_at).where(devices.c.device_id == device_id)
    return world.store._db.read(lambda connection: connection.execute(query).scalar_one()) is not None


class Cost(Counter[str]):
    """Statements and transactions of a block."""


@contextmanager
def counted(world: World) -> Iterator[Cost]:
    cost = Cost()

    def statement(_connection: Any, _cursor: Any, text: str, *_: Any) -> None:
        cost["statements"] += not text.startswith("BEGIN")

    def begin(*_: Any) -> None:
        cost["transactions"] += 1

    engine = world.store._db.engine
    event.listen(engine, "before_cursor_execute", statement)
    event.listen(engine, "begin", begin)
    yield cost
    event.remove(engine, "before_cursor_execute", statement)
    event.remove(engine, "begin", begin)


def test_number_floor_and_name_are_given_once_for_each_attempt(world: World) -> None:
    _, patch_id = built(world)

    (first,) = claim(world, patch_id)
    (second,) = claim(world, patch_id)

    named = first.transfer
    assert (named.number, named.floor, named.bundle) == (1, 1, f"2-000000000001-{named.transfer_id}-1.bundle")
    again = second.transfer
    assert (again.state, again.number, again.floor, again.bundle) == ("building", 1, 1, named.bundle)


def test_the_floor_is_the_lowest_number_still_wanted_on_the_device(world: World) -> None:
    of, _ = built(world, 1, "app:2", "tool:1", "tool:2")
    world.publish(of)
    one, two, three = sorted(world.store.transfers.of_set(of.set_id), key=lambda each: each.number or 0)
    assert [(each.number, each.floor) for each in (one, two, three)] == [(1, 1), (2, 1), (3, 1)]

    world.report(one, "succeeded")
    world.report(three, "succeeded")
    assert floor_of_next(world, "next:1") == (4, 2)
    world.report(two, "succeeded")
    assert floor_of_next(world, "next:2") == (5, 4)


def floor_of_next(world: World, reference: str) -> tuple[int | None, int | None]:
    of = world.set(["ship-1"], reference, workstream=reference.replace(":", "-"))
    world.publish(of)
    (transfer,) = world.store.transfers.of_set(of.set_id)
    return transfer.number, transfer.floor


def test_the_floor_rises_when_nothing_is_wanted_any_more(world: World) -> None:
    of, _ = built(world)
    world.deliver(of, "ship-1")

    assert floor_of_next(world, "next:1") == (2, 2)


def test_one_claim_serves_every_started_set_and_goes_on_behind_the_last(world: World) -> None:
    _, patch_id = built(world, 3)
    world.device("boat", "-")
    world.set(["boat"], "app:2")

    first = claim(world, patch_id, limit=3)
    second = claim(world, patch_id, first[-1].transfer.transfer_id, limit=3)

    assert len(first) == 3
    assert {each.transfer.device_id for each in first + second} == {"boat", "ship-1", "ship-2", "ship-3"}


def test_nothing_is_published_before_its_patch_is_verified(world: World) -> None:
    world.device("ship-1", "-")
    of = world.set(["ship-1"], "app:2")
    (patch_id,) = world.to_build(of)

    assert claim(world, patch_id) == ()


def test_nothing_is_published_for_a_set_that_is_not_started(world: World) -> None:
    _, patch_id = built(world)
    world.device("boat", "-")
    waiting = world.accepted(["boat"], "app:2")
    world.plan(waiting)

    assert [each.transfer.device_id for each in claim(world, patch_id)] == ["ship-1"]


def test_nothing_is_published_to_a_held_device(world: World) -> None:
    of, patch_id = built(world)
    world.inventory("ship-1", hub="south")

    assert claim(world, patch_id) == ()
    assert world.transfer(of, "ship-1").state == "queued"


def test_publishing_twice_is_marked_once(world: World) -> None:
    of, patch_id = built(world)
    claimed = claim(world, patch_id)

    assert [finish(world, *claimed) for _ in range(2)] == [1, 0]

    transfer = world.transfer(of, "ship-1")
    assert (transfer.state, transfer.bundle_bytes) == ("published", 120)
    assert [each.new for each in world.store.transfers.history(transfer.transfer_id)].count("published") == 1


def test_a_bundle_that_can_never_be_made_fails_its_transfer_and_no_other(world: World) -> None:
    of, patch_id = built(world, 2)
    one, two = claim(world, patch_id)

    good, bad = BundleResult(one.transfer, 120), BundleResult(two.transfer, code="seal.no_trusted_key", detail="none")
    assert world.store.publications.finish(patch_id, [good, bad], world.now, last=True) == 1

    failed = world.transfer(of, two.transfer.device_id)
    assert (failed.state, failed.code, failed.detail) == ("failed", "seal.no_trusted_key", "none")
    assert world.transfer(of, one.transfer.device_id).state == "published"
    assert world.states(of)[1][two.transfer.device_id] == "failed"


@pytest.mark.parametrize("how", ["cancelled", "retired", "another attempt"])
def test_a_bundle_whose_transfer_went_another_way_meanwhile_is_taken_away_with_the_twin(world: World, how: str) -> None:
    of, patch_id = built(world)
    (claimed,) = claim(world, patch_id)
    if how == "cancelled":
        world.cancel(of)
    elif how == "retired":
        world.store.devices.retire("ship-1", "olga", world.now)
    else:
        world.report(claimed.transfer, "source_missing")
    settled = world.transfer(of, "ship-1")
    synced(world, "ship-1")

    assert finish(world, claimed) == 0

    now = world.transfer(of, "ship-1")
    assert (now.state, now.attempt) == (settled.state, settled.attempt)
    assert twin_is_due(world, "ship-1")


def test_only_a_device_that_fetches_shared_bundles_gets_one(world: World) -> None:
    _, patch_id = built(world, 2)
    world.inventory("ship-1", forms=["shared", "of-a-later-version"])

    claimed = claim(world, patch_id)

    names = {each.transfer.device_id: (each.transfer.bundle or "").rpartition(".")[2] for each in claimed}
    assert names == {"ship-1": "shared", "ship-2": "bundle"}


def test_every_bundle_is_composed_where_none_is_to_be_shared_and_a_name_once_given_stays(world: World) -> None:
    _, patch_id = built(world)
    world.inventory("ship-1", forms=["shared"])

    names = [claim(world, patch_id, shared=shared)[0].transfer.bundle for shared in (False, True)]

    assert names == [names[0]] * 2
    assert (names[0] or "").endswith(".bundle")


def test_a_twin_opens_the_shared_patches_of_what_is_on_its_way(world: World) -> None:
    world.device("ship-1", "-")
    world.inventory("ship-1", forms=["shared"])
    of = world.set(["ship-1"], "app:2")
    synced(world, "ship-1")
    (patch_id,) = world.to_build(of)
    world.build(patch_id)
    assert world.store.devices.desired_facts("ship-1")["patches"] == []

    claimed = claim(world, patch_id)

    assert twin_is_due(world, "ship-1")
    assert world.store.devices.desired_facts("ship-1")["patches"] == ["ab"]
    finish(world, *claimed)
    world.report(world.transfer(of, "ship-1"), "blocked", 1)
    assert world.store.devices.desired_facts("ship-1")["patches"] == ["ab"]
    world.report(world.transfer(of, "ship-1"), "succeeded", 2)
    assert world.store.devices.desired_facts("ship-1")["patches"] == []


def test_a_composed_bundle_asks_nothing_of_the_twin(world: World) -> None:
    _, patch_id = built(world)
    synced(world, "ship-1")

    finish(world, *claim(world, patch_id))

    assert not twin_is_due(world, "ship-1")


def test_a_shared_bundle_is_published_in_two_transactions_and_ten_statements(world: World) -> None:
    _, patch_id = built(world)
    world.inventory("ship-1", forms=["shared"])

    with counted(world) as cost:
        finish(world, *claim(world, patch_id))

    assert (cost["statements"], cost["transactions"]) == (10, 2)


def test_a_batch_costs_as_many_statements_as_one(world: World) -> None:
    _, patch_id = built(world, 60)

    with counted(world) as cost:
        assert finish(world, *claim(world, patch_id)) == 50

    assert (cost["statements"], cost["transactions"]) == (10, 2)


def test_publishers_at_once_give_every_number_once_and_mark_every_bundle_once(world: World) -> None:
    of, _ = built(world, 12, "app:2", "tool:1", "tool:2")
    patches = world.to_publish(of)

    with ThreadPoolExecutor(6) as pool:
        marked = sum(pool.map(world.publish_patch, patches * 2))

    transfers = world.store.transfers.of_set(of.set_id)
    assert marked == len(transfers) == 36
    assert {each.state for each in transfers} == {"published"}
    for device_id in {each.device_id for each in transfers}:
        assert sorted(each.number or 0 for each in transfers if each.device_id == device_id) == [1, 2, 3]


def test_a_verified_patch_is_due_until_everybody_who_waits_has_it(world: World) -> None:
    of, patch_id = built(world)
    patches = world.store.patches
    verified = patches.to_publish(world.now, 10)

    claimed = claim(world, patch_id)
    taken = patches.to_publish(world.now, 10)
    after_a_death = patches.to_publish(world.later(600), 10)
    finish(world, *claim(world, patch_id))

    assert (verified, taken, after_a_death) == ((patch_id,), (), (patch_id,))
    assert (len(claimed), patches.to_publish(world.later(9_000), 10)) == (1, ())
    assert world.transfer(of, "ship-1").state == "published"


def test_who_comes_to_need_a_patch_while_it_is_published_has_it_published_again(world: World) -> None:
    _, patch_id = built(world)
    claimed = claim(world, patch_id)
    world.device("late", "-")

    late = world.set(["late"], "app:2")
    finish(world, *claimed)

    assert world.to_publish(late) == (patch_id,)
