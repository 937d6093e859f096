"""Orchestrations on a running host, steered by the unmodified durable SDK: results, status codes, life cycle."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.host_process import APPS, HostProcess, wait_for

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    folder = tmp_path_factory.mktemp("durable")
    process = HostProcess(folder / "state", APPS / "everything", LOG=str(folder / "log"), TICK="0 0 0 1 1 *")
    yield process.start()
    process.stop()


def until(host: HostProcess, instance: str, status: str) -> None:
    wait_for(lambda: host.status(instance)["runtimeStatus"] == status)


# Results


def test_activities_follow_each_other_and_the_custom_status_is_seen(host: HostProcess) -> None:
    instance = host.begin("chain", 3)

    assert host.result(instance) == ("Completed", 12)
    assert host.status(instance)["customStatus"] == {"seen": 12}


def test_five_hundred_activities_in_worker_processes_end_in_one_go(host: HostProcess) -> None:
    began = time.monotonic()

    assert host.run("fan_out", 500) == ("Completed", 499 * 500)
    assert time.monotonic() - began < 60  # 0.4 s on an idle machine with two cores


def test_a_tree_of_sub_orchestrations_timers_and_retries_completes(host: HostProcess, tmp_path: Path) -> None:
    wanted = {"branches": 3, "leaves": 4, "file": str(tmp_path / "attempts")}

    status, output = host.run("tree", wanted)

    assert (status, output) == (
        "Completed",
        {"sum": 2 * sum(b * 10 + n for b in range(3) for n in range(4)), "retried": True},
    )
    assert len((tmp_path / "attempts").read_text().splitlines()) == 2


def test_a_failed_activity_is_an_exception_that_can_be_caught(host: HostProcess) -> None:
    assert host.run("catches") == ("Completed", "Activity function 'fails' failed:  ValueError: boom ")


def test_an_uncaught_failure_fails_the_instance_with_the_words_of_the_real_host(host: HostProcess) -> None:
    status, output = host.run("one", {"activity": "fails", "payload": "boom"})

    assert status == "Failed"
    assert output.startswith("Orchestrator function 'one' failed: Activity function 'fails' failed:  ValueError: boom")


def test_a_failure_of_a_sub_orchestration_reaches_its_parent(host: HostProcess) -> None:
    status, output = host.run("parent_of_failure")

    assert status == "Failed"
    assert "Orchestrator function 'one' failed: Activity function 'fails' failed:  ValueError: deep" in output
    assert "$OutOfProcData$" not in output


def test_a_retried_activity_is_run_as_often_as_allowed_and_then_fails(host: HostProcess, tmp_path: Path) -> None:
    payload = {"file": str(tmp_path / "attempts"), "succeed_at": 99}

    status, output = host.run("one_with_retry", {"activity": "fails_until", "payload": payload})

    assert (status, "attempt 3" in output) == ("Failed", True)
    assert len((tmp_path / "attempts").read_text().splitlines()) == 3


def test_a_timer_wins_against_an_event_that_does_not_come(host: HostProcess) -> None:
    assert host.run("waits", 0.3) == ("Completed", {"got": "timeout"})


def test_an_orchestration_that_continues_as_new_ends_with_a_short_history(host: HostProcess) -> None:
    instance = host.begin("counts_down", 10)

    assert host.result(instance) == ("Completed", "done")
    history = host.durable("GET", f"instances/{instance}?showHistory=true").json()["historyEvents"]
    assert [entry["EventType"] for entry in history] == ["ExecutionStarted", "TaskCompleted", "ExecutionCompleted"]


def test_an_orchestrator_that_asks_for_something_else_on_replay_is_failed_by_name(
    host: HostProcess, tmp_path: Path
) -> None:
    status, output = host.run("changes_its_mind", str(tmp_path / "replays"))

    assert status == "Failed"
    assert output.startswith("NonDeterministicOrchestrationException: Non-Deterministic workflow detected")
    assert "'double' with sequence ID 0" in output


def test_a_call_of_an_activity_that_does_not_exist_fails_the_instance(host: HostProcess) -> None:
    status, output = host.run("calls_nobody")

    assert (status, "'no_such_activity' doesn't exist" in output) == ("Failed", True)


def test_an_activity_whose_worker_is_killed_is_delivered_again(host: HostProcess, tmp_path: Path) -> None:
    payload = {"file": str(tmp_path / "deaths"), "times": 2}

    assert host.run("one", {"activity": "dies", "payload": payload}) == ("Completed", "survived")


def test_an_activity_that_always_kills_its_worker_fails_in_the_end(host: HostProcess, tmp_path: Path) -> None:
    payload = {"file": str(tmp_path / "deaths"), "times": 99}

    status, output = host.run("one", {"activity": "dies", "payload": payload})

    assert status == "Failed"
    assert "WorkerDied: the worker process was killed by SIGKILL in each of 3 attempts" in output
    assert host.run("chain", 1) == ("Completed", 4)


# The client's calls


def test_an_event_of_the_client_arrives_as_the_text_that_the_sdk_makes_of_it(host: HostProcess) -> None:
    """The SDK posts JSON inside a JSON string; the real host passes it on like that."""
    instance = host.begin("waits", 60)
    until(host, instance, "Running")

    answer = host.call("raise_event", instance, name="go", data={"n": 1})

    assert answer.status_code == 200, answer.text
    assert host.result(instance) == ("Completed", {"got": '{"n": 1}'})


def test_an_event_that_comes_before_the_wait_is_kept(host: HostProcess) -> None:
    instance = host.begin("waits", 60)
    host.durable("POST", f"instances/{instance}/raiseEvent/go", json=7)

    assert host.result(instance) == ("Completed", {"got": 7})


def test_a_terminated_instance_says_why(host: HostProcess) -> None:
    instance = host.begin("waits", 60)
    until(host, instance, "Running")

    assert host.call("terminate", instance, reason="enough").status_code == 200

    assert host.result(instance) == ("Terminated", "enough")


def test_a_suspended_instance_does_nothing_until_it_is_resumed(host: HostProcess) -> None:
    instance = host.begin("waits", 60)
    until(host, instance, "Running")
    host.call("suspend", instance)
    until(host, instance, "Suspended")

    host.call("raise_event", instance, name="go", data="late")
    time.sleep(0.3)
    while_suspended = host.status(instance)["runtimeStatus"]
    host.call("resume", instance)

    assert while_suspended == "Suspended"
    assert host.result(instance) == ("Completed", {"got": '"late"'})


def test_a_running_instance_is_not_replaced_but_an_ended_one_is(host: HostProcess) -> None:
    host.begin("waits", 60, instance="one-at-a-time")

    refused = host.request("POST", "/v1/start/chain/one-at-a-time", json=1)
    host.call("terminate", "one-at-a-time", reason="make room")
    host.result("one-at-a-time")
    host.begin("chain", 1, instance="one-at-a-time")

    assert (refused.status_code, "already exists" in refused.text) == (409, True)
    assert host.result("one-at-a-time") == ("Completed", 4)


def test_purging_forgets_an_instance(host: HostProcess) -> None:
    instance = host.begin("chain", 1)
    host.result(instance)

    assert host.call("purge", instance).json() == 1
    assert host.call("purge", instance).json() == 0
    assert host.durable("GET", f"instances/{instance}").status_code == 404


def test_purging_by_time_takes_only_what_has_ended(host: HostProcess) -> None:
    ended = host.begin("chain", 1, instance="purge-ended")
    host.begin("waits", 60, instance="purge-running")
    host.result(ended)

    answer = host.durable("DELETE", "instances/?createdTimeFrom=2020-01-01T00:00:00Z&instanceIdPrefix=purge-")

    assert (answer.status_code, answer.json()) == (200, {"instancesDeleted": 1})
    assert host.durable("GET", "instances/purge-ended").status_code == 404
    assert host.durable("GET", "instances/purge-running").status_code == 202


def test_instances_are_found_by_prefix_and_status_page_by_page(host: HostProcess) -> None:
    for number in range(5):
        host.begin("chain", number, instance=f"found-{number}")
    for number in range(5):
        host.result(f"found-{number}")

    found, token = [], ""
    while True:
        headers = {"x-ms-continuation-token": token} if token else {}
        path = "instances/?instanceIdPrefix=found-&runtimeStatus=Completed&top=2"
        page = host.durable("GET", path, headers=headers)
        found.append([row["instanceId"] for row in page.json()])
        token = page.headers["x-ms-continuation-token"]
        if not token:
            break

    assert found == [["found-0", "found-1"], ["found-2", "found-3"], ["found-4"]]
    by_client = host.call("get_status_by", instance_id_prefix="found-").json()
    assert [row["output"] for row in by_client] == [0, 4, 8, 12, 16]


def test_waiting_for_completion_answers_with_the_output(host: HostProcess) -> None:
    instance = host.begin("chain", 5)

    assert host.call("wait", instance).json() == 20


def test_a_restarted_instance_runs_again_with_the_same_input(host: HostProcess) -> None:
    instance = host.begin("chain", 2, instance="again")
    host.result(instance)

    assert host.call("restart", instance, new=False).status_code == 200
    assert host.result(instance) == ("Completed", 8)


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "instances/nobody", 404),
        ("DELETE", "instances/nobody", 404),
        ("POST", "instances/nobody/terminate?reason=x", 404),
        ("POST", "instances/nobody/suspend?reason=x", 404),
        ("POST", "instances/nobody/raiseEvent/go", 404),
        ("POST", "instances/code-ended/terminate?reason=x", 410),
        ("POST", "instances/code-ended/resume?reason=x", 410),
        ("POST", "instances/code-ended/raiseEvent/go", 410),
        ("GET", "instances/code-ended", 200),
        ("GET", "instances/code-running", 202),
        ("POST", "instances/code-running/raiseEvent/go", 400),
        ("POST", "instances/code-running/suspend?reason=x", 202),
        ("POST", "orchestrators/nobody", 400),
        ("DELETE", "instances/", 400),
        ("GET", "entities/counter/one", 501),
    ],
)
def test_management_calls_are_answered_with_the_documented_codes(
    host: HostProcess, method: str, path: str, code: int
) -> None:
    if host.durable("GET", "instances/code-ended").status_code == 404:
        host.begin("chain", 1, instance="code-ended")
        host.result("code-ended")
        host.begin("waits", 600, instance="code-running")
        until(host, "code-running", "Running")

    assert host.durable(method, path).status_code == code


def test_a_status_of_an_instance_has_the_documented_fields(host: HostProcess) -> None:
    instance = host.begin("chain", 4)
    host.result(instance)

    status = host.status(instance)

    assert set(status) == {
        "name",
        "instanceId",
        "runtimeStatus",
        "input",
        "customStatus",
        "output",
        "createdTime",
        "lastUpdatedTime",
    }
    assert (status["name"], status["input"], status["createdTime"][-1]) == ("chain", "4", "Z")
    assert host.durable("GET", f"instances/{instance}?showInput=false").json()["input"] is None


def test_the_check_status_response_leads_to_the_instance(host: HostProcess) -> None:
    response = host.request("POST", "/v1/start/chain", json=1)

    urls = response.json()
    assert response.headers["Location"] == urls["statusQueryGetUri"]
    assert urls["statusQueryGetUri"].startswith(host.url)
    wait_for(lambda: httpx.get(urls["statusQueryGetUri"]).status_code == 200)
    assert httpx.post(urls["terminatePostUri"].replace("{text}", "x")).status_code == 410
    assert httpx.get(urls["statusQueryGetUri"].split("&code=")[0]).status_code == 401
