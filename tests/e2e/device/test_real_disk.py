"""The module on a file system of a few MiB that is really full, and then really read-only."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.device.vessel import Vessel
from tests.e2e.parts.broker import Broker
from tests.e2e.parts.hub_stand_in import HubStandIn
from tests.unit.edge.world import APP_1, APP_2, make_bundle

pytestmark = pytest.mark.e2e


class SmallDisk:
    """A tmpfs, which needs root as dockerd does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self._mount("-t", "tmpfs", "-o", "size=4m", "none")

    def fill(self) -> None:
        """To the last byte."""
        with (self._folder / "filler").open("wb", buffering=0) as stream:
            for size in (65_536, 4096, 1):
                try:
                    while True:
                        stream.write(bytes(size))
                except OSError:
                    continue

    def make_room(self) -> None:
        (self._folder / "filler").unlink()

    def read_only(self) -> None:
        self._mount("-o", "remount,ro")

    def writable(self) -> None:
        self._mount("-o", "remount,rw")

    def gone(self) -> None:
        subprocess.run(["umount", "--lazy", self._folder], check=True)

    def _mount(self, *options: str) -> None:
        subprocess.run(["mount", *options, self._folder], check=True)


@pytest.fixture
def vessel(broker: Broker, tmp_path: Path) -> Iterator[Vessel]:
    vessel = Vessel(tmp_path, broker)
    yield vessel
    vessel.stop()


@pytest.fixture
def disk(vessel: Vessel) -> Iterator[SmallDisk]:
    disk = SmallDisk(vessel.root)
    yield disk
    vessel.stop()
    disk.gone()


def test_a_disk_that_is_full_and_one_that_is_read_only_mute_nothing_and_cost_nothing(
    disk: SmallDisk, vessel: Vessel, cloud: HubStandIn
) -> None:
    vessel.load(APP_1)
    vessel.start("--until-idle")
    cloud.wait_for(lambda hub: hub.inventories)
    vessel.kill()
    vessel.carry_in(make_bundle())
    disk.fill()

    vessel.start()
    try:
        cloud.wait_for(lambda hub: hub.reported.get("disk", {}).get("state") == "disk.full")
        cloud.wait_for(lambda hub: len(hub.inventories) > 1)
        cloud.desire({"paused": True})
        cloud.wait_for(lambda hub: hub.reported.get("paused") is True)
        assert [each.state for each in cloud.reports if each.state == "failed"] == []

        vessel.kill()
        disk.make_room()
        disk.read_only()
        vessel.start()
        cloud.wait_for(lambda hub: hub.reported.get("disk", {}).get("state") == "disk.read_only")
        cloud.desire({"paused": False})
        cloud.wait_for(lambda hub: hub.reported.get("paused") is False)

        disk.writable()
        cloud.wait_for(lambda hub: [each.state for each in hub.reports][-1:] == ["succeeded"], 120)
        newest = cloud.wait_for(lambda hub: [each for each in hub.inventories if len(each.images) == 2])[-1]
    except AssertionError as error:
        raise AssertionError(f"{error}\n{vessel.log()}") from error

    assert {image.image_id for image in newest.images} == {APP_1.image_id, APP_2.image_id}
    assert not list((vessel.root / "inbox").glob("*.bundle"))
    assert vessel.terminate() == 0
