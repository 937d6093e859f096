"""deploy_set on the real SDK: what is done in which order, what a failure stops, and what a replay repeats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.orchestrators.workflow import INSTANCE, Workflow, final, ok

pytestmark = [
    pytest.mark.filterwarnings("ignore:azure.functions df_loads:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Potential duplicate Task completion:UserWarning"),
]

ORDER = {"setId": "set-1"}
WORK = {"patches": [["p1", "p2"], ["p3"]], "bundles": [["p1", "p2", "p3"]]}


def a_workflow(**changes: Any) -> Workflow:
    answers = {
        "plan_set": ok(state="preparing"),
        "list_work": lambda payload: ok(batches=WORK[payload["of"]]),
        "build_step": ok(state="verified"),
        "publish_batch": ok(published=1, after=None),
        "settle_set": ok(state="in_transit", release=[], confirm=[]),
    }
    return Workflow(**{**answers, **changes})


def busy_for(name: str, key: str, times: int, answer: dict[str, Any]) -> Any:
    """An answer that raises the first ``times`` times it is asked for ``name``."""
    asked: list[str] = []

    def run(payload: dict[str, Any]) -> dict[str, Any]:
        if payload[key] == name:
            asked.append(name)
            if len(asked) <= times:
                raise OSError("busy")
        return answer

    return run


def test_each_patch_is_published_as_it_is_built_then_what_was_built_before_and_the_set_is_settled_last(
    tmp_path: Path,
) -> None:
    flow = a_workflow()

    status, output = flow.run("deploy_set", ORDER, tmp_path)

    assert (status, output["value"]["state"]) == ("Completed", "in_transit")
    building, publishing = flow.names[2:8], flow.names[9:-1]
    assert [*flow.names[:2], flow.names[8], flow.names[-1]] == ["plan_set", "list_work", "list_work", "settle_set"]
    assert sorted(building) == ["build_step"] * 3 + ["publish_batch"] * 3
    assert publishing == ["publish_batch"] * 3
    assert sorted(flow.given("build_step", "patchId")) == ["p1", "p2", "p3"]
    assert sorted(flow.given("publish_batch", "patchId")) == ["p1", "p1", "p2", "p2", "p3", "p3"]


def test_a_patch_is_published_before_the_next_of_its_lane_is_built(tmp_path: Path) -> None:
    flow = a_workflow()

    flow.run("build_lane", {"worker": "deploy-1", "ids": ["p1", "p2"]}, tmp_path)

    assert flow.names == ["build_step", "publish_batch"] * 2
    assert flow.given("publish_batch", "patchId") == ["p1", "p2"]


def test_a_patch_of_many_steps_is_built_to_its_end(tmp_path: Path) -> None:
    states = iter(["more"] * 5 + ["verified"])
    flow = a_workflow(build_step=lambda payload: ok(state=next(states)))

    status, output = flow.run("build_lane", {"worker": "deploy-1", "ids": ["p1"]}, tmp_path)

    assert (status, output) == ("Completed", {"built": 1})
    assert flow.names == ["build_step"] * 6 + ["publish_batch"]


def test_of_many_patches_few_are_built_at_once(tmp_path: Path) -> None:
    """Whatever else is to be done finds a place in the queue behind a few steps, not behind a fleet's builds."""
    ids = [f"p{number}" for number in range(30)]
    flow = a_workflow()

    _, output = flow.run("build_patches", {"worker": "deploy-1", "ids": ids}, tmp_path)

    assert output == {"built": 30}
    assert sorted(flow.given("build_step", "patchId")) == sorted(ids)
    waiting = most = 0
    for name in flow.names:
        waiting += 1 if name == "build_step" else -1
        most = max(most, waiting)
    assert most <= 4


def test_patches_are_built_in_the_name_of_the_set_so_that_its_leases_are_taken_over(tmp_path: Path) -> None:
    flow = a_workflow()

    flow.run("deploy_set", ORDER, tmp_path)

    assert flow.given("build_step", "worker") == [INSTANCE] * 3


@pytest.mark.parametrize("state", ["awaiting_approval", "failed", "cancelled", "superseded", "completed"])
def test_nothing_is_done_after_a_plan_that_is_not_to_be_carried_out(state: str, tmp_path: Path) -> None:
    flow = a_workflow(plan_set=ok(state=state))

    assert flow.run("deploy_set", ORDER, tmp_path) == ("Completed", ok(state=state))
    assert flow.names == ["plan_set"]


def test_nothing_is_done_after_a_plan_that_failed_for_good(tmp_path: Path) -> None:
    flow = a_workflow(plan_set=final("request.not_found"))

    assert flow.run("deploy_set", ORDER, tmp_path) == ("Completed", final("request.not_found"))
    assert flow.names == ["plan_set"]


@pytest.mark.parametrize(
    "trouble", [final("content.missing"), ok(state="put_off"), ok(state="failed"), ok(state="left")]
)
def test_a_patch_that_cannot_be_built_stops_no_other(trouble: dict[str, Any], tmp_path: Path) -> None:
    flow = a_workflow(build_step=lambda payload: trouble if payload["patchId"] == "p1" else ok(state="verified"))

    status, _ = flow.run("deploy_set", ORDER, tmp_path)

    assert status == "Completed"
    assert sorted(flow.given("build_step", "patchId")) == ["p1", "p2", "p3"], "tried once, as it cannot be healed"
    assert (flow.names.count("publish_batch"), flow.names[-1]) == (2 + 3, "settle_set")


def test_a_patch_whose_step_raises_for_ever_stops_no_other_batch_no_bundle_and_no_settling(tmp_path: Path) -> None:
    flow = a_workflow(build_step=busy_for("p1", "patchId", 1000, ok(state="verified")))

    status, _ = flow.run("deploy_set", ORDER, tmp_path)

    assert status == "Completed"
    assert {"p2", "p3"} <= set(flow.given("build_step", "patchId"))
    assert flow.given("build_step", "patchId").count("p1") == 5, "then it is left to the next start"
    assert (flow.names.count("publish_batch"), flow.names[-1]) == (2 + 3, "settle_set")


def test_a_bundle_whose_step_raises_for_ever_stops_no_other(tmp_path: Path) -> None:
    flow = a_workflow(publish_batch=busy_for("p2", "patchId", 1000, ok(published=1, after=None)))

    flow.run("deploy_set", ORDER, tmp_path)

    assert {"p1", "p3"} <= set(flow.given("publish_batch", "patchId"))
    assert flow.names[-1] == "settle_set"


def test_a_step_that_was_busy_is_tried_again_until_it_answers(tmp_path: Path) -> None:
    flow = a_workflow(plan_set=busy_for("set-1", "setId", 2, ok(state="preparing")))

    status, _ = flow.run("deploy_set", ORDER, tmp_path)

    assert status == "Completed"
    assert (flow.names.count("plan_set"), flow.names[-1]) == (3, "settle_set")


def test_where_no_work_is_left_the_set_is_only_settled(tmp_path: Path) -> None:
    flow = a_workflow(list_work=ok(batches=[]))

    flow.run("deploy_set", ORDER, tmp_path)

    assert flow.names == ["plan_set", "list_work", "list_work", "settle_set"]


def test_power_lost_at_any_commit_replays_to_the_same_end_and_repeats_no_recorded_step(tmp_path: Path) -> None:
    """The engine fails an instance whose replay decides otherwise, so Completed means deterministic."""
    commits = a_workflow().commits("deploy_set", ORDER, tmp_path)
    whole = len(["plan", "list", "p1", "p2", "p3", "list", "t1", "t2", "t3", "settle"])
    assert commits > whole

    for cut in range(2, commits + 1):
        flow = a_workflow()
        status, output = flow.run_cut("deploy_set", ORDER, tmp_path, cut)

        assert (status, output["value"]["state"]) == ("Completed", "in_transit"), cut
        assert sorted(set(flow.given("build_step", "patchId"))) == ["p1", "p2", "p3"]
        assert whole <= len(flow.calls) <= whole + 3, "at most the fan-out that was under way is done again"
