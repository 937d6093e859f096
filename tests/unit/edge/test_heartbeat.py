"""The health check knows which part of the module has stopped turning."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_module.heartbeat import PATIENCE_SECONDS, Heartbeat, ailment, heartbeat_path
from tests.unit.edge.world import Clock


def test_a_part_that_has_not_turned_for_long_is_named(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "beat.json"
    heartbeat = Heartbeat(path, clock)
    for part in ("hub", "link", "apply"):
        heartbeat.beat(part)
    assert ailment(path, clock()) is None

    clock.now = PATIENCE_SECONDS + 1
    for part in ("hub", "apply"):
        heartbeat.beat(part)
        clock.now += 10

    assert (ailment(path, clock()) or "").endswith(": link")
    assert heartbeat.overdue() == ["link"]


def test_a_part_that_announced_a_long_pause_is_well_meanwhile(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "beat.json"
    heartbeat = Heartbeat(path, clock)
    heartbeat.beat("link", 3600.0)

    clock.now = 3600.0
    assert ailment(path, clock()) is None

    clock.now += PATIENCE_SECONDS + 1
    assert ailment(path, clock()) is not None


def test_a_part_that_turns_without_a_pause_is_written_down_now_and_then(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "beat.json"
    heartbeat = Heartbeat(path, clock)
    writes = set()
    for _ in range(1000):
        heartbeat.beat("link")
        writes.add(path.stat().st_ino if path.exists() else 0)
        clock.now += 0.01

    assert ailment(path, clock.now) is None
    assert len(json.loads(path.read_bytes())) == 1
    assert len(writes) <= 4


def test_signs_of_an_earlier_run_say_nothing_of_this_one(tmp_path: Path) -> None:
    path = tmp_path / "beat.json"
    Heartbeat(path, lambda: 10.0).beat("hub")

    Heartbeat(path, lambda: 11.0)

    assert "not started" in (ailment(path, 11.0) or "")


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b'{"hub": "soon"}', b'{"hub": null}', b'{"hub": NaN}', b'{"hub": 1e999}', b"[" * 4096],
)
def test_signs_that_cannot_be_read_are_an_ailment(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "beat.json"
    path.write_bytes(data)

    assert ailment(path, 1.0) is not None


def test_a_place_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    heartbeat = Heartbeat(tmp_path / "missing/beat.json")

    heartbeat.beat("hub")

    assert heartbeat.overdue() == []


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    other, path = tmp_path / "other", tmp_path / "beat.json"
    other.write_text("untouched")
    heartbeat = Heartbeat(path)
    path.symlink_to(other)
    path.with_suffix(".tmp").symlink_to(other)

    heartbeat.beat("hub")

    assert other.read_text() == "untouched"
    assert not path.is_symlink()


def test_the_health_check_imports_little() -> None:
    """It is started every two minutes on machines with little CPU."""
    heavy = ("httpx", "pydantic", "cryptography", "docker", "edge_module.main", "edge_module.device")
    script = (
        "import sys; import edge_module.healthy; "
        f"print([name for name in {heavy} if name in sys.modules], len(sys.modules))"
    )

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    found, _, count = ran.stdout.rpartition(" ")
    assert found == "[]"
    assert int(count) < 200


def test_a_folder_in_which_nothing_runs_is_not_healthy(tmp_path: Path) -> None:
    environment = {**os.environ, "IMAGEDELTA_ROOT": str(tmp_path)}

    def check() -> tuple[int, str]:
        command = [sys.executable, "-m", "edge_module", "healthy"]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return ran.returncode, ran.stdout

    assert check() == (1, "no module runs here, or it has not started yet\n")

    path = heartbeat_path(tmp_path)
    Heartbeat(path).beat("hub")
    try:
        assert check() == (0, "healthy\n")
    finally:
        path.unlink()
