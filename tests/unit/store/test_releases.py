from __future__ import annotations

from datetime import timedelta

import pytest

from contracts.records import DeploymentSet
from imagedelta.errors import RequestError
from tests.unit.store.statements import planned
from tests.unit.store.world import MANIFEST, World

LEASE = timedelta(minutes=2)


def ready(world: World, *device_ids: str, image: str = "app:2", **options: object) -> DeploymentSet:
    """A set with a manifest, on devices that have everything."""
    image_id = world.image(image)
    for device_id in device_ids:
        world.device(device_id)
        present = [i.image_id for i in world.store.devices.images_on(device_id)]
        world.inventory(device_id, *{*present, image_id})
    return world.set(device_ids, image, manifest=MANIFEST, **options)


def test_a_set_is_released_recorded_and_confirmed_member_by_member(world: World) -> None:
    of = ready(world, "ship-1", "ship-2")
    assert world.due_to_release(of) == ["ship-1", "ship-2"]

    assert world.release(of, "ship-1", version=8)
    assert world.settled(of).state == "releasing"
    assert world.release(of, "ship-2", version=9)
    assert world.settled(of).state == "released"
    for device_id in ("ship-1", "ship-2"):
        assert world.confirm(of, device_id, "applied")

    assert world.settled(of).state == "completed"
    assert world.member(of, "ship-2").released_version == 9
    released = world.store.releases.list_of_set(of.set_id, limit=9, after=None).items
    assert [release.version for release in released] == [8, 9]
    assert world.kinds(of) == ["arrived", "completed"]


@pytest.mark.sqlite
def test_what_a_release_asks_of_one_device_is_found_without_walking_through_the_set(world: World) -> None:
    of = ready(world, "ship-1", "ship-2")
    store = world.store

    with planned(store) as plans:
        world.release(of, "ship-1")
        store.transfers.of_member(of.set_id, "ship-1")
        store.releases.workstream_modules("ship-1")
        store.devices.desired_facts("ship-1")

    walks = [(text, line) for text, plan in plans.items() for line in plan if "SCAN" in line or "(set_id=?)" in line]
    assert [line for text, line in walks if "deployment_sets" not in line] == [], walks


def test_a_release_is_recorded_once(world: World) -> None:
    of = ready(world, "ship-1")
    assert world.release(of, "ship-1")

    assert not world.record_release(of, "ship-1", version=99)
    assert not world.release(of, "ship-1")
    stored = world.store.releases.release(of.set_id, "ship-1")
    assert stored is not None
    assert (stored.version, stored.modules, stored.previous) == (8, ("app",), {"old": 1})


def test_a_claim_keeps_others_out_until_its_lease_is_over(world: World) -> None:
    of = ready(world, "ship-1")

    first = world.store.releases.claim(of.set_id, "ship-1", LEASE, world.now)
    second = world.store.releases.claim(of.set_id, "ship-1", LEASE, world.later(60))
    third = world.store.releases.claim(of.set_id, "ship-1", LEASE, world.later(120))

    assert first is not None
    assert first.member.agent_version == 7
    assert second is None
    assert third is not None


def test_a_device_is_released_for_one_set_at_a_time(world: World) -> None:
    one = ready(world, "ship-1", image="app:2", workstream="one")
    two = ready(world, "ship-1", image="tool:1", workstream="two")
    assert world.store.releases.claim(one.set_id, "ship-1", LEASE, world.now)

    assert world.store.releases.claim(two.set_id, "ship-1", LEASE, world.now) is None
    world.record_release(one, "ship-1")
    assert world.store.releases.claim(two.set_id, "ship-1", LEASE, world.later()) is not None


def test_nothing_older_is_released_after_something_newer(world: World) -> None:
    old = ready(world, "ship-1", image="app:2")
    assert world.store.releases.claim(old.set_id, "ship-1", timedelta(minutes=9), world.now)
    new = ready(world, "ship-1", image="app:3")

    blocked = world.store.releases.claim(new.set_id, "ship-1", LEASE, world.now)
    after_lease = world.store.releases.claim(new.set_id, "ship-1", LEASE, world.later(600))

    assert blocked is None
    assert after_lease is not None
    assert world.member(old, "ship-1").state == "superseded"
    assert not world.record_release(old, "ship-1")
    assert world.store.releases.claim(old.set_id, "ship-1", LEASE, world.later(600)) is None
    assert world.record_release(new, "ship-1")


def test_an_older_release_whose_worker_died_gives_way_to_a_newer_set(world: World) -> None:
    old = ready(world, "ship-1", image="app:2")
    world.store.releases.claim(old.set_id, "ship-1", LEASE, world.now)
    ready(world, "ship-1", image="app:3")

    assert world.store.releases.claim(old.set_id, "ship-1", LEASE, world.later(600)) is None
    assert world.member(old, "ship-1").state == "superseded"


def test_canaries_go_first_and_the_rest_waits_for_promote(world: World) -> None:
    of = ready(world, "ship-1", "ship-2", canaries=["ship-2"])
    assert world.due_to_release(of) == ["ship-2"]
    assert world.store.releases.claim(of.set_id, "ship-1", LEASE, world.now) is None
    world.release(of, "ship-2")
    assert world.settled(of).state == "releasing"

    world.store.sets.promote(of.set_id, "tester", world.now)
    world.settled(of)

    assert world.due_to_release(of) == ["ship-1"]


def test_policy_device_releases_each_as_soon_as_its_images_are_there(world: World) -> None:
    world.device("slow", "-")
    world.device("quick", "-")
    of = world.deliver(world.set(["quick", "slow"], "app:2", manifest=MANIFEST, release="device"), "quick")

    assert of.state == "in_transit"
    assert world.due_to_release(of) == ["quick"]
    assert world.release(of, "quick")
    world.confirm(of, "quick", "applied")
    world.report(world.transfer(of, "slow"), "failed", code="seal.invalid")
    assert world.settled(of).state == "completed_with_failures"


def test_policy_manual_waits_for_a_request_which_says_what_is_missing(world: World) -> None:
    world.device("ship-1", "-")
    of = world.set(["ship-1"], "app:2", manifest=MANIFEST, release="manual")
    world.publish(of)

    with pytest.raises(RequestError, match=r"ship-1 \(in_transit\): app:2 \(published\)") as error:
        world.store.sets.request_release(of.set_id, "tester", world.now)
    world.report(world.transfer(of, "ship-1"), "succeeded")
    of = world.settled(of)
    waiting = world.due_to_release(of)
    world.store.sets.request_release(of.set_id, "tester", world.later())

    assert (error.value.code, error.value.status) == ("request.not_ready", 409)
    assert (of.state, waiting) == ("ready", [])
    assert world.settled(of).state == "releasing"
    assert world.due_to_release(of) == ["ship-1"]


def test_a_conflict_is_told_and_rebased_or_skipped(world: World) -> None:
    of = ready(world, "ship-1", "ship-2")
    for device_id in ("ship-1", "ship-2"):
        claim = world.store.releases.claim(of.set_id, device_id, LEASE, world.now)
        assert claim is not None
        world.store.releases.refuse(claim, "conflict", "release.conflict", "changed", world.now)
    assert world.settled(of).state == "releasing"

    rebased = world.store.sets.rebase_member(of.set_id, "ship-1", 12, "tester", world.now)
    skipped = world.store.sets.skip_member(of.set_id, "ship-2", "tester", world.now)

    assert (rebased.state, rebased.agent_version, skipped.state) == ("ready", 12, "excluded")
    assert world.kinds(of) == ["arrived", "conflict"]
    world.settled(of)
    world.release(of, "ship-1")
    world.settled(of)
    world.confirm(of, "ship-1", "applied")
    assert world.settled(of).state == "completed_with_failures"


def test_a_release_that_does_not_run_is_told_and_may_still_recover(world: World) -> None:
    of = ready(world, "ship-1")
    world.release(of, "ship-1")

    assert world.confirm(of, "ship-1", "apply_failed", "release.unhealthy")
    assert world.settled(of).state == "completed_with_failures"
    assert "apply_failed" in world.kinds(of)
    assert world.confirm(of, "ship-1", "applied")
    assert not world.confirm(of, "ship-1", "apply_failed")


def test_a_held_device_is_not_released(world: World) -> None:
    of = ready(world, "ship-1")
    world.inventory("ship-1", hub="south")

    assert world.store.releases.claim(of.set_id, "ship-1", LEASE, world.now) is None
    assert world.due_to_release(of) == [], "and is looked at again later"
    world.later(3_600)
    assert world.due_to_release(of) == ["ship-1"]


def test_modules_belong_to_the_workstream_whose_newest_release_holds_them(world: World) -> None:
    first = ready(world, "ship-1", image="app:2", workstream="one")
    world.release(first, "ship-1", modules=("app", "old"))
    other = ready(world, "ship-1", image="tool:1", workstream="two")
    world.release(other, "ship-1", modules=("tool",))
    newer = ready(world, "ship-1", image="app:3", workstream="one")
    world.release(newer, "ship-1", modules=("app",))

    assert world.store.releases.workstream_modules("ship-1") == {"app": "one", "tool": "two"}


def test_a_set_without_a_manifest_cannot_be_released(world: World) -> None:
    world.device("ship-1", world.image("app:2"))
    of = world.set(["ship-1"], "app:2")

    with pytest.raises(RequestError) as error:
        world.store.sets.request_release(of.set_id, "tester", world.now)

    assert error.value.code == "request.state"


def test_a_member_retried_after_the_others_were_released_is_released_too(world: World) -> None:
    world.device("slow", "-")
    world.device("quick", "-")
    of = world.deliver(world.set(["quick", "slow"], "app:2", manifest=MANIFEST, release="device"), "quick")
    world.report(world.transfer(of, "slow"), "failed", code="seal.invalid")
    world.release(of, "quick")
    assert world.settled(of).state == "released"

    world.store.sets.retry_member(of.set_id, "slow", "tester", world.now)
    world.confirm(of, "quick", "applied")
    assert world.settled(of).state == "released"
    assert of.set_id in world.store.sets.to_plan(world.now, 10)
    world.plan(of)
    world.deliver(of, "slow")

    assert world.release(of, "slow")
    world.confirm(of, "slow", "applied")
    assert world.settled(of).state == "completed"
