"""``make test-host`` on the embedded host: what it tells, and that it leaves nothing that works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.any_host.__main__ import main
from tests.e2e.cloud_process import CloudProcess

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    cloud = CloudProcess(tmp_path_factory.mktemp("host"))
    yield cloud
    cloud.stop()


def told(capsys: pytest.CaptureFixture[str]) -> tuple[list[str], list[str]]:
    """What passed, and what was not tried."""
    lines = capsys.readouterr().out.splitlines()
    return [line for line in lines if line.startswith("passed:")], [line for line in lines if "not tried:" in line]


def arguments(cloud: CloudProcess, *more: str) -> list[str]:
    return [cloud.host.url, "--key", cloud.host.endpoint()["key"], *more]


def test_the_whole_job_passes_with_a_device_that_is_played(
    cloud: CloudProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = cloud.host.endpoint()["hubs"]["north"]
    key = str(cloud.host.state / "seal.key.pub")

    code = main(arguments(cloud, "--hub", "north", "--hub-connection", hub, "--trusted", key))

    passed, _ = told(capsys)
    assert code == 0
    assert len(passed) == 7
    assert "was built, fetched and rebuilt by check-" in passed[-1]
    assert {device["state"] for device in cloud.items("/api/devices")} == {"retired"}


def test_without_a_device_all_is_tried_that_needs_none(cloud: CloudProcess, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(arguments(cloud, "--hub", "south"))

    passed, skipped = told(capsys)
    assert code == 0
    assert "the set is cancelled" in passed[-1]
    assert any("DEVICE=" in line for line in skipped)
    assert {found["state"] for found in cloud.items("/api/deployment-sets")} <= {"completed", "cancelled"}


def test_a_wrong_key_is_told_and_fails(cloud: CloudProcess, capsys: pytest.CaptureFixture[str]) -> None:
    code = main([cloud.host.url, "--key", "wrong"])

    assert (code, "failed:    POST /api/uploads was answered 401" in capsys.readouterr().out) == (1, True)


def test_a_host_that_is_not_there_is_told_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["http://127.0.0.1:9"])

    assert (code, "failed:" in capsys.readouterr().out) == (1, True)
