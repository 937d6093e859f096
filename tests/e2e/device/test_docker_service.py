"""The module as it runs on a device, with the engines that need a daemon: bundles in, images in Docker and registry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imagedelta.archives import sha256_id
from imagedelta.archives.oci_json import manifest_bytes
from imagedelta.bundles import BundleHead
from tests.e2e.device.docker_place import inspected, remove_all, saved
from tests.e2e.device_ship import SEALER, sealed_bundle
from tests.e2e.host_process import wait_for
from tests.e2e.parts.dockerd_process import DockerDaemon
from tests.e2e.parts.registry_process import RegistryProcess
from tests.engines.place import pulled
from tests.engines.suite import noise
from tests.images import BuiltImage, an_image, docker_save
from tests.unit.delta.patches import a_patch

pytestmark = pytest.mark.e2e
BASE = {"lib/base": noise(1_000_000, 31)}
CODE = noise(800_000, 32)
OLD = an_image(BASE, {"app/code": CODE}, references=("service:1",))
NEW = an_image(BASE, {"app/code": CODE[:400_000] + b"new" + CODE[400_000:]}, references=("service:2",))
SECONDS = 90


@pytest.fixture
def ship(daemon: DockerDaemon, tmp_path: Path) -> Iterator[RegistryProcess]:
    """A Docker store with the old image, and an empty registry."""
    remove_all(daemon)
    daemon.docker("load", stdin=docker_save(OLD))
    registry = RegistryProcess(tmp_path / "registry")
    yield registry
    registry.stop()


@contextmanager
def service(folder: Path, **settings: str) -> Iterator[Path]:
    """The running module; yields its folder."""
    keys = folder / "fleet.pub"
    keys.write_text(SEALER.public_key.to_text() + "\n")
    environment = {
        **os.environ,
        "IMAGEDELTA_ROOT": str(folder / "module"),
        "IMAGEDELTA_HUB": "HostName=http://127.0.0.1:9/iothub/n;DeviceId=ship-1;ModuleId=m;SharedAccessKey=a2V5",
        "IMAGEDELTA_KEYS": str(keys),
        "IMAGEDELTA_PLATFORM": "linux/amd64",
        "IMAGEDELTA_STABLE_SECONDS": "0",
        **settings,
    }
    (folder / "module").mkdir(exist_ok=True)
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge_module", "run"], env=environment, stdout=log, stderr=log
        )
    try:
        yield folder / "module"
        process.terminate()
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()


def drop(root: Path, target: BuiltImage, source: BuiltImage, scratch: Path) -> None:
    patch, summary = a_patch(target, source, scratch=scratch)
    head = BundleHead(
        bundle_id="bundle-1",
        device_id="ship-1",
        transfer_id="transfer-1",
        attempt=1,
        number=1,
        target_image_id=target.image_id,
        source_image_ids=(source.image_id,),
        reference=target.image.references[0],
        platform="linux/amd64",
        patch_sha256=summary.sha256,
        patch_bytes=len(patch),
        memory_bytes=summary.memory_bytes,
        full_bytes=summary.full_bytes,
    )
    wait_for((root / "inbox").is_dir, SECONDS)
    (root / "inbox/one.part").write_bytes(sealed_bundle(head, patch))
    (root / "inbox/one.part").rename(root / "inbox/one.bundle")


def result(root: Path, log: Path) -> dict[str, object]:
    path = root / "journal/transfer-1-1.json"
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if path.exists():
            job: dict[str, object] = json.loads(path.read_bytes())
            if job["state"] in ("succeeded", "failed", "source_missing"):
                return job
        time.sleep(0.1)
    pytest.fail(f"no result: {log.read_text()[-3000:]}", pytrace=False)


def test_with_the_engine_docker_a_bundle_ends_in_the_docker_store_and_in_the_registry(
    daemon: DockerDaemon, ship: RegistryProcess, tmp_path: Path
) -> None:
    settings = {"IMAGEDELTA_ENGINE": "docker", "IMAGEDELTA_REGISTRY": ship.address, "DOCKER_HOST": daemon.host}
    with service(tmp_path, **settings) as root:
        drop(root, NEW, OLD, tmp_path)
        job = result(root, tmp_path / "log")

    assert job["state"] == "succeeded", job
    name = f"{ship.address}/service:2"
    assert inspected(daemon, name)["Id"] == NEW.image_id
    remove_all(daemon)
    by_digest = f"{ship.address}/service@{job['local_digest']}"
    daemon.docker("pull", "-q", by_digest)
    assert saved(daemon, by_digest, tmp_path / "saved.tar") == pulled(NEW)


def test_with_the_engine_docker_and_no_registry_the_name_is_a_tag(
    daemon: DockerDaemon, ship: RegistryProcess, tmp_path: Path
) -> None:
    with service(tmp_path, IMAGEDELTA_ENGINE="docker", IMAGEDELTA_REGISTRY="none", DOCKER_HOST=daemon.host) as root:
        drop(root, NEW, OLD, tmp_path)
        job = result(root, tmp_path / "log")

    assert (job["state"], job.get("local_digest")) == ("succeeded", None)
    assert saved(daemon, "service:2", tmp_path / "saved.tar") == pulled(NEW)


def test_a_registry_with_a_socket_adopts_the_source_and_gives_the_docker_store_the_new_image(
    daemon: DockerDaemon, ship: RegistryProcess, tmp_path: Path
) -> None:
    """The old image was only in the Docker store: without a byte on the link it is a source in the registry."""
    settings = {"IMAGEDELTA_ENGINE": "registry", "IMAGEDELTA_REGISTRY": ship.address, "DOCKER_HOST": daemon.host}
    with service(tmp_path, **settings) as root:
        wait_for(lambda: ship.repository("service/_manifests/tags/1").exists(), SECONDS)
        drop(root, NEW, OLD, tmp_path)
        job = result(root, tmp_path / "log")
        wait_for(lambda: f"{ship.address}/service" in daemon.docker("images", "--digests"), SECONDS)

    assert job["state"] == "succeeded", job
    assert job["local_digest"] == sha256_id(manifest_bytes(NEW.image, [len(layer) for layer in NEW.layers]))
    ship.stop()
    assert inspected(daemon, f"{ship.address}/service@{job['local_digest']}")["Id"] == NEW.image_id
    assert inspected(daemon, f"{ship.address}/service:2")["Id"] == NEW.image_id
