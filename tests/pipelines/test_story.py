"""From a commit to a module that runs on devices, through the YAML as it is written; its tests build on each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from threading import Thread

import pytest

from tests.e2e.host_process import wait_for
from tests.e2e.parts.device_process import DeviceProcess
from tests.pipelines.agent import FAILED, ISSUES, SKIPPED, SUCCEEDED, Run
from tests.pipelines.checks import steps_of
from tests.pipelines.fleet import ELSEWHERE, Fleet
from tests.pipelines.pipelines import ALL, IMAGES, MANIFESTS, MODULES

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


def newest(fleet: Fleet) -> str:
    """Id of the newest set."""
    return str(fleet.cloud.items("/api/deployment-sets")[0]["setId"])


def went(run: Run, **stages: str) -> None:
    """Assert how each stage ended."""
    assert run.stages == stages, run.log


def test_the_first_push_builds_registers_and_promotes_every_module(fleet: Fleet) -> None:
    run = fleet.run(MODULES, reason="IndividualCI")

    went(run, changes=SUCCEEDED, build=SUCCEEDED, promote=SUCCEEDED)
    assert fleet.references() == {
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


def test_a_push_builds_only_the_module_that_changed(fleet: Fleet) -> None:
    fleet.modules.replace(ENGINE, "margin: float = 5.0", "margin: float = 6.0")

    run = fleet.run(MODULES, reason="IndividualCI")

    went(run, changes=SUCCEEDED, build=SUCCEEDED, promote=SUCCEEDED)
    assert [job.variables["module"] for job in run.jobs if job.stage == "build"] == ["engine-monitor"]
    (row,) = [line for line in run.step("Gate on what it costs a device").output.splitlines() if ":20301" in line]
    assert " 2 " in row, "both ships have the version before"
    fleet.update = run.id


def test_a_run_without_a_change_builds_nothing_and_promotes_nothing(fleet: Fleet) -> None:
    fleet.modules.change({"README.md": "# Modules, as ever\n"})

    went(fleet.run(MODULES, reason="IndividualCI"), changes=SUCCEEDED, build=SKIPPED, promote=SKIPPED)


def test_a_build_that_would_cost_a_device_too_much_fails_and_is_not_promoted(fleet: Fleet) -> None:
    fleet.modules.replace(ENGINE, "margin: float = 6.0", "margin: float = 7.0")

    run = fleet.run(MODULES, maxBytes="10")

    went(run, changes=SUCCEEDED, build=FAILED, promote=SKIPPED)
    assert "code: cli.over_limit" in run.step("Gate on what it costs a device").output
    assert not [name for name in fleet.references() if name.startswith(fleet.production.address) and run.id in name]


def test_a_pull_request_is_built_on_the_base_image_of_its_run_and_leaves_nothing_behind(fleet: Fleet) -> None:
    fleet.modules.git("checkout", "--quiet", "-b", "topic")
    fleet.modules.replace(ENGINE, "margin: float = 7.0", "margin: float = 8.0")
    fleet.modules.git("checkout", "--quiet", "main")
    fleet.modules.git("merge", "--quiet", "--no-ff", "--message", "pull request 1", "topic")

    run = fleet.run(MODULES, reason="PullRequest", baseImage=fleet.base("2"), branch="refs/pull/1/merge")

    went(run, changes=SUCCEEDED, build=SUCCEEDED, promote=SKIPPED)
    assert f"newer image for {fleet.base('2')}" in run.step("Build the image").output
    assert not [name for name in fleet.references() if run.id in name]


def test_a_unit_test_that_fails_ends_the_build_before_anything_is_pushed(fleet: Fleet) -> None:
    fleet.modules.replace("modules/engine-monitor/tests/test_watch.py", '["hot", None, "cool"]', '["hot", None, None]')

    run = fleet.run(MODULES, reason="IndividualCI")

    went(run, changes=SUCCEEDED, build=FAILED, promote=SKIPPED)
    assert "FAILED (failures=1)" in run.step("Test (Python)").output
    assert not run.ran("Build the image") and not run.ran("Push it to the development registry")


def test_an_image_that_was_never_built_is_said_before_anybody_is_asked(fleet: Fleet) -> None:
    fleet.manifests.replace("propulsion/deployment.template.json", ":20301", ":99999")

    run = fleet.run(IMAGES, devices="ship-1")

    went(run, plan=FAILED, send=SKIPPED)
    assert "Error: not registered: " in run.step("plan").output
    fleet.manifests.replace("propulsion/deployment.template.json", ":99999", f":{fleet.update}")


def test_a_plan_that_is_rejected_sends_nothing(fleet: Fleet, ships: dict[str, DeviceProcess]) -> None:
    sets = len(fleet.cloud.items("/api/deployment-sets"))
    fleet.approves = False
    try:
        run = fleet.run(IMAGES, devices="ship-1")
    finally:
        fleet.approves = True

    went(run, plan=SUCCEEDED, send=FAILED)
    assert not run.ran("Send and wait")
    assert len(fleet.cloud.items("/api/deployment-sets")) == sets


def test_an_update_goes_out_as_a_patch_and_starts(fleet: Fleet, ships: dict[str, DeviceProcess]) -> None:
    went(fleet.run(IMAGES, devices="ship-1 ship-2", priority="urgent"), plan=SUCCEEDED, send=SUCCEEDED)
    went(fleet.run(MANIFESTS, devices="ship-1,ship-2"), release=SUCCEEDED)

    started, sent = (
        fleet.cloud.call("GET", f"/api/deployment-sets/{one['setId']}", 200)
        for one in fleet.cloud.items("/api/deployment-sets")[:2]
    )
    assert started["sentBytes"] == 0
    assert 0 < sent["sentBytes"] < sent["wholeBytes"] / 20


def test_an_environment_whose_checks_fail_sets_nothing(fleet: Fleet) -> None:
    fleet.builds.approve = lambda environment: environment != "production"
    try:
        run = fleet.run(MANIFESTS, environment="production")
    finally:
        fleet.builds.approve = lambda environment: True

    went(run, release=FAILED)
    assert run.jobs == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"devices": "ship-1", "query": "tags.site = 'north'"}, "Give devices or a query, not both."),
        ({}, "Give devices, or a query like tags.site = 'north'."),
        ({"devices": "ship-1", "who": ""}, "Nobody with a mail address started this run"),
    ],
)
def test_an_order_that_is_not_whole_is_said(fleet: Fleet, given: dict[str, str], said: str) -> None:
    run = fleet.run(IMAGES, **given)

    went(run, plan=FAILED, send=SKIPPED)
    assert [issue for issue in run.issues if said in issue]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"devices": "plane-1"}, "error: plane-1 is no device of the hub north."),
        ({"environment": "production"}, "error: The hub south has no devices."),
    ],
)
def test_a_manifest_goes_to_devices_of_its_environments_hub_alone(
    fleet: Fleet, given: dict[str, str], said: str
) -> None:
    run = fleet.run(MANIFESTS, **given)

    went(run, release=FAILED)
    assert run.issues == [said]


def test_a_device_that_is_silent_leaves_a_warning_and_the_set_goes_on(fleet: Fleet) -> None:
    fleet.device("ship-3")

    run = fleet.run(IMAGES, devices="ship-3", wait_minutes=10)

    went(run, plan=SUCCEEDED, send=ISSUES)
    (set_id,) = [tag for tag in run.tags if tag.startswith("set-")]
    assert run.issues == [f"warning: {set_id} is still under way; its owner will get a mail."]
    assert fleet.run(MANIFESTS, devices="ship-3").issues == ["error: ship-3 is not ready: device.no_inventory"]


def test_a_set_that_is_cancelled_fails_the_run(fleet: Fleet) -> None:
    before = newest(fleet)

    def cancel() -> None:
        wait_for(lambda: newest(fleet) != before, 60)
        fleet.cloud.call("POST", f"/api/deployment-sets/{newest(fleet)}/cancel", 200)

    canceller = Thread(target=cancel)
    canceller.start()
    run = fleet.run(IMAGES, devices="ship-3", wait_minutes=12)
    canceller.join()

    went(run, plan=SUCCEEDED, send=FAILED)
    assert "is cancelled" in run.step("Send and wait").output


def test_exactly_the_steps_that_stand_in_the_list_are_not_run(fleet: Fleet) -> None:
    """The last test: what the stories above have run, of all that stands in the YAML."""
    written = {
        str(step.get("task") or step.get("name") or step["displayName"])
        for pipeline in ALL
        for stage in pipeline.expanded(reason="IndividualCI")["stages"]
        for job in stage["jobs"]
        for step in steps_of(job)
        if "checkout" not in step
    }

    assert fleet.world.stood_in == set(ELSEWHERE)
    assert fleet.world.ran == written - set(ELSEWHERE)
