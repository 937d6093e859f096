"""Bundles fetched by the command line and carried in a folder to real device processes whose links are closed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from demo.link import LinkProfile, LinkRoom
from tests.e2e.cloud_process import CloudProcess
from tests.e2e.host_process import wait_for
from tests.e2e.test_shared_bundles import LinkedShip, a_cloud, links

__all__ = ["links"]

pytestmark = pytest.mark.e2e

OWN_WAY = {"shared": "yes", "composed": "no"}


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[CloudProcess]:
    process = a_cloud(tmp_path)
    yield process
    process.stop()


@pytest.fixture
def ships(cloud: CloudProcess, tmp_path: Path, links: LinkRoom) -> Iterator[dict[str, LinkedShip]]:
    """One for each form of a bundle; neither may fetch any now."""
    port = int(cloud.host.url.rpartition(":")[2])
    hour = (datetime.now(UTC) + timedelta(hours=3)).hour
    closed = {"hub": "north", "linkHours": f"{hour}-{(hour + 1) % 24}"}
    with ExitStack() as stopped:
        made = {}
        for form, way in OWN_WAY.items():
            own = {"IMAGEDELTA_SHARED_BUNDLES": way, "IMAGEDELTA_STABLE_SECONDS": "0.2"}
            made[form] = LinkedShip(cloud, form, tmp_path, links.open(LinkProfile(2_000_000, 0.01), port), **own)
            stopped.callback(made[form].stop)
            cloud.call("PUT", f"/api/devices/{form}", 200, json=closed)
        for ship in made.values():
            wait_for(lambda ship=ship: closed["linkHours"] in json.dumps(ship.desired()), 30)
        yield made


def export(cloud: CloudProcess, device: str, folder: Path) -> dict[str, Any]:
    address = ["--url", cloud.host.url, "--key", cloud.host.endpoint()["key"], "--json"]
    command = [sys.executable, "-m", "imagedelta_cli.main", "export", device, "-o", str(folder), *address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_folder_carried_by_hand_brings_the_image_in_either_form(
    cloud: CloudProcess, ships: dict[str, LinkedShip], tmp_path: Path
) -> None:
    path = cloud.start(*ships, images=["app:2"])
    for form in ships:
        wait_for(lambda form=form: cloud.items(f"/api/transfers?device={form}&state=published"), 60)

    for form, ship in ships.items():
        stick = tmp_path / f"stick-{form}"
        (bundle,) = export(cloud, form, stick)["bundles"]
        assert export(cloud, form, stick)["bundles"] == [bundle]
        subprocess.run(["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=stick, check=True)
        shutil.copy(stick / bundle["file"], Path(ship.environment["IMAGEDELTA_ROOT"]) / "inbox")

    for ship in ships.values():
        assert not ship.arrived(path)["bytesFetched"]
