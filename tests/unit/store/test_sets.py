from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from contracts.records import Waiting
from contracts.requests import DeviceSelection
from imagedelta.errors import RequestError
from tests.unit.store.world import LEASE, MANIFEST, World, digest


def test_a_new_set_is_accepted_and_its_members_wait_for_an_inventory(world: World) -> None:
    world.device("ship-1")
    world.device("ship-2")

    of = world.accepted(["ship-2", "ship-1"], "app:2")

    assert world.states(of) == ("accepted", {"ship-1": "waiting_inventory", "ship-2": "waiting_inventory"})
    assert of.images == {"app:2": {"linux/amd64": digest("app:2")}}


def test_ordinals_grow_with_every_set(world: World) -> None:
    world.device("ship-1")

    assert [world.accepted(["ship-1"], "app:2").ordinal for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("ids", "code"),
    [
        (["ship-1", "nobody"], "request.unknown_device"),
        (["ship-1", "old"], "request.retired_device"),
    ],
)
def test_a_set_of_unknown_or_retired_devices_is_refused_whole(world: World, ids: list[str], code: str) -> None:
    world.device("ship-1")
    world.device("old")
    world.store.devices.retire("old", "tester", world.now)

    with pytest.raises(RequestError) as error:
        world.accepted(ids, "app:2")

    assert error.value.code == code
    assert world.store.sets.list_sets(owner=None, state=None, workstream=None, limit=9, after=None).items == ()


def test_a_canary_that_is_not_among_the_devices_is_refused(world: World) -> None:
    world.device("ship-1")

    with pytest.raises(RequestError, match="canaries: not among the devices: ship-9"):
        world.accepted(["ship-1"], "app:2", canaries=["ship-9"])


def test_a_tag_query_chooses_devices_and_leaves_retired_ones_out(world: World) -> None:
    world.device("ship-1", site="north")
    world.device("ship-2", site="south")
    world.device("ship-3", site="north")
    world.store.devices.retire("ship-3", "tester", world.now)

    of = world.accepted([], "app:2", selection=DeviceSelection(query="tags.site = 'north'"))

    assert [member.device_id for member in world.store.sets.members(of.set_id)] == ["ship-1"]


def test_a_query_that_finds_no_device_is_refused(world: World) -> None:
    with pytest.raises(RequestError) as error:
        world.accepted([], "app:2", selection=DeviceSelection(query="tags.site = 'north'"))

    assert error.value.code == "request.no_device"


def test_everything_present_is_ready_at_once_and_completes_without_a_byte(world: World) -> None:
    image = world.image("app:2")
    world.device("ship-1", image)

    of = world.set(["ship-1"], "app:2")

    assert world.states(of) == ("completed", {"ship-1": "ready"})
    assert world.transfer(of, "ship-1").state == "already_present"
    assert world.kinds(of) == ["completed"]


def test_a_missing_image_becomes_one_queued_transfer_with_its_patch_requested(world: World) -> None:
    base = world.image("app:1")
    world.device("ship-1", base)
    of = world.accepted(["ship-1"], "app:2")

    world.plan(of, sources=[base])

    transfer = world.transfer(of, "ship-1")
    assert (transfer.state, transfer.attempt, transfer.sources) == ("queued", 1, (base,))
    patch = world.store.patches.patch(transfer.patch_id or "")
    assert patch is not None
    assert (patch.target, patch.sources, patch.state) == (digest("app:2"), (base,), "requested")
    assert world.to_build(of) == (), "nothing is built before the set is started"
    assert world.member(of, "ship-1").state == "planned"
    assert world.member(of, "ship-1").agent_version == 7


def test_planning_twice_changes_nothing(world: World) -> None:
    world.device("ship-1", "-")
    of = world.accepted(["ship-1"], "app:2")
    world.plan(of)
    before = (world.store.transfers.of_set(of.set_id), world.states(of))

    world.plan(of)

    assert (world.store.transfers.of_set(of.set_id), world.states(of)) == before
    told = [(event["kind"], event["new"]) for event in world.store.sets.events(of.set_id, limit=100, after=None).items]
    assert told == [("set", "accepted"), ("set", "planning"), ("transfer", "queued"), ("member", "planned")]


def test_members_without_an_inventory_wait_while_the_others_go_on(world: World) -> None:
    world.device("ship-1", "-")
    world.device("silent")

    of = world.deliver(world.set(["ship-1", "silent"], "app:2"), "ship-1")

    assert world.states(of) == ("in_transit", {"ship-1": "ready", "silent": "waiting_inventory"})
    assert not world.store.sets.is_unplanned(of.set_id, world.later())


def test_a_late_inventory_gives_the_orchestrator_work_again(world: World) -> None:
    world.device("silent")
    of = world.set(["silent"], "app:2")

    outcome = world.inventory("silent")

    assert outcome.set_ids == (of.set_id,)
    assert world.store.sets.to_plan(world.now, 10) == (of.set_id,)


def test_two_sets_that_need_the_same_image_on_a_device_share_one_transfer(world: World) -> None:
    world.device("ship-1", "-")
    first = world.set(["ship-1"], "app:2", workstream="one")

    second = world.set(["ship-1"], "app:2", workstream="two")

    assert world.transfer(second, "ship-1") == world.transfer(first, "ship-1")


def test_the_same_patch_for_twenty_devices_is_one_row(world: World) -> None:
    devices = [world.device(f"ship-{number:02}", "-") for number in range(20)]

    of = world.set(devices, "app:2")

    assert len(world.store.transfers.of_set(of.set_id)) == 20
    assert len(world.to_build(of)) == 1


def test_an_image_that_arrived_since_planning_is_not_sent(world: World) -> None:
    image = world.image("app:2")
    world.device("ship-1", "-")
    of = world.accepted(["ship-1"], "app:2")
    decided = world.decided([world.planned("ship-1", "app:2")])
    world.inventory("ship-1", image)
    world.store.sets.begin_plan(of.set_id, LEASE, 100, world.now)

    world.store.sets.record_plan(of.set_id, decided, world.later())

    assert world.store.transfers.of_set(of.set_id) == ()
    assert world.store.sets.is_unplanned(of.set_id, world.now)
    world.plan(of)
    assert (world.transfer(of, "ship-1").state, world.member(of, "ship-1").state) == ("already_present", "planned")


def test_an_image_that_went_since_planning_is_planned_anew(world: World) -> None:
    image = world.image("app:2")
    world.device("ship-1", image)
    of = world.accepted(["ship-1"], "app:2")
    decided = world.decided([world.planned("ship-1", "app:2", already_present=True)])
    world.inventory("ship-1")
    world.store.sets.begin_plan(of.set_id, LEASE, 100, world.now)

    world.store.sets.record_plan(of.set_id, decided, world.later())

    assert world.member(of, "ship-1").state == "waiting_inventory"
    assert world.store.sets.is_unplanned(of.set_id, world.now)


def test_a_more_urgent_set_makes_a_waiting_transfer_more_urgent(world: World) -> None:
    world.device("ship-1", "-")
    first = world.set(["ship-1"], "app:2", workstream="one")
    second = world.accepted(["ship-1"], "app:2", workstream="two")
    urgent = world.planned("ship-1", "app:2", priority="urgent")

    world.store.sets.begin_plan(second.set_id, LEASE, 100, world.now)
    world.record(second, [urgent])

    assert world.transfer(first, "ship-1").priority == "urgent"


def test_a_patch_that_failed_before_fails_its_new_transfer_too(world: World) -> None:
    world.device("ship-1", "-")
    world.device("ship-2", "-")
    first = world.set(["ship-1"], "app:2")
    (patch_id,) = world.to_build(first)
    world.store.patches.begin_step(patch_id, "worker", timedelta(hours=1), world.now)
    world.store.patches.failed(patch_id, "worker", "content.invalid", "cannot", world.now)

    second = world.set(["ship-2"], "app:2")

    assert world.states(world.settled(first)) == ("failed", {"ship-1": "failed"})
    assert world.states(second) == ("failed", {"ship-2": "failed"})
    assert world.member(second, "ship-2").code == "content.invalid"


def test_a_failing_device_is_told_once_and_the_others_go_on(world: World) -> None:
    world.device("bad", "-")
    world.device("good", "-")
    of = world.set(["bad", "good"], "app:2")
    world.publish(of)

    world.report(world.transfer(of, "bad"), "failed", code="seal.invalid", detail="no such\r\nBcc: x@y")
    world.report(world.transfer(of, "good"), "succeeded")
    of = world.settled(world.settled(of))

    assert world.states(of) == ("completed_with_failures", {"bad": "failed", "good": "ready"})
    assert world.member(of, "bad").code == "seal.invalid"
    assert world.kinds(of) == ["completed", "member_failed"]
    told = next(n for n in world.store.notifications.of_set(of.set_id) if n.kind == "member_failed")
    assert told.recipient == "olga@example.com"
    assert told.channel == "mail"


def test_with_a_manifest_a_failed_device_holds_the_common_release_until_it_is_excluded(world: World) -> None:
    world.device("bad", "-")
    world.device("good", "-")
    of = world.set(["bad", "good"], "app:2", manifest=MANIFEST)
    world.publish(of)
    world.report(world.transfer(of, "bad"), "failed", code="disk.full")
    world.report(world.transfer(of, "good"), "succeeded")
    held = world.settled(of)

    world.store.sets.exclude_member(of.set_id, "bad", "tester", world.now)

    assert held.state == "in_transit"
    assert world.settled(of).state == "releasing"
    assert world.due_to_release(of) == ["good"]


def test_a_set_none_of_whose_members_is_left_fails_and_tells_its_owner(world: World) -> None:
    world.device("bad", "-")
    of = world.set(["bad"], "app:2")
    world.publish(of)

    world.report(world.transfer(of, "bad"), "failed", code="seal.invalid")
    of = world.settled(of)

    assert (of.state, of.code) == ("failed", "set.no_member_left")
    assert world.kinds(of) == ["failed", "member_failed"]


def test_a_retry_sends_a_failed_transfer_again_as_a_new_attempt(world: World) -> None:
    world.device("bad", "-")
    of = world.set(["bad"], "app:2")
    world.publish(of)
    world.report(world.transfer(of, "bad"), "failed", code="seal.invalid")
    world.settled(of)

    world.store.sets.retry_member(of.set_id, "bad", "tester", world.later())

    transfer = world.transfer(of, "bad")
    assert (transfer.state, transfer.attempt, transfer.sources) == ("queued", 2, None)
    assert world.states(of) == ("preparing", {"bad": "planned"})
    world.plan(of)
    of = world.deliver(of, "bad")
    assert world.states(of) == ("completed", {"bad": "ready"})


def test_a_deadline_that_passes_is_told_once_and_stops_nothing(world: World) -> None:
    world.device("ship-1", "-")
    of = world.set(["ship-1"], "app:2", deadline=world.now + timedelta(hours=1))
    world.publish(of)
    world.settled(of)
    world.later(7200)

    assert of.set_id in world.store.sets.to_settle(world.now, 10)
    world.settled(of)
    of = world.settled(of)

    assert (of.state, of.overdue, world.kinds(of)) == ("in_transit", True, ["overdue"])


def test_a_set_that_waits_for_approval_tells_its_owner_and_is_driven_only_then(world: World) -> None:
    world.device("ship-1", "-")
    of = world.accepted(["ship-1"], "app:2", max_bytes=1)
    world.store.sets.move(of.set_id, "accepted", "planning", "orchestrator", world.now)
    world.store.sets.move(
        of.set_id, "planning", "awaiting_approval", "orchestrator", world.now, code="plan.too_large", detail="9 > 1"
    )

    assert world.kinds(of) == ["awaiting_approval"]
    world.store.sets.begin_plan(of.set_id, LEASE, 100, world.now)
    assert world.store.sets.to_plan(world.later(7200), 10) == ()
    approved = world.store.sets.approve(of.set_id, "boss", world.later())
    assert (approved.state, approved.approved_by) == ("preparing", "boss")
    assert world.store.sets.approve(of.set_id, "other", world.later()) == approved
    assert world.store.sets.to_plan(world.now, 10) == (of.set_id,)


def test_cancelling_revokes_bundles_that_nobody_else_wants(world: World) -> None:
    world.device("ship-1", "-")
    one = world.set(["ship-1"], "app:2", "tool:1", workstream="one")
    two = world.set(["ship-1"], "tool:1", workstream="two")
    world.publish(one)

    world.cancel(one)

    states = {t.reference: t.state for t in world.store.transfers.of_set(one.set_id)}
    assert states == {"app:2": "cancelled", "tool:1": "published"}
    assert world.states(one) == ("cancelled", {"ship-1": "cancelled"})
    revoked = next(t for t in world.store.transfers.of_set(one.set_id) if t.reference == "app:2")
    facts = world.store.devices.desired_facts("ship-1")
    assert facts["revokedBundles"] == [revoked.bundle_id]
    assert facts["keepImages"] == [digest("tool:1")]
    assert world.transfer(two, "ship-1").state == "published"


def test_a_released_set_cannot_be_cancelled(world: World) -> None:
    world.device("ship-1", world.image("app:2"))
    of = world.set(["ship-1"], "app:2", manifest=MANIFEST)
    assert of.state == "releasing"

    with pytest.raises(RequestError) as error:
        world.store.sets.cancel(of.set_id, "tester", world.now)

    assert (error.value.code, error.value.status) == ("request.state", 409)


def test_a_newer_set_supersedes_an_older_one_and_withdraws_what_was_not_fetched(world: World) -> None:
    world.device("ship-1", "-")
    world.device("ship-2", "-")
    old = world.set(["ship-1", "ship-2"], "app:2")
    world.publish(old)
    world.report(world.transfer(old, "ship-2"), "receiving")

    new = world.set(["ship-1", "ship-2"], "app:3")
    world.settled(old)

    assert world.states(old) == ("superseded", {"ship-1": "superseded", "ship-2": "superseded"})
    assert world.transfer(old, "ship-1").state == "cancelled"
    assert world.transfer(old, "ship-2").state == "receiving"
    assert world.states(new)[0] == "preparing"
    assert world.store.devices.desired_facts("ship-1")["revokedBundles"] == [world.transfer(old, "ship-1").bundle_id]


def test_a_newer_set_supersedes_only_the_devices_it_names(world: World) -> None:
    world.device("ship-1", "-")
    world.device("ship-2", "-")
    old = world.set(["ship-1", "ship-2"], "app:2")

    world.set(["ship-1"], "app:3")

    assert world.states(old) == ("preparing", {"ship-1": "superseded", "ship-2": "in_transit"})
    assert world.states(world.deliver(old, "ship-2"))[0] == "completed"


def test_another_workstream_supersedes_nothing(world: World) -> None:
    world.device("ship-1", "-")
    old = world.set(["ship-1"], "app:2", workstream="one")

    world.set(["ship-1"], "app:3", workstream="two")

    assert world.states(old)[1] == {"ship-1": "in_transit"}


def test_a_move_that_expects_another_state_changes_nothing(world: World) -> None:
    world.device("ship-1")
    of = world.accepted(["ship-1"], "app:2")

    moved = [world.store.sets.move(of.set_id, "accepted", "planning", "orchestrator", world.now) for _ in range(2)]

    assert moved == [True, False]
    assert len(world.store.sets.events(of.set_id, limit=10, after=None).items) == 2


def test_the_events_of_a_set_are_told_in_order_and_in_pages(world: World) -> None:
    world.device("ship-1", "-")
    of = world.deliver(world.set(["ship-1"], "app:2"), "ship-1")

    events, after = [], None
    while True:
        page = world.store.sets.events(of.set_id, limit=3, after=after)
        events += page.items
        if (after := page.next) is None:
            break

    moves = [(event["kind"], event["new"]) for event in events]
    assert moves == [
        ("set", "accepted"),
        ("set", "planning"),
        ("transfer", "queued"),
        ("member", "planned"),
        ("set", "preparing"),
        ("member", "in_transit"),
        ("transfer", "building"),
        ("transfer", "published"),
        ("transfer", "succeeded"),
        ("member", "ready"),
        ("set", "ready"),
        ("set", "completed"),
    ]


def test_lists_are_filtered_and_newest_first(world: World) -> None:
    world.device("ship-1")
    first = world.accepted(["ship-1"], "app:2", workstream="one")
    second = world.accepted(["ship-1"], "app:2", email="ivan@example.com")

    def ids(**filters: str) -> list[str]:
        options = {"owner": None, "state": None, "workstream": None} | filters
        return [of.set_id for of in world.store.sets.list_sets(limit=9, after=None, **options).items]

    assert ids() == [second.set_id, first.set_id]
    assert ids(owner="ivan@example.com") == [second.set_id]
    assert ids(workstream="one") == [first.set_id]
    assert ids(state="cancelled") == []


def test_settling_goes_round_so_that_a_limit_starves_no_set(world: World) -> None:
    sets = []
    for number in range(3):
        world.device(f"ship-{number}", "-")
        of = world.set([f"ship-{number}"], "app:2")
        world.publish(of)
        sets.append(world.settled(of).set_id)

    seen = []
    for _ in range(3):
        (next_one,) = world.store.sets.to_settle(world.later(), 1)
        world.store.sets.settle(next_one, world.now)
        seen.append(next_one)

    assert sorted(seen) == sorted(sets)


def test_what_else_a_failed_member_waited_for_is_not_sent_until_it_is_retried(world: World) -> None:
    world.device("bad", "-")
    world.device("good", "-")
    of = world.set(["bad", "good"], "app:2", "tool:1")
    world.deliver(of, "good")
    done, waiting = world.store.transfers.of_member(of.set_id, "bad")
    world.report(done, "failed", code="seal.invalid")
    world.report(waiting, "source_missing", 1)
    of = world.settled(of)
    assert of.state == "completed_with_failures"
    assert world.to_build(of) == ()

    world.store.sets.retry_member(of.set_id, "bad", "tester", world.now)
    world.plan(of)
    of = world.deliver(of, "bad")

    assert world.states(of) == ("completed", {"bad": "ready", "good": "ready"})


def test_members_in_trouble_are_counted_by_reason_and_the_rarest_reason_has_its_name(world: World) -> None:
    names = [f"ship-{number:02}" for number in range(25)]
    for name in (*names, "zulu"):
        world.device(name, "-")
    of = world.set([*names, "zulu"], "app:2")
    world.publish(of)
    for name in names:
        world.report(world.transfer(of, name), "failed", code="seal.invalid", detail="no seal")
    world.report(world.transfer(of, "zulu"), "failed", code="disk.full")
    world.settled(of)

    many, one = world.store.sets.troubles(of.set_id, {"failed"})

    assert (many.code, many.devices, many.named) == ("seal.invalid", 25, tuple(names[:20]))
    assert many.detail == "app:2: no seal"
    assert (one.code, one.devices, one.named) == ("disk.full", 1, ("zulu",))
    assert world.store.sets.troubles(of.set_id, {"ready"}) == ()
    assert world.store.sets.member_states(of.set_id) == {"failed": 26}


def test_a_set_knows_which_devices_keep_it_waiting_and_why(world: World) -> None:
    for name in ("lost", "silent"):
        world.device(name)
    for name in ("held", "well"):
        world.device(name, "-")
    of = world.set(["lost", "silent", "held", "well"], "app:2")

    world.twin_refused("lost", "hub.unknown_device")
    world.inventory("held", installation="disk-2")
    world.inventory("held", installation="disk-1", sequence=9)

    assert world.store.sets.waiting(of.set_id) == (
        Waiting("device.held", 1, "held"),
        Waiting("device.no_inventory", 1, "silent"),
        Waiting("hub.unknown_device", 1, "lost"),
    )


def test_transfers_show_building_apart_from_queued(world: World) -> None:
    world.device("ship-1", "-")
    of = world.set(["ship-1"], "app:2", "tool:1", "lib:1")
    first, second, _ = world.to_build(of)
    world.store.patches.begin_step(first, "worker", timedelta(hours=1), world.now)
    world.build(second)

    stages = world.store.transfers.stages(of.set_id)

    assert stages == {"building": 1, "publishing": 1, "queued": 1}
    assert sorted(transfer.stage for transfer in world.store.transfers.of_set(of.set_id)) == sorted(stages)


def test_the_events_of_a_set_are_its_own_and_those_of_its_transfers_from_its_order_to_its_end(world: World) -> None:
    for name in ("ship-1", "ship-2"):
        world.device(name, "-")
    of = world.set(["ship-1"], "app:2", workstream="one")
    world.set(["ship-2"], "tool:1", workstream="two")
    joined = world.set(["ship-1"], "app:2", workstream="three")
    of = world.deliver(of, "ship-1")
    world.settled(joined)

    subjects = {event["subject"] for event in events_of(world, of.set_id)}
    later = [(event["kind"], event["new"]) for event in events_of(world, joined.set_id)]

    assert subjects == {of.set_id, "ship-1", world.transfer(of, "ship-1").transfer_id}
    assert (later[0], later[-1]) == (("set", "accepted"), ("set", "completed"))
    assert ("transfer", "queued") not in later
    assert ("transfer", "succeeded") in later


def events_of(world: World, set_id: str) -> list[Any]:
    """Page by page, of one line each."""
    found, after = [], None
    while True:
        page = world.store.sets.events(set_id, limit=1, after=after)
        found += page.items
        if (after := page.next) is None:
            return found
