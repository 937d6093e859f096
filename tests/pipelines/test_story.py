"""From a commit to a module that runs on devices, through the YAML as it is written; its tests build on each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.e2e.host_process import wait_for
from tests.e2e.parts.device_process import DeviceProcess
from tests.pipelines.agent import FAILED, ISSUES, SKIPPED, SUCCEEDED, Run
from tests.pipelines.fleet import ELSEWHERE, Fleet
from tests.pipelines.pipelines import IMAGES, MANIFESTS, MODULES

pytestmark = pytest.mark.e2e
ENGINE = "modules/engine-monitor/engine_monitor/watch.py"


@pytest.fixture(scope="module")
def ships(fleet: Fleet) -> Iterator[dict[str, DeviceProcess]]:
    """Two ships, empty and at sea."""
    with ExitStack() as stack:
        ships = {name: stack.enter_context(fleet.device(name)) for name in ("ship-1", "ship-2")}
        for name in ships:
            wait_for(lambda name=name: fleet.cloud.call("GET", f"/api/devices/{name}", 200)["lastInventoryAt"], 60)
        yield ships


def went(run: Run, **stages: str) -> None:
    """Assert how each stage ended."""
    assert run.stages == stages, run.log


def test_the_first_push_builds_registers_and_promotes_every_module(fleet: Fleet) -> None:
    run = fleet.run(MODULES, reason="IndividualCI")

    went(run, changes=SUCCEEDED, build=SUCCEEDED, promote=SUCCEEDED)
    registered = {name for item in fleet.cloud.items("/api/images") for name in item["references"]}
    assert registered == {
        f"{registry.address}/{repository}:20301"
        for registry in (fleet.development, fleet.production)
        for repository in ("propulsion/engine-monitor", "navigation/track-server")
    }
    assert "Ran 3 tests" in run.step("Test (Python)").output


def test_images_are_shown_approved_and_brought_to_one_device(fleet: Fleet, ships: dict[str, DeviceProcess]) -> None:
    run = fleet.run(IMAGES, devices="ship-1")

    went(run, plan=SUCCEEDED, send=SUCCEEDED)
    assert "ship-1" in run.summaries[0] and "engine-monitor:20301" in run.summaries[0]
    assert fleet.asked[-1].endswith("bytes would be sent; the run's page shows the plan. Resume to send them.")
    assert int(fleet.asked[-1].split()[0]) > 0
    assert "arrived" in run.tags
    assert ships["ship-1"].runs() == {}, "nothing was started"


def test_a_manifest_is_refused_while_a_device_lacks_an_image(fleet: Fleet, ships: dict[str, DeviceProcess]) -> None:
    run = fleet.run(MANIFESTS)

    went(run, release=FAILED)
    image = f"{fleet.production.address}/propulsion/engine-monitor:20301"
    assert run.issues == [f"error: ship-2 lacks {image}"]
    assert not run.ran("Set the manifest and wait until it runs")
    assert ships["ship-1"].runs() == {}


def test_a_manifest_is_set_and_runs_when_all_images_are_there(fleet: Fleet, ships: dict[str, DeviceProcess]) -> None:
    went(fleet.run(IMAGES, devices="ship-2"), plan=SUCCEEDED, send=SUCCEEDED)

    run = fleet.run(MANIFESTS)

    went(run, release=SUCCEEDED)
    for ship in ships.values():
        assert ship.runs()["engine-monitor"].startswith("localhost:5000/propulsion/engine-monitor@sha256:")
    (newest, *_) = fleet.cloud.items("/api/deployment-sets")
    assert (newest["state"], newest["ownerName"]) == ("completed", "Ada Lovelace")


def test_what_is_already_there_is_said_and_asks_nobody(fleet: Fleet, ships: dict[str, DeviceProcess]) -> None:
    asked, sets = len(fleet.asked), len(fleet.cloud.items("/api/deployment-sets"))

    run = fleet.run(IMAGES, devices="ship-1, ship-2")

    went(run, plan=SUCCEEDED, send=SKIPPED)
    assert run.tags == ["already-there"]
    assert run.summaries[0].startswith("# Already there: nothing is to be sent\n")
    assert (len(fleet.asked), len(fleet.cloud.items("/api/deployment-sets"))) == (asked, sets)


def test_a_push_builds_only_the_module_that_changed_and_it_costs_little(fleet: Fleet) -> None:
    fleet.modules.replace(ENGINE, "margin: float = 5.0", "margin: float = 6.0")

    run = fleet.run(MODULES, reason="IndividualCI")

    went(run, changes=SUCCEEDED, build=SUCCEEDED, promote=SUCCEEDED)
    assert [job.variables["module"] for job in run.jobs if job.stage == "build"] == ["engine-monitor"]


def test_a_build_that_would_cost_a_device_too_much_fails_and_is_not_promoted(fleet: Fleet) -> None:
    fleet.modules.replace(ENGINE, "margin: float = 6.0", "margin: float = 7.0")

    run = fleet.run(MODULES, maxBytes="10")

    went(run, changes=SUCCEEDED, build=FAILED, promote=SKIPPED)
    assert run.step("Gate on what it costs a device").result == FAILED


def test_a_plan_that_is_rejected_sends_nothing(fleet: Fleet, ships: dict[str, DeviceProcess]) -> None:
    sets = len(fleet.cloud.items("/api/deployment-sets"))
    fleet.manifests.replace("propulsion/deployment.template.json", ":20301", ":20306")
    fleet.approves = False
    try:
        run = fleet.run(IMAGES, devices="ship-1")
    finally:
        fleet.approves = True

    went(run, plan=SUCCEEDED, send=FAILED)
    assert not run.ran("Send and wait")
    assert len(fleet.cloud.items("/api/deployment-sets")) == sets


def test_an_update_is_sent_as_a_patch_and_started(fleet: Fleet, ships: dict[str, DeviceProcess]) -> None:
    went(
        fleet.run(IMAGES, query="deviceId = 'ship-1'" if False else "", devices="ship-1 ship-2"),
        plan=SUCCEEDED,
        send=SUCCEEDED,
    )
    went(fleet.run(MANIFESTS, devices="ship-1,ship-2"), release=SUCCEEDED)

    sets = fleet.cloud.items("/api/deployment-sets")
    sent = [fleet.cloud.call("GET", f"/api/deployment-sets/{one['setId']}", 200)["sentBytes"] for one in sets[:2]]
    assert sent[0] == 0 and 0 < sent[1] < 100_000


def test_a_device_that_does_not_answer_leaves_the_run_with_a_warning(
    fleet: Fleet, ships: dict[str, DeviceProcess]
) -> None:
    fleet.device("ship-3")

    run = fleet.run(IMAGES, devices="ship-3", wait_minutes=10)

    went(run, plan=SUCCEEDED, send=ISSUES)
    assert [issue for issue in run.issues if "still under way; its owner will get a mail" in issue]


def test_a_set_that_is_cancelled_fails_the_run(fleet: Fleet, ships: dict[str, DeviceProcess]) -> None:
    pass


def test_exactly_the_steps_that_stand_in_the_list_are_not_run(fleet: Fleet) -> None:
    """The last test: what the stories above have run, and what they have not."""
    named = set()
    for pipeline in (MODULES, IMAGES, MANIFESTS):
        from tests.pipelines.checks import steps_of

        for stage in pipeline.expanded(reason="IndividualCI")["stages"]:
            for job in stage["jobs"]:
                named |= {
                    str(s.get("task") or s.get("name") or s.get("displayName"))
                    for s in steps_of(job)
                    if "checkout" not in s
                }

    assert fleet.world.stood_in == set(ELSEWHERE)
    assert fleet.world.ran == named - set(ELSEWHERE)
