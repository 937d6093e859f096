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
        "build_patch": ok(built=True),
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


def test_patches_are_built_before_bundles_are_published_and_the_set_is_settled_last(tmp_path: Path) -> None:
    flow = a_workflow()

    status, output = flow.run("deploy_set", ORDER, tmp_path)

    assert (status, output["value"]["state"]) == ("Completed", "in_transit")
    assert flow.names == [
        "plan_set",
        "list_work",
        *["build_patch"] * 3,
        "list_work",
        *["publish_batch"] * 3,
        "settle_set",
    ]
    assert sorted(flow.given("build_patch", "patchId")) == ["p1", "p2", "p3"]
    assert sorted(flow.given("publish_batch", "patchId")) == ["p1", "p2", "p3"]


def test_patches_are_built_in_the_name_of_the_set_so_that_its_leases_are_taken_over(tmp_path: Path) -> None:
    flow = a_workflow()

    flow.run("deploy_set", ORDER, tmp_path)

    assert flow.given("build_patch", "worker") == [INSTANCE] * 3


@pytest.mark.parametrize("state", ["awaiting_approval", "failed", "cancelled", "superseded", "completed"])
def test_nothing_is_done_after_a_plan_that_is_not_to_be_carried_out(state: str, tmp_path: Path) -> None:
    flow = a_workflow(plan_set=ok(state=state))

    assert flow.run("deploy_set", ORDER, tmp_path) == ("Completed", ok(state=state))
    assert flow.names == ["plan_set"]


def test_nothing_is_done_after_a_plan_that_failed_for_good(tmp_path: Path) -> None:
    flow = a_workflow(plan_set=final("request.not_found"))

    assert flow.run("deploy_set", ORDER, tmp_path) == ("Completed", final("request.not_found"))
    assert flow.names == ["plan_set"]


@pytest.mark.parametrize("trouble", [final("content.missing"), ok(built=False)])
def test_a_patch_that_cannot_be_built_stops_no_other(trouble: dict[str, Any], tmp_path: Path) -> None:
    flow = a_workflow(build_patch=lambda payload: trouble if payload["patchId"] == "p1" else ok(built=True))

    status, _ = flow.run("deploy_set", ORDER, tmp_path)

    assert status == "Completed"
    assert sorted(flow.given("build_patch", "patchId")) == ["p1", "p2", "p3"], "tried once, as it cannot be healed"
    assert (flow.names.count("publish_batch"), flow.names[-1]) == (3, "settle_set")


def test_a_patch_whose_step_raises_for_ever_stops_no_other_batch_no_bundle_and_no_settling(tmp_path: Path) -> None:
    flow = a_workflow(build_patch=busy_for("p1", "patchId", 1000, ok(built=True)))

    status, _ = flow.run("deploy_set", ORDER, tmp_path)

    assert status == "Completed"
    assert {"p2", "p3"} <= set(flow.given("build_patch", "patchId"))
    assert flow.given("build_patch", "patchId").count("p1") == 5, "then it is left to the next start"
    assert (flow.names.count("publish_batch"), flow.names[-1]) == (3, "settle_set")


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
        assert sorted(set(flow.given("build_patch", "patchId"))) == ["p1", "p2", "p3"]
        assert whole <= len(flow.calls) <= whole + 3, "at most the fan-out that was under way is done again"
