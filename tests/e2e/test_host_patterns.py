"""The patterns of the Durable Functions documentation on a running host, with the answers Microsoft's tests expect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.host_process import APPS, HostProcess, wait_for

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    running = HostProcess(tmp_path_factory.mktemp("patterns") / "state", APPS / "patterns").start()
    yield running
    running.stop()


def begin(host: HostProcess, name: str, payload: Any = None, instance: str = "") -> str:
    path = f"/api/start/{name}" + (f"/{instance}" if instance else "")
    answer = host.request("POST", path, json=payload) if payload is not None else host.request("POST", path)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def operate(host: HostProcess, call: str, instance: str) -> httpx.Response:
    return host.request("POST", f"/api/operate/{call}/{instance}")


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("PlainFunction", "finished"),
        ("REPLAYING", [True, True, True, False]),
        ("classes", [3, "b"]),
        ("values", [True] * 11),
        ("retries", "attempt 2"),
        ("named", ["named x", "finished"]),
        ("wide", [True, True]),
    ],
)
def test_a_pattern_ends_as_documented(host: HostProcess, name: str, output: Any) -> None:
    assert host.result(begin(host, name), 60) == ("Completed", output)


def test_a_failure_is_caught_with_the_words_of_the_real_host(host: HostProcess) -> None:
    status, output = host.result(begin(host, "catches"), 60)

    assert status == "Completed"
    assert output.startswith("Caught exception: Activity function 'fails_first' failed:  ValueError: not yet")
    assert "KeyError" in output


def test_a_failed_instance_is_rewound_by_the_client_of_the_sdk(host: HostProcess) -> None:
    instance = begin(host, "stumbles")
    assert host.result(instance, 60)[0] == "Failed"

    assert operate(host, "rewind", instance).text == "done"

    assert host.result(instance, 60) == ("Completed", ["kept", [1, "attempt 2"]])
    only_failed = "The rewind operation is only supported on failed orchestration instances."
    assert operate(host, "rewind", instance).text == only_failed
    history = host.durable("GET", f"instances/{instance}?showHistory=true").json()["historyEvents"]
    assert [item["Data"] for item in history if item["EventType"] == "GenericEvent"] == [
        "Rewound: SubOrchestrationInstanceFailed",
        "Rewound: ExecutionCompleted",
        "a reason",
    ]


def test_an_activity_starts_another_orchestration_with_its_own_client(host: HostProcess) -> None:
    begin(host, "by_client", instance="parent")

    assert host.result("parent", 60) == ("Completed", "parent-by-starts_another")
    assert host.result("parent-by-starts_another", 60) == ("Completed", "parent-by-starts_another")


def test_an_output_of_megabytes_comes_back_whole(host: HostProcess) -> None:
    status, output = host.result(begin(host, "large", 4096), 60)

    assert (status, output[0], len(output[1])) == ("Completed", "hello", 4096 * 1024)


def test_a_monitor_is_approved_in_a_later_run(host: HostProcess) -> None:
    instance = begin(host, "monitor")
    wait_for(lambda: (host.status(instance)["customStatus"] or {}).get("looks", 0) > 2, 60)

    def is_approved() -> bool:
        """An event that comes in the moment a run ends is lost with it, as in Azure: whoever approves says it again."""
        answer = host.durable("POST", f"instances/{instance}/raiseEvent/Approval", json=True)
        return answer.status_code == 410

    wait_for(is_approved, 60)
    assert host.result(instance, 60) == ("Completed", {"approved": True, "later": True})


def test_the_client_of_the_sdk_gets_the_answers_of_the_real_host(host: HostProcess) -> None:
    failed = "The operation failed with an unexpected status code 500"
    instance = begin(host, "monitor")
    wait_for(lambda: host.status(instance)["runtimeStatus"] == "Running", 60)

    assert operate(host, "resume", instance).text == failed
    assert operate(host, "purge", instance).status_code == 400
    assert operate(host, "suspend", instance).text == "done"
    wait_for(lambda: host.status(instance)["runtimeStatus"] == "Suspended", 60)
    assert operate(host, "suspend", instance).text == failed
    assert operate(host, "resume", instance).text == "done"
    wait_for(lambda: host.status(instance)["runtimeStatus"] == "Running", 60)
    assert operate(host, "terminate", instance).text == "done"
    assert host.result(instance, 60) == ("Terminated", "a reason")
    assert [operate(host, call, instance).text for call in ("terminate", "suspend", "resume")] == ["done"] * 3
    assert operate(host, "rewind", instance).text != "done"
    assert operate(host, "purge", instance).text == "Purged 1 records"
    assert operate(host, "purge", instance).text == "Purged 0 records"
