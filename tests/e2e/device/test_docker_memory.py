"""An image of 400 MB goes through the engine ``docker`` within the memory of a small device."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.device.docker_place import inspected, remove_all
from tests.e2e.parts.dockerd_process import DockerDaemon
from tests.e2e.parts.registry_process import RegistryProcess
from tests.engines.suite import noise
from tests.images import an_image, docker_save
from tests.unit.delta.patches import a_patch

pytestmark = [pytest.mark.e2e, pytest.mark.long]
MIB = 1024 * 1024
MOST_BYTES = 128 * MIB


def test_an_image_of_400_mb_is_saved_rebuilt_and_loaded_within_128_mib(
    daemon: DockerDaemon, registry: RegistryProcess, tmp_path: Path
) -> None:
    """Its large layer changes, so that all of it is sent to the daemon; and all of it is read from there."""
    remove_all(daemon)
    data = {f"data/{number}": noise(20 * MIB, number) for number in range(20)}
    changed = {**data, "data/7": data["data/7"][: 9 * MIB] + b"changed" + data["data/7"][9 * MIB :]}
    old = an_image(data, {"app/code": noise(MIB, 102)}, references=("big:1",))
    new = an_image(changed, {"app/code": noise(MIB, 103)})
    patch, _ = a_patch(new, old, scratch=tmp_path)
    (tmp_path / "patch").write_bytes(patch)
    (tmp_path / "old.tar").write_bytes(docker_save(old))
    daemon.docker("load", "-q", "-i", tmp_path / "old.tar")
    (tmp_path / "old.tar").unlink()
    new_id = new.image_id
    del data, changed, old, new, patch

    peak = peak_of(
        {
            "root": str(tmp_path / "module"),
            "daemon": daemon.host,
            "registry": registry.url,
            "patch": str(tmp_path / "patch"),
            "reference": "big:2",
        },
        tmp_path,
    )

    assert inspected(daemon, f"{registry.address}/big:2")["Id"] == new_id
    assert peak < MOST_BYTES, f"{peak / MIB:.0f} MiB"
    remove_all(daemon)


def peak_of(task: dict[str, str], folder: Path) -> int:
    """Bytes of resident memory at the highest."""
    (folder / "task.json").write_text(json.dumps(task))
    command = [sys.executable, "-m", "tests.e2e.device.docker_rebuild", str(folder / "task.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=580)
    return int(done.stdout.split()[1])
