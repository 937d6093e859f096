"""Containers beside a reconstruction notice nothing: same id, same start, no heartbeat left out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.archive_tools import require_tool
from tests.e2e.device.docker_place import inspected, remove_all
from tests.e2e.parts.dockerd_process import DockerDaemon
from tests.e2e.parts.registry_process import RegistryProcess
from tests.engines.suite import noise
from tests.images import a_layer, an_image, docker_save
from tests.unit.delta.patches import a_patch

pytestmark = pytest.mark.e2e
BEAT_SECONDS, LONGEST_SECONDS = 0.1, 1.5
"""The longest pause is what two busy cores make of a tenth of a second, not what a stopped container does."""


def test_a_container_keeps_its_id_start_and_heartbeat_through_a_reconstruction(
    daemon: DockerDaemon, registry: RegistryProcess, tmp_path: Path
) -> None:
    remove_all(daemon)
    base = {"bin/": b"", "bin/sh": Path(require_tool("busybox", "busybox-static")).read_bytes()}
    code = noise(4_000_000, 21)
    old = an_image(executable(base), {"app/code": code}, references=("neighbour:1",))
    new = an_image(executable(base), {"app/code": code[:2_000_000] + b"new" + code[2_000_000:]})
    patch, _ = a_patch(new, old, scratch=tmp_path)
    (tmp_path / "patch").write_bytes(patch)
    daemon.docker("load", stdin=docker_save(old))
    beats = tmp_path / "beats"
    beats.mkdir()
    daemon.docker(
        "run", "-d", "--name", "neighbour", "--network", "none", "-v", f"{beats}:/beats", "neighbour:1",
        "/bin/sh", "-c", f"while true; do date +%s >> /beats/log; sleep {BEAT_SECONDS}; done",
    )  # fmt: skip
    wait_for_beats(beats / "log")
    before = state(daemon)

    pauses = reconstruct(daemon, registry, tmp_path, beats / "log")

    assert state(daemon) == before
    assert inspected(daemon, f"{registry.address}/neighbour:2")["Id"] == new.image_id
    assert pauses, "nothing was measured"
    assert max(pauses) < LONGEST_SECONDS, sorted(pauses)[-5:]
    remove_all(daemon)


def executable(files: dict[str, bytes]) -> bytes:
    """tests.images makes plain files; a program has to be allowed to run."""
    layer = bytearray(a_layer(files))
    at = bytes(layer).index(b"bin/sh")
    header = bytearray(layer[at : at + 512])
    header[100:108] = b"0000755\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    layer[at : at + 512] = header
    return bytes(layer)


def state(daemon: DockerDaemon) -> tuple[str, str, str, int]:
    told = json.loads(daemon.docker("inspect", "neighbour"))[0]
    return told["Id"], told["State"]["StartedAt"], told["State"]["Status"], told["RestartCount"]


def wait_for_beats(log: Path) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if log.exists() and log.stat().st_size > 30:
            return
        time.sleep(0.05)
    pytest.fail("the container does not run")


def reconstruct(daemon: DockerDaemon, registry: RegistryProcess, folder: Path, log: Path) -> list[float]:
    """Seconds between two beats, looked at from outside while the image is made."""
    task = {
        "root": str(folder / "module"),
        "daemon": daemon.host,
        "registry": registry.url,
        "patch": str(folder / "patch"),
        "reference": "neighbour:2",
    }
    (folder / "task.json").write_text(json.dumps(task))
    command = [sys.executable, "-m", "tests.e2e.device.docker_rebuild", str(folder / "task.json")]
    pauses, last, size = [], time.monotonic(), log.stat().st_size
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=lambda: os.nice(10)) as process:
        while process.poll() is None:
            time.sleep(0.01)
            if log.stat().st_size != size:
                now, size = time.monotonic(), log.stat().st_size
                pauses.append(now - last)
                last = now
    assert process.returncode == 0
    return pauses
