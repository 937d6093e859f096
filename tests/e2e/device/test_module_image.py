"""The module's container image under a real dockerd: small, unprivileged, and able to rebuild its own successor."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from imagedelta.bundles import read_bundle
from imagedelta.delta.encode import PatchSummary
from tests.e2e.archive_tools import require_tool
from tests.e2e.cli_tools import run as imagedelta
from tests.e2e.device.module_image import ROOT, UID, Daemon, build, import_bases, inspected, wheelhouse
from tests.e2e.device_ship import Ship
from tests.e2e.host_process import APPS, HostProcess, wait_for

pytestmark = pytest.mark.e2e
MIB = 1024 * 1024
OLDEST_PROFILE = "v1-16m-nofold"
VERSION = "imagedelta/__init__.py"
MOST_BYTES = 45 * MIB
"""What the module adds to its base: every device carries it."""


@dataclass(frozen=True)
class Images:
    daemon: Daemon
    one: str
    two: str
    """The version after: one file of the module is another."""


@pytest.fixture(scope="module")
def images(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Images:
    wheels = wheelhouse(tmp_path_factory.mktemp("wheelhouse"))
    import_bases(daemon)
    newer = (ROOT / VERSION).read_bytes().replace(b'__version__ = "', b'__version__ = "9.')
    return Images(
        daemon,
        build(daemon, wheels, "imagereconstruction:1"),
        build(daemon, wheels, "imagereconstruction:2", {VERSION: newer}),
    )


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    folder = tmp_path_factory.mktemp("ashore")
    process = HostProcess(folder / "state", APPS / "everything", LOG=str(folder / "log"), TICK="0 0 0 1 1 *")
    yield process.start()
    process.stop()


class Aboard:
    """The module in a container, started as the deployment snippet has IoT Edge start it."""

    def __init__(self, daemon: Daemon, ship: Ship, name: str) -> None:
        self._daemon = daemon
        self._ship = ship
        self.name = name
        ship.root.mkdir(exist_ok=True)
        os.chown(ship.root, UID, UID)

    def run(self, image: str, *command: str, detach: bool = False) -> str:
        """Run a command of the module in a container; ``detach`` leaves it running as the service."""
        options = create_options()["HostConfig"]
        volumes = [f"--volume={self._ship.root}:/data", f"--volume={self._keys}:/etc/imagedelta/keys:ro"]
        settings = [
            f"--env={name}={self._ship.environment[name]}"
            for name in ("IMAGEDELTA_HUB", "IMAGEDELTA_PLATFORM", "IMAGEDELTA_POLL_SECONDS", "IMAGEDELTA_RESERVE_BYTES")
        ]
        return self._daemon.docker(
            "run", *(["--detach", f"--name={self.name}"] if detach else ["--rm"]),
            "--network=host", "--read-only", "--tmpfs=/tmp:size=8m", "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
            f"--memory={options['Memory']}", f"--memory-swap={options['MemorySwap']}",
            f"--pids-limit={options['PidsLimit']}", f"--oom-score-adj={options['OomScoreAdj']}",
            *volumes, *settings, "--env=IMAGEDELTA_LOG_FORMAT=json", "--env=IMAGEDELTA_ENGINE=layout", image, *command,
        )  # fmt: skip

    @property
    def _keys(self) -> str:
        return self._ship.environment["IMAGEDELTA_KEYS"]

    def exec(self, *command: str) -> str:
        return self._daemon.docker("exec", self.name, *command)

    def logs(self) -> str:
        """Both streams: the module's log is on stderr."""
        command = [require_tool("docker", "docker.io"), "logs", self.name]
        done = subprocess.run(
            command,
            env={**os.environ, **self._daemon.env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=True,
        )
        return done.stdout.decode()

    def stop(self) -> float:
        """End it as edgeAgent does; returns how many seconds that took."""
        started = time.monotonic()
        self._daemon.docker("stop", "--time=10", self.name)
        return time.monotonic() - started

    def remove(self) -> None:
        self._daemon.docker("rm", "--force", self.name)

    def peak(self) -> int:
        """Most resident bytes of the module so far."""
        process = inspected(self._daemon, "container", self.name)["State"]["Pid"]
        status = Path(f"/proc/{process}/status").read_text()
        return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def create_options() -> dict[str, dict[str, Any]]:
    snippet = json.loads((ROOT / "edge_module/deployment.snippet.json").read_text())
    module = snippet["modulesContent"]["$edgeAgent"]["properties.desired.modules.imagereconstruction"]
    options: dict[str, dict[str, Any]] = module["settings"]["createOptions"]
    return options


def test_the_module_adds_little_to_its_base_and_nothing_that_a_device_does_not_need(images: Images) -> None:
    daemon, config = images.daemon, inspected(images.daemon, "image", images.one)
    base = inspected(daemon, "image", "base:run")
    look = daemon.docker("run", "--rm", "--network=none", "--entrypoint=/bin/sh", images.one, "-c", "cd /app; du -ak .")
    sizes = {line.split("\t")[1]: int(line.split("\t")[0]) * 1024 for line in look.splitlines()}
    added = config["Size"] - base["Size"]
    parts = {name: size for name, size in sizes.items() if name.count("/") == 2 and size > MIB // 2}
    print(f"the module adds {added / MIB:.1f} MiB to a base of {base['Size'] / MIB:.1f} MiB")
    print(
        "\n".join(f"  {size / MIB:5.1f} MiB {name}" for name, size in sorted(parts.items(), key=lambda each: -each[1]))
    )

    assert added < MOST_BYTES
    unwanted = r"hdiffpatch|bsdiff4|delta/encode|/tests/|__pycache__|\.whl$|\.pyi$|/pip/|packages/bin|wheelhouse"
    assert [name for name in sizes if re.search(unwanted, name)] == []
    assert "./packages/imagedelta_native/_native.abi3.so" in sizes
    assert config["Config"]["User"] == f"{UID}:{UID}"
    assert config["Config"]["Healthcheck"]["Test"][-1] == "healthy"
    assert len(config["RootFS"]["Layers"]) - len(base["RootFS"]["Layers"]) == 3


def test_equal_sources_give_equal_bytecode(images: Images) -> None:
    """So that an update of the module carries what changed, and nothing else."""
    command = "cd /app/module/compiled; find . -name '*.pyc' | sort | xargs md5sum"
    one, two = (
        images.daemon.docker("run", "--rm", "--network=none", "--entrypoint=/bin/sh", image, "-c", command).splitlines()
        for image in (images.one, images.two)
    )

    assert len(one) > 300
    assert [line.split("/")[-1] for line in two if line not in one] == ["__init__.cpython-311.pyc"]


@dataclass(frozen=True)
class OwnUpdate:
    patch: bytes
    summary: PatchSummary
    source: Path
    """Archive of the image that it starts from."""


@pytest.fixture(scope="module")
def own_update(images: Images, tmp_path_factory: pytest.TempPathFactory) -> OwnUpdate:
    """From the module's image to its successor, in the oldest profile."""
    folder = tmp_path_factory.mktemp("own")
    for image, name in ((images.one, "one"), (images.two, "two")):
        images.daemon.docker("save", "--output", folder / f"{name}.tar", image)
    made = imagedelta(
        "diff", "two.tar", "--source", "one.tar", "-o", "own.bundle", "--reference", "imagereconstruction:2",
        "--profile", OLDEST_PROFILE, cwd=folder,
    )  # fmt: skip
    print(f"its own update: {made['bundleBytes']} bytes of {made['fullBytes']}")
    (folder / "one.tar").chmod(0o644)
    with (folder / "own.bundle").open("rb") as stream:
        bundle = read_bundle(stream, None)
        patch, head = bundle.patch.read(), bundle.head
    summary = SimpleNamespace(
        target_image_id=head.target_image_id,
        source_image_ids=head.source_image_ids,
        sha256=head.patch_sha256,
        memory_bytes=head.memory_bytes,
        full_bytes=head.full_bytes,
    )
    return OwnUpdate(patch, cast(PatchSummary, summary), folder / "one.tar")


def a_ship(images: Images, host: HostProcess, own_update: OwnUpdate, folder: Path, name: str) -> tuple[Ship, Aboard]:
    """It has the module's image, and the update waits in its outbox."""
    ship = Ship(host, name, folder)
    aboard = Aboard(images.daemon, ship, name)
    archive = ship.root / "one.tar"
    archive.hardlink_to(own_update.source)
    aboard.run(images.one, "load", "/data/one.tar", "--as", "imagereconstruction:1")
    archive.unlink()
    ship.publish(own_update.patch, own_update.summary, reference="imagereconstruction:2")
    ship.desire()
    return ship, aboard


def test_the_module_rebuilds_its_own_successor_and_both_read_what_the_other_leaves(
    images: Images, host: HostProcess, own_update: OwnUpdate, tmp_path: Path
) -> None:
    """Within its limits, as uid 13622, on a read-only file system, from a bundle in the oldest profile."""
    ship, aboard = a_ship(images, host, own_update, tmp_path, "ship-1")

    def has_succeeded() -> bool:
        return any(report["state"] in ("succeeded", "failed") for report in ship.reports())

    aboard.run(images.one, "run", detach=True)
    try:
        wait_for(has_succeeded, 180)
        healthy, peak = aboard.exec("python3", "-m", "edge_module", "healthy"), aboard.peak()
        beating = json.loads(aboard.exec("sh", "-c", "cat /dev/shm/imagedelta-*.json"))
        state = inspected(images.daemon, "container", aboard.name)["State"]
        seconds = aboard.stop()
        ended = inspected(images.daemon, "container", aboard.name)["State"]
        lines = [json.loads(line) for line in aboard.logs().splitlines()]
    finally:
        aboard.remove()
    (rebuild,) = [line for line in lines if "mostMemoryBytes" in line]
    most = rebuild["mostMemoryBytes"]
    print(
        f"module {peak / MIB:.0f} MiB, rebuild {most / MIB:.0f} MiB in {rebuild['seconds']} s; ended in {seconds:.1f} s"
    )

    assert [report["state"] for report in ship.reports()] == ["receiving", "received", "applying", "succeeded"]
    assert len(own_update.patch) < 200_000
    assert (healthy, state["OOMKilled"], ended["ExitCode"]) == ("healthy\n", False, 0)
    assert set(beating) == {"hub", "link", "apply"}
    assert peak <= 96 * MIB and most <= 128 * MIB
    assert seconds < 10  # when it would be killed
    assert (rebuild["image"], rebuild["name"]) == (images.two, "imagereconstruction:2")
    for image in (images.two, images.one):  # forward, and back again
        listed = aboard.run(image, "images")
        assert f"{images.one} imagereconstruction:1" in listed
        assert f"{images.two} imagereconstruction:2" in listed
        aboard.run(image, "run", "--until-idle")
    assert len([report for report in ship.reports() if report["state"] == "succeeded"]) == 1


def with_the_docker_socket() -> dict[str, dict[str, Any]]:
    """What docs/device.md says is added where the module shall use it."""
    page = (ROOT / "docs/device.md").read_text()
    added = json.loads(page.partition("<!-- docker-socket -->\n```json\n")[2].partition("```")[0])
    options = create_options()
    host = options["HostConfig"]
    return {**options, "HostConfig": {**host, **added, "Binds": [*host["Binds"], *added["Binds"]]}}


@pytest.mark.parametrize("socket", [False, True])
def test_the_create_options_of_the_snippet_make_a_container_of_just_those_limits(images: Images, socket: bool) -> None:
    options = with_the_docker_socket() if socket else create_options()
    body = {**options, "Image": images.one}
    place = images.daemon.env["DOCKER_HOST"].removeprefix("unix://")

    with httpx.Client(transport=httpx.HTTPTransport(uds=place), timeout=60) as api:
        answer = api.post("http://docker/v1.41/containers/create?name=snippet", json=body)
    assert answer.status_code == 201, answer.text
    made = inspected(images.daemon, "container", "snippet")
    images.daemon.docker("rm", "snippet")

    assert [each for each in answer.json()["Warnings"] if "weight" not in each] == []
    asked = {name: value for name, value in options["HostConfig"].items() if name != "BlkioWeight"}
    assert {name: made["HostConfig"][name] for name in asked} == asked
    assert made["Config"]["Healthcheck"]["Test"][-1] == "healthy"
    assert ("996" in (made["HostConfig"]["GroupAdd"] or [])) is socket
