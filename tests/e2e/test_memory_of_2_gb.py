"""Host and device stay within their memory while an image of 2 GB goes all the way."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from imagedelta.archives import image_from_config, write_docker_archive
from tests.e2e.cloud_process import MODULE, CloudProcess
from tests.e2e.host_process import HubClient, hub_key, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.long]

MIB = 1 << 20
MOST_OF_HOST = 1280 * MIB
"""All processes of the host together, at any moment: the host, its workers, one of them building a patch."""
MOST_OF_DEVICE = 128 * MIB
COMMON_FILES, APP_FILES, FILE_BYTES, LARGE_BYTES = 640, 240, 2 * MIB, 200 * MIB


class HighWater:
    """The largest sum of resident memory of a process and its children, looked at ten times a second."""

    def __init__(self, pid: int) -> None:
        self.bytes = 0
        self._process = psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def end(self) -> int:
        self._stop.set()
        self._thread.join()
        return self.bytes

    def _look(self) -> None:
        while not self._stop.wait(0.1):
            self.bytes = max(self.bytes, sum(self._resident()))

    def _resident(self) -> Iterator[int]:
        try:
            processes = [self._process, *self._process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in processes:
            try:
                yield process.memory_info().rss
            except psutil.NoSuchProcess:
                continue


def write_layers(folder: Path, version: int) -> list[Path]:
    """Two layers, 1.2 GB that never change and 0.8 GB of which 1 % does."""
    common = folder / "common.tar"
    if not common.exists():
        with tarfile.open(common, "w") as tar:
            for number in range(COMMON_FILES):
                add(tar, f"usr/lib/common{number}.so", noise(number, FILE_BYTES))
    app = folder / f"app{version}.tar"
    with tarfile.open(app, "w") as tar:
        for number in range(APP_FILES):
            data = noise(10_000 + number, FILE_BYTES)
            add(tar, f"app/part{number}.dll", edited(data, version) if number < 4 else data)
        add(tar, "app/model.bin", edited(noise(99, LARGE_BYTES), version))
    return [common, app]


def noise(seed: int, size: int) -> bytes:
    source = random.Random(seed)
    return b"".join(source.randbytes(MIB) for _ in range(size // MIB))


def edited(data: bytes, version: int) -> bytes:
    changed = bytearray(data)
    for spot in range(0, len(data), 8 * MIB):
        changed[spot : spot + 64] = bytes([version]) * 64
    return bytes(changed)


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def write_image(folder: Path, version: int) -> tuple[Path, str, int]:
    """The archive, its image ID and its size."""
    layers = write_layers(folder, version)
    diff_ids = [f"sha256:{hashlib.file_digest(layer.open('rb'), 'sha256').hexdigest()}" for layer in layers]
    config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    image = image_from_config(json.dumps(config).encode(), (f"big:{version}",))
    archive = folder / f"big{version}.tar"
    sizes = [layer.stat().st_size for layer in layers]
    write_docker_archive(archive, image, sizes, lambda position: layers[position].open("rb"))
    return archive, image.image_id, sum(sizes)


def run(environment: dict[str, str], *command: str) -> None:
    subprocess.run([sys.executable, "-m", *command], env=environment, check=True, timeout=1800)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.timeout(2400)
def test_host_and_device_stay_within_their_memory_with_an_image_of_2_gb(tmp_path: Path) -> None:
    cloud = CloudProcess(tmp_path)
    try:
        assert cloud.host.process is not None
        host_memory = HighWater(cloud.host.process.pid)
        endpoint = cloud.host.endpoint()
        environment = os.environ | {"IMAGEDELTA_URL": endpoint["url"], "IMAGEDELTA_KEY": endpoint["key"]}
        began = time.monotonic()
        archives = [write_image(tmp_path, version) for version in (1, 2)]
        assert archives[0][2] > 2_000_000_000
        for archive, _, _ in archives:
            run(environment, "imagedelta_cli.main", "register", str(archive))
        registered = time.monotonic()
        ship = environment_of_a_device(cloud, tmp_path)
        run(ship, "edge_module", "load", str(archives[0][0]))
        device = subprocess.Popen([sys.executable, "-m", "edge_module", "run"], env=ship)
        device_memory = HighWater(device.pid)
        try:
            wait_for(lambda: cloud.items("/api/devices/ship-1/images"), 60, pause=0.5)
            path = cloud.start("ship-1", images=["big:2"])
            done = cloud.settled(path, "completed", "completed_with_failures", "failed", seconds=1800)
        finally:
            device.terminate()
            device.wait(60)
        host_peak, device_peak = host_memory.end(), device_memory.end()
        (transfer,) = cloud.items(f"/api/transfers?set={path.rsplit('/', 1)[1]}")
        print(
            f"\n2 GB image: host {host_peak / MIB:.0f} MiB, device {device_peak / MIB:.0f} MiB, "
            f"bundle {transfer['bundleBytes']} bytes, made and registered in {registered - began:.0f} s, "
            f"sent and rebuilt in {time.monotonic() - registered:.0f} s"
        )
    finally:
        cloud.stop()

    assert done["state"] == "completed", done
    assert transfer["imageId"] == archives[1][1]
    assert transfer["bundleBytes"] < archives[1][2] // 100
    assert host_peak < MOST_OF_HOST
    assert device_peak < MOST_OF_DEVICE


def environment_of_a_device(cloud: CloudProcess, folder: Path) -> dict[str, str]:
    hub = HubClient(cloud.host, "north", hub_key(cloud.host.state, "north"))
    key = hub.enrol("ship-1", MODULE)
    cloud.call("PUT", "/api/devices/ship-1", 201, json={"hub": "north"})
    return os.environ | {
        "IMAGEDELTA_ROOT": str(folder / "ship"),
        "IMAGEDELTA_HUB": f"HostName={hub.base};DeviceId=ship-1;ModuleId={MODULE};SharedAccessKey={key}",
        "IMAGEDELTA_KEYS": str(cloud.host.state / "seal.key.pub"),
        "IMAGEDELTA_PLATFORM": "linux/amd64",
        "IMAGEDELTA_POLL_SECONDS": "1",
    }
