"""deploy_set on the real SDK: what is done in which order, what a failure stops, and what a replay repeats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagedelta_host.durable.store import DurableStore, Filter
from orchestrators.deploy_set import GROUP
from tests.unit.orchestrators.workflow import Workflow, final, ok

pytestmark = [
    pytest.mark.filterwarnings("ignore:azure.functions df_loads:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Potential duplicate Task completion:UserWarning"),
]

ORDER = {"setId": "set-1"}
CLAIM, AT = "2030-01-01T12:05:00+00:00", "2030-01-01T12:00:00+00:00"
BATCHES = [["a", "f"], ["g", "m"], ["n", "z"]]
PLANNED = ["begin_plan", *["plan_batch"] * 3, "weigh_set", *["start_batch"] * 3, "end_plan", "start_due"]


def begun(*batches: list[str], claim: str | None = CLAIM, state: str = "planning") -> dict[str, Any]:
    return ok(state=state, claim=claim, batches=list(batches))


def a_workflow(**changes: Any) -> Workflow:
    answers = {
        "begin_plan": begun(*BATCHES),
        "plan_batch": ok(devices=100),
        "weigh_set": ok(state="preparing", at=AT, batches=BATCHES),
        "start_batch": ok(),
        "end_plan": ok(),
        "start_due": ok(),
    }
    return Workflow(**{**answers, **changes})


def busy_for(batch: list[str], times: int) -> Any:
    """An answer that raises the first ``times`` times it is asked for ``batch``."""
    asked: list[str] = []

    def run(payload: dict[str, Any]) -> dict[str, Any]:
        if payload["range"] == batch:
            asked.append("")
            if len(asked) <= times:
                raise OSError("busy")
        return ok(devices=1)

    return run


def test_all_is_planned_before_it_is_weighed_and_weighed_before_it_is_started(tmp_path: Path) -> None:
    flow = a_workflow()

    status, output = flow.run("deploy_set", ORDER, tmp_path)

    assert (status, output["value"]["state"]) == ("Completed", "preparing")
    assert flow.names == PLANNED
    assert sorted(flow.given("plan_batch", "range")) == sorted(flow.given("start_batch", "range")) == BATCHES
    assert flow.given("start_batch", "weighedAt") == [AT] * 3
    assert flow.given("end_plan", "claim") == [CLAIM]


@pytest.mark.parametrize("state", ["awaiting_approval", "failed", "cancelled", "superseded", "completed"])
def test_a_set_that_is_not_to_be_planned_is_left_alone(state: str, tmp_path: Path) -> None:
    flow = a_workflow(begin_plan=begun(claim=None, state=state))

    flow.run("deploy_set", ORDER, tmp_path)

    assert flow.names == ["begin_plan"]


def test_nothing_is_done_for_a_set_that_does_not_exist(tmp_path: Path) -> None:
    flow = a_workflow(begin_plan=final("request.not_found"))

    assert flow.run("deploy_set", ORDER, tmp_path) == ("Completed", final("request.not_found"))
    assert flow.names == ["begin_plan"]


def test_a_plan_that_waits_for_approval_starts_nothing_and_is_given_up(tmp_path: Path) -> None:
    flow = a_workflow(weigh_set=ok(state="awaiting_approval", at=AT, batches=[]))

    flow.run("deploy_set", ORDER, tmp_path)

    assert flow.names == [name for name in PLANNED if name != "start_batch"]


@pytest.mark.parametrize("step", ["plan_batch", "start_batch"])
@pytest.mark.parametrize("trouble", ["raises for ever", "fails for good"])
def test_a_batch_in_trouble_stops_no_other_and_nothing_that_follows(step: str, trouble: str, tmp_path: Path) -> None:
    answer = busy_for(BATCHES[1], 1000) if trouble == "raises for ever" else final("internal")
    flow = a_workflow(**{step: answer})

    status, _ = flow.run("deploy_set", ORDER, tmp_path)

    assert status == "Completed"
    assert list(dict.fromkeys(flow.names)) == list(dict.fromkeys(PLANNED))
    assert {tuple(one) for one in flow.given(step, "range")} == {tuple(one) for one in BATCHES}


def test_a_weighing_that_fails_starts_nothing_and_the_claim_is_given_back(tmp_path: Path) -> None:
    flow = a_workflow(weigh_set=final("internal"))

    flow.run("deploy_set", ORDER, tmp_path)

    assert flow.names[-2:] == ["end_plan", "start_due"]
    assert "start_batch" not in flow.names


def test_a_step_that_was_busy_is_tried_again_until_it_answers(tmp_path: Path) -> None:
    flow = a_workflow(plan_batch=busy_for(BATCHES[0], 2))

    status, _ = flow.run("deploy_set", ORDER, tmp_path)

    assert (status, flow.names.count("plan_batch")) == ("Completed", 5)


def test_where_there_is_nothing_to_plan_what_is_planned_is_weighed_and_started(tmp_path: Path) -> None:
    flow = a_workflow(begin_plan=begun(state="preparing"))

    flow.run("deploy_set", ORDER, tmp_path)

    assert flow.names == [name for name in PLANNED if name != "plan_batch"]


def test_power_lost_at_any_commit_replays_to_the_same_end_and_repeats_no_recorded_step(tmp_path: Path) -> None:
    """The engine fails an instance whose replay decides otherwise, so Completed means deterministic."""
    commits = a_workflow().commits("deploy_set", ORDER, tmp_path)
    assert commits > len(PLANNED)

    for cut in range(2, commits + 1):
        flow = a_workflow()
        status, output = flow.run_cut("deploy_set", ORDER, tmp_path, cut)

        assert (status, output["value"]["state"]) == ("Completed", "preparing"), cut
        assert {tuple(one) for one in flow.given("start_batch", "range")} == {tuple(one) for one in BATCHES}
        assert len(PLANNED) <= len(flow.calls) <= len(PLANNED) + 3, "at most the fan-out that was under way again"


def test_a_set_of_ten_thousand_devices_has_a_history_that_is_replayed_in_a_moment(tmp_path: Path) -> None:
    """A hundred batches, with device ids as long as hubs let them be."""
    batches = [[f"{number:0128}", f"{number + 1:0128}"] for number in range(100)]
    flow = a_workflow(begin_plan=begun(*batches), weigh_set=ok(state="preparing", at=AT, batches=batches))

    status, _ = flow.run("deploy_set", ORDER, tmp_path)

    store = DurableStore(tmp_path / "durable.sqlite")
    sizes = [sum(map(len, store.history(instance.id))) for instance in store.find(Filter(), 1000)]
    store.close()
    assert status == "Completed"
    assert len(sizes) == 1 + 2 * (100 // GROUP)
    assert max(sizes) < 200_000
