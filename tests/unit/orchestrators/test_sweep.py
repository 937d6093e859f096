"""sweep on the real SDK: one round does everything that is due, and what fails is left to the next one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.orchestrators.workflow import Workflow, final, ok

pytestmark = [
    pytest.mark.filterwarnings("ignore:azure.functions df_loads:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Potential duplicate Task completion:UserWarning"),
]

DUE = {
    "sets": ok(sets=["set-1", "set-2"]),
    "messages": ok(notifications=["mail-1", "mail-2"], devices=["boat", "ship"]),
}
SETTLED = ok(state="in_transit", release=[], confirm=[])


class Sets:
    """settle_set of set-1, which has ``rounds`` of members to release; set-2 has none."""

    def __init__(self, *rounds: list[str]) -> None:
        self._rounds = list(rounds)

    def __call__(self, payload: dict[str, Any]) -> dict[str, Any]:
        if payload["setId"] != "set-1" or not self._rounds:
            return SETTLED
        return ok(state="releasing", release=self._rounds.pop(0), confirm=["old-boat"])


def a_workflow(**changes: Any) -> Workflow:
    answers = {
        "list_due": lambda payload: DUE[payload["of"]],
        "settle_set": Sets(["boat", "ship"]),
        "release_member": ok(released=True),
        "confirm_member": ok(state="released"),
        "send_notification": ok(sent=True),
        "sync_device": ok(written=True),
    }
    return Workflow(**{**answers, **changes})


def raising(key: str, name: str) -> Any:
    def run(payload: dict[str, Any]) -> dict[str, Any]:
        if payload[key] == name:
            raise OSError("it does not answer")
        return ok(released=True, sent=True, written=True)

    return run


def run(flow: Workflow, folder: Path) -> None:
    status, _ = flow.run("sweep", {}, folder)
    assert status == "Completed"


def test_one_round_settles_releases_confirms_settles_again_and_tells(tmp_path: Path) -> None:
    flow = a_workflow()

    run(flow, tmp_path)

    assert flow.given("settle_set", "setId") == ["set-1", "set-2", "set-1"], "once more, as it was moved"
    assert sorted(flow.given("release_member", "deviceId")) == ["boat", "ship"]
    assert flow.given("confirm_member", "deviceId") == ["old-boat"]
    assert sorted(flow.given("send_notification", "notificationId")) == ["mail-1", "mail-2"]
    assert sorted(flow.given("sync_device", "deviceId")) == ["boat", "ship"]


def test_mails_of_what_this_round_moved_are_asked_for_after_it(tmp_path: Path) -> None:
    flow = a_workflow()

    run(flow, tmp_path)

    questions = [position for position, (name, _) in enumerate(flow.calls) if name == "list_due"]
    settlings = [position for position, (name, _) in enumerate(flow.calls) if name == "settle_set"]
    assert questions[0] < min(settlings) < max(settlings) < questions[1]


def test_where_nothing_is_due_only_the_two_questions_are_asked(tmp_path: Path) -> None:
    nothing = {"sets": ok(sets=[]), "messages": ok(notifications=[], devices=[])}
    flow = a_workflow(list_due=lambda payload: nothing[payload["of"]])

    run(flow, tmp_path)

    assert flow.names == ["list_due", "list_due"]


def test_settling_ends_after_three_times_so_that_a_set_without_end_keeps_no_mail_waiting(tmp_path: Path) -> None:
    flow = a_workflow(settle_set=Sets(*([["boat"]] * 50)))

    run(flow, tmp_path)

    assert flow.given("settle_set", "setId").count("set-1") == 3
    assert "send_notification" in flow.names


@pytest.mark.parametrize(
    ("step", "key", "broken", "others"),
    [
        ("settle_set", "setId", "set-2", ["send_notification", "sync_device"]),
        ("release_member", "deviceId", "boat", ["confirm_member", "send_notification", "sync_device"]),
        ("confirm_member", "deviceId", "old-boat", ["send_notification", "sync_device"]),
        ("send_notification", "notificationId", "mail-1", ["sync_device"]),
        ("sync_device", "deviceId", "boat", ["send_notification"]),
    ],
)
def test_a_step_that_raises_is_tried_once_and_stops_neither_its_like_nor_what_follows(
    step: str, key: str, broken: str, others: list[str], tmp_path: Path
) -> None:
    flow = a_workflow(**{step: raising(key, broken)})

    run(flow, tmp_path)

    assert flow.given(step, key).count(broken) == 1, "the next round is its retry"
    assert set(others) <= set(flow.names)


def test_the_others_of_a_fan_out_are_done_when_one_raises(tmp_path: Path) -> None:
    flow = a_workflow(release_member=raising("deviceId", "boat"), send_notification=raising("notificationId", "mail-1"))

    run(flow, tmp_path)

    assert "ship" in flow.given("release_member", "deviceId")
    assert "mail-2" in flow.given("send_notification", "notificationId")


def test_a_set_that_cannot_be_settled_for_good_leaves_the_other_to_be_released(tmp_path: Path) -> None:
    settle = Sets(["boat"])
    flow = a_workflow(
        settle_set=lambda payload: final("request.not_found") if payload["setId"] == "set-2" else settle(payload)
    )

    run(flow, tmp_path)

    assert flow.given("release_member", "deviceId") == ["boat"]


def test_power_lost_at_any_commit_replays_to_the_same_end(tmp_path: Path) -> None:
    """The engine fails an instance whose replay decides otherwise, so Completed means deterministic."""

    def settle(payload: dict[str, Any]) -> dict[str, Any]:
        return ok(state="releasing", release=["boat"], confirm=[]) if payload["setId"] == "set-1" else SETTLED

    commits = a_workflow(settle_set=settle).commits("sweep", {}, tmp_path)
    for cut in range(2, commits + 1):
        flow = a_workflow(settle_set=settle)

        status, _ = flow.run_cut("sweep", {}, tmp_path, cut)

        assert status == "Completed", cut
        assert set(flow.given("send_notification", "notificationId")) == {"mail-1", "mail-2"}
        assert set(flow.given("sync_device", "deviceId")) == {"boat", "ship"}
