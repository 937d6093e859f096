"""Steps: Microsoft's worker and a worker process of the embedded host return the same for the same input."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from activities import STEPS
from imagedelta_host.workers import ActivityRaised, Worker
from tests.worker.azure_worker import ROOT, AzureWorker
from tests.worker.conftest import Both

pytestmark = pytest.mark.e2e
NONE = "none-at-all"

INPUTS: dict[str, Any] = {
    "attend": {"seconds": 1},
    "begin_plan": {"setId": NONE},
    "plan_batch": {"setId": NONE, "range": ["a", "b"]},
    "weigh_set": {"setId": NONE},
    "start_batch": {"setId": NONE, "range": ["a", "b"], "weighedAt": "2030-01-01T00:00:00+00:00"},
    "end_plan": {"setId": NONE, "claim": "2030-01-01T00:00:00+00:00"},
    "deliver_step": {"patchId": NONE, "worker": "w"},
    "publish_batch": {"patchId": NONE, "after": ""},
    "read_image": {"registrationId": NONE},
    "prepare_patches": {"registrationId": NONE},
}
ODD: dict[str, Any] = {
    "nothing": None,
    "a list": [],
    "text": "a set",
    "another field": {"color": "red"},
    "what is not ASCII": {"setId": "Smörgås \U0001f6f3"},
}


CASES = {name: (name, payload) for name, payload in INPUTS.items()}
CASES |= {f"begin_plan with {what}": ("begin_plan", payload) for what, payload in ODD.items()}


@pytest.fixture(scope="module")
def by_embedded_host(both: Both) -> dict[str, Any]:
    """How each case ends in a worker process of the embedded host, over its socket."""

    async def run() -> dict[str, Any]:
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in both.settings.items():
                patch.setenv(variable, value)
            process = await Worker.start(ROOT)
        try:
            await _ended(process, "attend", {"seconds": 60})  # what other tests left to be done
            return {case: await _ended(process, *what) for case, what in CASES.items()}
        finally:
            await process.stop()

    return asyncio.run(run())


async def _ended(process: Worker, name: str, payload: Any) -> Any:
    try:
        return json.loads(await process.run(name, json.dumps(payload), "{}") or "null")
    except ActivityRaised as error:
        return {"raised": error.reason}


def by_worker(worker: AzureWorker, name: str, payload: Any) -> Any:
    done = worker.invoke(name, {"payload": {"json": json.dumps(payload)}})
    if done.error is not None:
        return {"raised": done.error}
    assert done.returned is not None
    return json.loads(done.returned["json"])


@pytest.mark.parametrize("case", CASES)
def test_a_step_ends_in_the_same_way(both: Both, by_embedded_host: dict[str, Any], case: str) -> None:
    assert by_worker(both.worker, *CASES[case]) == by_embedded_host[case]


def test_every_step_is_compared() -> None:
    assert {step.__name__ for step in STEPS} == set(INPUTS)


def test_the_activity_that_starts_what_is_due_takes_a_durable_client(both: Both) -> None:
    """The embedded host runs it itself, as it does with every coroutine."""
    done = both.worker.invoke("start_due", {"payload": {"json": "{}"}, "client": {"string": both.client}})

    assert done.error is None
    assert done.returned is not None
    assert json.loads(done.returned["json"]) == {"ok": True, "value": {}}
