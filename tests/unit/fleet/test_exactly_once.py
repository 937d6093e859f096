"""Crashes, lost answers and repeated steps: every mail, release, bundle and patch once."""

from __future__ import annotations

from contextlib import suppress

import pytest

from activities import STEPS
from activities.confirm_members import ConfirmMembers
from activities.due_work import Run
from activities.notices.send import SendNotifications
from activities.release_members import ReleaseMembers
from activities.settle_sets import SettleSets
from imagedelta.errors import DependencyError
from services.store_port import MemberDue
from tests.simulators.calls import Crash
from tests.simulators.fleet import FleetSimulator


@pytest.fixture
def arrived(fleet: FleetSimulator) -> str:
    """A set whose images are on ship-1 and whose manifest is not released yet."""
    fleet.register("app:1", "app:2")
    fleet.enrol("ship-1", "app:1")
    set_id = fleet.start("app:2")
    fleet.tick()
    fleet.sail()
    return set_id


def a_due_mail(fleet: FleetSimulator) -> str:
    """The notification of a set that is complete."""
    fleet.register("app:1")
    fleet.enrol("ship-1", "app:1")
    set_id = fleet.start("app:1", manifest=False)
    fleet.mail.calls.fail("send")
    fleet.tick()
    assert fleet.mail.taken == []
    (notification,) = fleet.notifications(set_id)
    fleet.now.forward(minutes=10)
    return notification.notification_id


def test_a_mail_that_is_sent_is_not_sent_again(fleet: FleetSimulator) -> None:
    notification_id = a_due_mail(fleet)

    for _ in range(3):
        SendNotifications().do(Run(fleet.deps), notification_id)
    fleet.now.forward(days=1)
    fleet.run()

    assert len(fleet.mail.taken) == 1


def test_a_mail_that_a_server_did_not_take_is_sent_later_once(fleet: FleetSimulator) -> None:
    a_due_mail(fleet)

    fleet.run()
    fleet.run()

    assert len(fleet.mail.taken) == 1


def test_a_crash_between_the_mail_servers_answer_and_our_mark_sends_the_same_message_id_again(
    fleet: FleetSimulator,
) -> None:
    notification_id = a_due_mail(fleet)
    fleet.mail.crash_after_taking()
    with pytest.raises(Crash):
        fleet.attend()

    fleet.tick()
    while_the_lease_runs = len(fleet.mail.taken)
    fleet.now.forward(seconds=fleet.deps.settings.claim_lease.total_seconds() + 1)
    fleet.tick()
    fleet.now.forward(days=1)
    fleet.tick()

    assert while_the_lease_runs == 1
    assert [mail.message_id for mail in fleet.mail.taken] == [f"<{notification_id}@localhost>"] * 2


def test_a_recipient_who_is_refused_for_good_is_not_tried_again(fleet: FleetSimulator) -> None:
    a_due_mail(fleet)
    fleet.mail.refused.add("olga@example.com")

    fleet.attend()
    fleet.now.forward(days=1)
    fleet.tick()

    assert (fleet.mail.calls.count["send"], fleet.mail.taken) == (2, [])


def test_a_release_that_is_in_the_twin_already_is_only_recorded(fleet: FleetSimulator) -> None:
    fleet.register("app:1")
    fleet.enrol("ship-1", "app:1")
    first = fleet.start("app:1")
    fleet.run()

    again = fleet.start("app:1")
    fleet.run()

    assert [fleet.set(one).state for one in (first, again)] == ["completed", "completed"]
    assert len(fleet.hubs["north"].applied) == 1
    assert [one.applied_by_us for one in (*fleet.releases(first), *fleet.releases(again))] == [True, False]


@pytest.mark.parametrize("error", [DependencyError("the answer was lost"), Crash()], ids=["lost answer", "crash"])
def test_a_manifest_that_the_hub_took_before_sql_recorded_it_is_released_once_and_not_written_again(
    fleet: FleetSimulator, arrived: str, error: BaseException
) -> None:
    fleet.hubs["north"].calls.fail("apply_content", after=True, error=error)
    with suppress(Crash):
        fleet.attend()
    taken, unrecorded = len(fleet.hubs["north"].applied), fleet.members(arrived)

    fleet.now.forward(seconds=fleet.deps.settings.claim_lease.total_seconds() + 1)
    fleet.run()

    assert (taken, unrecorded) == (1, {"ship-1": "releasing"})
    assert len(fleet.hubs["north"].applied) == 1
    assert len(fleet.releases(arrived)) == 1
    assert fleet.set(arrived).state == "completed"


@pytest.mark.parametrize("call", ["module_twin", "modules_content", "apply_content"])
def test_a_hub_that_does_not_answer_has_the_release_done_once_later(
    fleet: FleetSimulator, arrived: str, call: str
) -> None:
    fleet.hubs["north"].calls.fail(call)
    fleet.attend()
    assert fleet.members(arrived) == {"ship-1": "releasing"}

    fleet.now.forward(minutes=10)
    fleet.run()

    assert len(fleet.hubs["north"].applied) == len(fleet.releases(arrived)) == 1
    assert fleet.set(arrived).state == "completed"


def test_every_step_run_again_after_a_set_is_complete_changes_nothing(fleet: FleetSimulator, arrived: str) -> None:
    fleet.run()
    (patch,) = fleet.patches()
    transfer = fleet.transfer(arrived, "ship-1")
    before = (fleet.set(arrived).state, fleet.members(arrived), transfer, patch, fleet.outbox("ship-1"))
    applied, mails = len(fleet.hubs["north"].applied), len(fleet.mail.taken)

    begun = fleet.step("begin_plan", setId=arrived)["value"]
    fleet.step("plan_batch", setId=arrived, range=["ship-1", "ship-1"])
    weighed = fleet.step("weigh_set", setId=arrived)["value"]
    fleet.step("start_batch", setId=arrived, range=["ship-1", "ship-1"], weighedAt=weighed["at"])
    assert (begun["claim"], begun["batches"], weighed["batches"]) == (None, [], [])
    fleet.step("deliver_step", patchId=patch.patch_id, worker="another")
    fleet.step("publish_batch", patchId=patch.patch_id, after="")
    SettleSets().do(Run(fleet.deps), arrived)
    due = MemberDue(arrived, "ship-1", "north")
    ReleaseMembers().do(Run(fleet.deps), due)
    ConfirmMembers().do(Run(fleet.deps), ("north", (due,)))
    fleet.tick()

    (patch_after,) = fleet.patches()
    after = (fleet.set(arrived).state, fleet.members(arrived), fleet.transfer(arrived, "ship-1"), patch_after)
    assert (*after, fleet.outbox("ship-1")) == before
    assert (len(fleet.hubs["north"].applied), len(fleet.mail.taken)) == (applied, mails)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("call", "nth"),
    [("compose_if_absent", 1), ("put_if_absent", 1), ("put_if_absent", 2), ("put_if_absent", 3), ("read_at", 3)],
)
def test_a_crash_at_a_blob_call_of_a_deployment_leaves_one_patch_and_one_bundle(
    fleet: FleetSimulator, call: str, nth: int, after: bool
) -> None:
    fleet.register("app:1", "app:2")
    ship = fleet.enrol("ship-1", "app:1")
    set_id = fleet.start("app:2")
    fleet.blobs.calls.fail(call, nth, after=after, error=Crash())
    with pytest.raises(Crash):
        fleet.tick()

    fleet.now.forward(minutes=10)
    fleet.run()

    (patch,) = fleet.patches()
    assert fleet.blobs.containers["patches"].keys() == {patch.blob, f"{patch.blob}.chunks"}
    assert (len(ship.fetched), fleet.set(set_id).state) == (1, "completed")


@pytest.mark.parametrize("step", sorted({step.__name__ for step in STEPS} - {"read_image", "prepare_patches"}))
def test_a_crash_between_a_step_and_the_task_hub_costs_nothing_twice(fleet: FleetSimulator, step: str) -> None:
    fleet.register("app:1", "app:2")
    ship = fleet.enrol("ship-1", "app:1")
    fleet.steps.fail(step, after=True, error=Crash())
    if step == "publish_batch":
        fleet.blobs.calls.fail("compose_if_absent")  # else nothing is left for a step of its own

    set_id = fleet.start("app:2")
    crashes = run_through_crashes(fleet)

    assert crashes == 1
    assert fleet.set(set_id).state == "completed"
    assert (len(fleet.patches()), len(ship.fetched), len(fleet.transfers(set_id))) == (1, 1, 1)
    assert (len(fleet.hubs["north"].applied), len(fleet.releases(set_id)), len(fleet.mail.taken)) == (1, 1, 2)


def run_through_crashes(fleet: FleetSimulator) -> int:
    """As ``run``, with a process that is started again whenever it dies; returns how often it died."""
    try:
        fleet.run()
    except Crash:
        fleet.now.forward(minutes=10)
        return 1 + run_through_crashes(fleet)
    return 0


def test_a_crash_between_a_plan_and_its_sets_state_leaves_no_figure_behind(fleet: FleetSimulator) -> None:
    fleet.register("app:1", "app:2")
    fleet.enrol("ship-1", "app:1")
    set_id = fleet.start("app:2")
    sets = fleet.deps.store.sets
    fleet.steps.fail("plan_batch", after=True, error=Crash())
    with pytest.raises(Crash):
        fleet.tick()
    planned = sets.figures([set_id])[set_id]

    fleet.step("plan_batch", setId=set_id, range=["ship-1", "ship-1"])
    fleet.step("weigh_set", setId=set_id)
    fleet.step("weigh_set", setId=set_id)

    assert planned.planned_bytes == fleet.transfer(set_id, "ship-1").estimated_bytes
    assert sets.figures([set_id])[set_id] == planned
