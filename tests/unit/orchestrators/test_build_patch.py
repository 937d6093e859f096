"""build_patch on the real SDK: a patch is built, published at once, and the next one is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.orchestrators.workflow import INSTANCE, Workflow, final, ok

pytestmark = [
    pytest.mark.filterwarnings("ignore:azure.functions df_loads:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Potential duplicate Task completion:UserWarning"),
]

PATCH = {"patchId": "p1"}


def a_workflow(**changes: Any) -> Workflow:
    answers = {
        "deliver_step": ok(state="verified", after=""),
        "publish_batch": ok(published=1, after=None),
        "start_due": ok(),
    }
    return Workflow(**{**answers, **changes})


def raising(payload: dict[str, Any]) -> Any:
    raise OSError("busy")


def test_a_patch_is_built_and_published_and_the_next_one_started(tmp_path: Path) -> None:
    flow = a_workflow()

    status, _ = flow.run("build_patch", PATCH, tmp_path)

    assert (status, flow.names) == ("Completed", ["deliver_step", "publish_batch", "start_due"])
    assert flow.given("deliver_step", "worker") == [INSTANCE], "its own lease is taken over after a crash"


@pytest.mark.parametrize("step", ["deliver_step", "publish_batch"])
@pytest.mark.parametrize("answer", [final("content.missing"), raising], ids=["for good", "for ever"])
def test_a_patch_in_trouble_still_has_the_next_one_started(step: str, answer: Any, tmp_path: Path) -> None:
    flow = a_workflow(**{step: answer})

    status, _ = flow.run("build_patch", PATCH, tmp_path)

    assert (status, flow.names[-1]) == ("Completed", "start_due")


def test_a_large_patch_takes_as_many_steps_as_it_needs_and_is_published_once(tmp_path: Path) -> None:
    answers = ["more"] * 5 + ["verified"]
    flow = a_workflow(deliver_step=lambda payload: ok(state=answers.pop(0), after=""))

    flow.run("build_patch", PATCH, tmp_path)

    assert flow.names == [*["deliver_step"] * 6, "publish_batch", "start_due"]


@pytest.mark.parametrize("state", ["failed", "put_off", "left"])
def test_what_is_not_verified_is_not_published(state: str, tmp_path: Path) -> None:
    flow = a_workflow(deliver_step=ok(state=state))

    flow.run("build_patch", PATCH, tmp_path)

    assert flow.names == ["deliver_step", "start_due"]


def test_power_lost_at_any_commit_replays_to_the_same_end(tmp_path: Path) -> None:
    for cut in range(2, a_workflow().commits("build_patch", PATCH, tmp_path) + 1):
        flow = a_workflow()

        status, _ = flow.run_cut("build_patch", PATCH, tmp_path, cut)

        assert (status, flow.names[-1]) == ("Completed", "start_due"), cut


def test_a_patch_that_everybody_has_needs_no_further_step(tmp_path: Path) -> None:
    flow = a_workflow(deliver_step=ok(state="verified", after=None))

    flow.run("build_patch", PATCH, tmp_path)

    assert flow.names == ["deliver_step", "start_due"]


def test_publishing_goes_on_behind_those_who_have_the_patch_already(tmp_path: Path) -> None:
    flow = a_workflow(deliver_step=ok(state="verified", after="t50"))

    flow.run("build_patch", PATCH, tmp_path)

    assert flow.given("publish_batch", "after") == ["t50"]
