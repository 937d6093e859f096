"""A device rebuilds an image of 300 MB: the module keeps to 96 MiB, the process that rebuilds to 128 MiB."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from imagedelta.bundles import BundleHead
from tests.e2e.device_ship import SEALER, sealed_bundle
from tests.e2e.host_process import wait_for
from tests.images import BuiltImage, an_image, docker_save
from tests.unit.delta.patches import a_patch

pytestmark = pytest.mark.e2e
MIB = 1024 * 1024
MOST_OF_THE_MODULE, MOST_OF_A_REBUILD = 96 * MIB, 128 * MIB


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def images() -> tuple[BuiltImage, BuiltImage]:
    """Old and new: 240 MiB in common, two files changed, and 40 MiB that repeat far back (a large dictionary)."""
    common = {f"data/{number}": noise(20 * MIB, number) for number in range(12)}
    code = [noise(2 * MIB, 100 + number) for number in range(4)]
    changed = [part[:MIB] + b"changed" + part[MIB:] for part in code[:2]] + code[2:]
    old = an_image(common, {f"app/{number}": part for number, part in enumerate(code)}, references=("big:1",))
    repeats = b"".join(noise(MIB, 200 + number % 20) + b"%d" % number for number in range(40))
    new = an_image(
        common, {f"app/{number}": part for number, part in enumerate(changed)}, {"new": repeats}, references=("big:2",)
    )
    return old, new


def test_an_image_of_300_mb_is_rebuilt_within_128_mib_by_a_module_of_96(tmp_path: Path) -> None:
    old, new = images()
    assert sum(map(len, new.layers)) > 300_000_000
    patch, summary = a_patch(new, old, scratch=tmp_path)
    assert summary.memory_bytes > 32 * MIB
    environment = aboard(tmp_path)
    (tmp_path / "old.tar").write_bytes(docker_save(old))
    subprocess.run(
        [sys.executable, "-m", "edge_module", "load", str(tmp_path / "old.tar")], env=environment, check=True
    )
    (tmp_path / "old.tar").unlink()
    head = BundleHead(
        bundle_id="bundle-1",
        device_id="ship-1",
        transfer_id="transfer-1",
        attempt=1,
        number=1,
        target_image_id=new.image_id,
        source_image_ids=(old.image_id,),
        platform="linux/amd64",
        patch_sha256=summary.sha256,
        patch_bytes=len(patch),
        memory_bytes=summary.memory_bytes,
        full_bytes=summary.full_bytes,
    )
    inbox = tmp_path / "ship/inbox"
    inbox.mkdir()
    (inbox / "one.bundle").write_bytes(sealed_bundle(head, patch))

    module, rebuild = peaks_of_a_run(environment, tmp_path / "ship/journal/transfer-1-1.json", tmp_path / "log")

    print(f"module {module / MIB:.0f} MiB, rebuild {rebuild / MIB:.0f} MiB")
    assert module <= MOST_OF_THE_MODULE, f"{module / MIB:.0f} MiB"
    assert rebuild <= MOST_OF_A_REBUILD, f"{rebuild / MIB:.0f} MiB"
    listed = subprocess.run(
        [sys.executable, "-m", "edge_module", "images"], env=environment, capture_output=True, text=True, check=True
    )
    assert new.image_id in listed.stdout


def aboard(folder: Path) -> dict[str, str]:
    keys = folder / "fleet.pub"
    keys.write_text(SEALER.public_key.to_text() + "\n")
    return {
        **os.environ,
        "IMAGEDELTA_ROOT": str(folder / "ship"),
        "IMAGEDELTA_HUB": "HostName=http://127.0.0.1:9/iothub/n;DeviceId=ship-1;ModuleId=m;SharedAccessKey=a2V5",
        "IMAGEDELTA_KEYS": str(keys),
        "IMAGEDELTA_PLATFORM": "linux/amd64",
        "IMAGEDELTA_STABLE_SECONDS": "0",
        "IMAGEDELTA_LOG_FORMAT": "json",
    }


def peaks_of_a_run(environment: dict[str, str], job: Path, log: Path) -> tuple[int, int]:
    """Bytes of resident memory at the highest: of the module that brought the job to its end, and of the rebuild."""
    with log.open("wb") as stream:
        process = subprocess.Popen([sys.executable, "-m", "edge_module", "run"], env=environment, stderr=stream)
    try:
        wait_for(lambda: job.exists() and b'"succeeded"' in job.read_bytes(), 180)
        status = Path(f"/proc/{process.pid}/status").read_text()
    finally:
        process.kill()
        process.wait()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    (rebuild,) = [line["mostMemoryBytes"] for line in lines if "mostMemoryBytes" in line]
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))), rebuild
