"""Orchestrators: for the same history, Microsoft's worker and the embedded host ask for the same actions.

The histories are those of the embedded host's own engine, episode by episode: steps that succeed, fail for good, and
raise until their retries are used up, sub-orchestrations, and replays.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imagedelta_host.durable.episode import Answer
from imagedelta_host.durable.orchestrator import run_orchestrator
from orchestrators import ORCHESTRATORS, retrying
from tests.unit.host.engine_harness import Machine, orchestrator
from tests.unit.orchestrators.workflow import Workflow, final, ok
from tests.worker.azure_worker import ROOT, AzureWorker

pytestmark = [
    pytest.mark.filterwarnings("ignore:azure.functions df_loads:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Potential duplicate Task completion:UserWarning"),
]

BATCHES = [["a", "m"], ["n", "z"]]
GOOD = {
    "begin_plan": ok(state="planning", claim="2030-01-01T12:05:00+00:00", batches=BATCHES),
    "plan_batch": ok(devices=100),
    "weigh_set": ok(state="preparing", at="2030-01-01T12:00:00+00:00", batches=BATCHES),
    "start_batch": ok(),
    "end_plan": ok(),
    "start_due": ok(),
    "deliver_step": ok(state="verified", after=""),
    "publish_batch": ok(published=1, after=None),
    "read_image": ok(imageId="sha256:" + "0" * 64, name="Smörgås \U0001f6f3"),
    "attend": ok(done={"settle": 2}, more=False),
}
INPUTS: dict[str, Any] = {
    "build_patch": {"patchId": "p1"},
    "deploy_set": {"setId": "set-1"},
    "fan_out": {"step": "plan_batch", "payloads": [{"setId": "s", "range": ["a", "b"]}]},
    "publish_patch": {"patchId": "p1"},
    "register_image": {"registrationId": "r-1"},
    "nudge": {},
}


def raising(*_: Any) -> Any:
    raise OSError("it does not answer: “später”")


def failing_once() -> Any:
    asked: list[Any] = []

    def run(payload: dict[str, Any]) -> Any:
        asked.append(payload)
        return raising() if len(asked) == 1 else GOOD["plan_batch"]

    return run


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"{name}: all is well": (name, {}) for name in INPUTS},
    "deploy_set: the plan fails for good": ("deploy_set", {"begin_plan": final("plan.impossible")}),
    "deploy_set: the plan is never reached": ("deploy_set", {"begin_plan": raising}),
    "deploy_set: a batch is never planned": ("deploy_set", {"plan_batch": raising}),
    "deploy_set: a batch is planned at the second try": ("deploy_set", {"plan_batch": failing_once()}),
    "build_patch: it is never built": ("build_patch", {"deliver_step": raising}),
    "deploy_set: an answer of a shape that nobody foresaw": ("deploy_set", {"begin_plan": {"ok": True}}),
    "register_image: it never succeeds": ("register_image", {"read_image": raising}),
    "nudge: the step raises": ("nudge", {"attend": raising}),
    "nudge: there is always more": ("nudge", {"attend": ok(done={}, more=True)}),
    "nudge: the step fails for good": ("nudge", {"attend": final("dependency")}),
}


@pytest.fixture(scope="module")
def worker() -> Any:
    found = AzureWorker(ROOT)
    yield found
    found.stop()


def episodes(name: str, changes: dict[str, Any], folder: Path) -> list[tuple[str, str]]:
    """Name and context of every call of an orchestrator while the engine carries ``name`` out."""
    seen: list[tuple[str, str]] = []
    plain = Machine._orchestrate

    async def record(machine: Machine, called: str, context: str) -> Answer:
        seen.append((called, context))
        return await plain(machine, called, context)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Machine, "_orchestrate", record)
        patch.setattr(retrying, "_FIRST_PAUSE_MILLISECONDS", 10)
        Workflow(**{**GOOD, **changes}).run(name, INPUTS[name], folder)
    return seen


def by_worker(worker: AzureWorker, name: str, context: str) -> dict[str, Any]:
    done = worker.invoke(name, {"context": {"json": context}})
    if done.error is not None:
        message, _, state = done.error.partition("\n\n$OutOfProcData$:")
        return {**_state(json.loads(state)), "raised": message.removeprefix("Exception: ")}
    assert done.returned is not None
    return _state(json.loads(done.returned["json"]))


def _state(state: dict[str, Any]) -> dict[str, Any]:
    return {
        "actions": [action for group in state["actions"] for action in group],
        "done": state["isDone"],
        "output": state.get("output"),
        "error": state.get("error"),
        "custom_status": state.get("customStatus"),
    }


def by_embedded_host(name: str, context: str) -> dict[str, Any]:
    body = next(one for one in ORCHESTRATORS if one.__name__ == name)
    answer = vars(run_orchestrator(orchestrator(body), context))
    del answer["details"]  # the traceback: paths and lines of two processes
    return answer if answer["error"] is None else {**answer, "raised": answer["error"]}


@pytest.mark.parametrize("case", CASES)
def test_every_episode_asks_for_the_same(worker: AzureWorker, case: str, tmp_path: Path) -> None:
    name, changes = CASES[case]

    seen = episodes(name, changes, tmp_path)

    assert len(seen) > 1
    for called, context in seen:
        assert by_worker(worker, called, context) == by_embedded_host(called, context)


def test_every_orchestrator_is_compared() -> None:
    assert {body.__name__ for body in ORCHESTRATORS} == set(INPUTS)
