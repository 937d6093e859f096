"""The host as a process: what a person sees at start, HTTP and keys, timers, and how it ends."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.e2e.host_process import APPS, HostProcess, lines, wait_for

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    folder = tmp_path_factory.mktemp("process")
    process = HostProcess(folder / "state", APPS / "everything", LOG=str(folder / "log"))
    yield process.start()
    process.stop()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostProcess]:
    process = HostProcess(tmp_path / "state", APPS / "everything", LOG=str(tmp_path / "log"), TICK="0 0 0 1 1 *")
    yield process
    process.stop()


def ended(host: HostProcess, *arguments: str) -> tuple[int, str]:
    """Exit code and output of a host that ends by itself."""
    process = host.launch(*arguments)
    code = process.wait(30)
    return code, host.log.read_text()


# HTTP and keys


def test_an_anonymous_function_needs_no_key_and_gets_its_route_parameter(shared: HostProcess) -> None:
    assert httpx.get(f"{shared.url}/v1/hello/J%C3%BCrgen%20B").text == "hello Jürgen B"


def test_a_function_key_opens_a_function_by_header_or_by_query(shared: HostProcess) -> None:
    url, key = f"{shared.url}/v1/echo", shared.endpoint()["key"]

    answers = [
        httpx.post(url, content="x"),
        httpx.post(f"{url}?code=wrong", content="x"),
        httpx.post(f"{url}?code={key}", content="x"),
        httpx.post(url, content="x", headers={"x-functions-key": key}),
    ]

    assert [answer.status_code for answer in answers] == [401, 401, 201, 201]
    assert answers[3].headers["X-Seen"] == "yes"
    assert answers[3].headers["Content-Type"] == "application/json"


def test_only_the_master_key_opens_an_admin_function(shared: HostProcess) -> None:
    assert shared.request("GET", "/v1/admin-only").status_code == 401
    assert shared.admin("GET", "/v1/admin-only").text == "admin_only"


def test_a_function_that_raises_answers_500_and_logs_its_traceback(shared: HostProcess) -> None:
    assert httpx.get(f"{shared.url}/v1/broken").status_code == 500
    assert "RuntimeError: broken on purpose" in shared.log.read_text()


def test_what_is_not_routed_answers_404(shared: HostProcess) -> None:
    assert httpx.get(f"{shared.url}/v1/nothing").status_code == 404
    assert httpx.post(f"{shared.url}/v1/hello/x").status_code == 404
    assert httpx.get(f"{shared.url}/hello/x").status_code == 404


def test_a_disabled_function_is_not_served(shared: HostProcess) -> None:
    assert httpx.get(f"{shared.url}/v1/off").status_code == 404
    assert "switched_off: httpTrigger (disabled)" in shared.log.read_text()


def test_the_start_lists_every_function_with_its_url(shared: HostProcess) -> None:
    log = shared.log.read_text()

    assert f"hello: [GET] {shared.url}/v1/hello/{{name}}" in log
    assert "tick: timerTrigger */1 * * * * *" in log
    assert "ingest: eventHubTrigger of north" in log


def test_keys_and_endpoint_are_readable_by_their_owner_only(shared: HostProcess) -> None:
    for name in ("endpoint.json", "keys.json", "durable.sqlite", "iothub.sqlite"):
        assert stat.S_IMODE((shared.state / name).stat().st_mode) == 0o600


def test_a_timer_fires_every_second(shared: HostProcess) -> None:
    before = len(lines(Path(shared.environment["LOG"]), "tick"))

    time.sleep(3.1)

    assert 2 <= len(lines(Path(shared.environment["LOG"]), "tick")) - before <= 4


# The admin interface


def test_functions_are_run_by_hand_with_the_master_key(host: HostProcess, tmp_path: Path) -> None:
    host.start()

    answers = [
        host.request("POST", "/admin/functions/tick").status_code,
        host.admin("POST", "/admin/functions/nobody").status_code,
        host.admin("POST", "/admin/functions/hello", json={}).status_code,
        host.admin("POST", "/admin/functions/tick", json={}).status_code,
        host.admin("POST", "/admin/functions/ingest", json={"input": "by hand"}).status_code,
    ]

    assert answers == [401, 404, 400, 202, 202]
    wait_for(lambda: lines(tmp_path / "log", "tick"))
    assert wait_for(lambda: lines(tmp_path / "log", "event"))[0]["body"] == "by hand"


def test_the_status_names_the_process_and_its_workers(host: HostProcess) -> None:
    host.start()
    host.run("chain", 1)

    status = host.admin("GET", "/admin/host/status").json()

    assert host.process is not None
    assert (status["state"], status["processId"]) == ("Running", host.process.pid)
    assert len(status["workerProcessIds"]) == 1
    assert host.request("GET", "/admin/host/status").status_code == 401


# Timers across restarts


def test_a_missed_timer_runs_at_the_next_start_and_is_told_so(tmp_path: Path) -> None:
    host = HostProcess(tmp_path / "state", APPS / "timers", LOG=str(tmp_path / "log"))
    host.state.mkdir()
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    statuses = {"nightly": {"last": yesterday, "next": yesterday}}
    (host.state / "timers.json").write_text(json.dumps(statuses))
    try:
        host.start()

        assert wait_for(lambda: lines(tmp_path / "log", "nightly")) == [
            {"kind": "nightly", "past_due": True, "last": yesterday}
        ]
        assert httpx.get(f"{host.url}/api/from/blueprint").text == "blue"
    finally:
        host.stop()


def test_a_failing_timer_is_retried_as_its_policy_says(tmp_path: Path) -> None:
    host = HostProcess(tmp_path / "state", APPS / "timers", LOG=str(tmp_path / "log")).start()
    try:
        wait_for(lambda: len(lines(tmp_path / "log", "stubborn")) == 3)
        time.sleep(0.3)

        assert [(n["retry"], n["most"]) for n in lines(tmp_path / "log", "stubborn")] == [(0, 3), (1, 3), (2, 3)]
        assert len(lines(tmp_path / "log", "at_start")) == 1
    finally:
        host.stop()


# Starting


def test_an_unknown_binding_is_refused_by_name(tmp_path: Path) -> None:
    code, output = ended(HostProcess(tmp_path / "state", APPS / "queue"))

    assert code == 1
    assert "the function drain uses the binding queueTrigger, which the embedded host does not serve" in output
    assert "Traceback" not in output


def test_an_unknown_binding_of_a_disabled_function_does_no_harm(tmp_path: Path) -> None:
    host = HostProcess(tmp_path / "state", APPS / "queue", **{"AzureWebJobs.drain.Disabled": "true"}).start()
    try:
        assert httpx.get(f"{host.url}/api/fine").text == "fine"
    finally:
        host.stop()


def test_wrong_settings_of_an_app_end_the_start_and_are_told_once(tmp_path: Path) -> None:
    app = APPS.parents[1]

    code, output = ended(
        HostProcess(tmp_path / "state", app, IMAGEDELTA_SEAL_KEYS="/no/such.key", IMAGEDELTA_SMTP_PORT="smtp")
    )

    assert code != 0
    assert output.count("/no/such.key") == output.count("IMAGEDELTA_SMTP_PORT") == 1
    assert "application setting" in output
    assert "Traceback" not in output


def test_an_app_that_fails_to_import_is_named_with_its_error(tmp_path: Path) -> None:
    code, output = ended(HostProcess(tmp_path / "state", APPS / "broken"))

    assert (code, "fails to import: RuntimeError: not today" in output) == (1, True)
    assert 'raise RuntimeError("not today")' in output
    assert "importlib" not in output


def test_a_folder_without_an_app_is_refused(tmp_path: Path) -> None:
    code, output = ended(HostProcess(tmp_path / "state", tmp_path))

    assert (code, "there is no function_app.py" in output) == (1, True)


def test_a_second_host_on_the_same_state_is_refused(host: HostProcess) -> None:
    host.start()

    code, output = ended(HostProcess(host.state, host.app))

    assert code == 1
    assert host.process is not None
    assert f"is in use by the host with process id {host.process.pid}" in output
    assert host.request("GET", "/v1/hello/still").text == "hello still"


def test_a_taken_port_is_said_plainly(host: HostProcess, tmp_path: Path) -> None:
    host.start()
    port = host.url.rpartition(":")[2]

    code, output = ended(HostProcess(tmp_path / "other", host.app), "--port", port)

    assert (code, f"the port {port} is taken" in output) == (1, True)


def test_a_restarted_host_keeps_its_address_and_keys(host: HostProcess) -> None:
    before = host.start().endpoint()
    host.kill()

    after = host.start().endpoint()

    assert {**after, "pid": 0} == {**before, "pid": 0}


# Ending


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_running_activities_finish_and_ends_with_0(
    host: HostProcess, tmp_path: Path, number: signal.Signals
) -> None:
    host.start()
    instance = host.begin("one", {"activity": "slow", "payload": 1.0})
    wait_for(lambda: lines(tmp_path / "log", "slow"))

    assert host.process is not None
    host.process.send_signal(number)
    code = host.process.wait(10)

    assert code == 0
    assert not (host.state / "endpoint.json").exists()
    host.start()
    assert host.result(instance) == ("Completed", 1.0)
    assert len(lines(tmp_path / "log", "slow")) == 1


def test_a_second_signal_ends_the_host_at_once(host: HostProcess, tmp_path: Path) -> None:
    host.start()
    host.begin("one", {"activity": "slow", "payload": 30.0})
    wait_for(lambda: lines(tmp_path / "log", "slow"))
    assert host.process is not None

    host.process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        host.process.wait(0.5)
    host.process.send_signal(signal.SIGTERM)

    assert host.process.wait(2) == 128 + signal.SIGTERM


def test_an_idle_host_ends_quickly(host: HostProcess) -> None:
    host.start()
    host.run("chain", 1)
    began = time.monotonic()

    assert host.terminate() == 0
    assert time.monotonic() - began < 3


# Code that does not behave


@pytest.fixture(scope="module")
def limits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    folder = tmp_path_factory.mktemp("limits")
    process = HostProcess(folder / "state", APPS / "limits")
    yield process.start()
    process.stop()


def test_a_function_that_blocks_on_a_call_to_its_own_host_is_answered(limits: HostProcess) -> None:
    assert httpx.get(f"{limits.url}/api/blocks", timeout=10).text == "an answer"


def test_an_activity_that_hangs_is_ended_after_the_function_timeout(limits: HostProcess) -> None:
    answer = httpx.post(f"{limits.url}/api/run/hanging", timeout=30)

    assert "FunctionTimeoutException: the function ran longer than 1.0 s and was ended" in answer.text
