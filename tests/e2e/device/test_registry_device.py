"""The module as a process beside a real registry and a real broker: from a file in the inbox to what is pulled."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.device.registry_place import RegistryPlace
from tests.e2e.device.vessel import Vessel
from tests.e2e.host_process import wait_for
from tests.e2e.parts.broker import Broker
from tests.e2e.parts.hub_stand_in import HubStandIn
from tests.e2e.parts.registry_process import RegistryProcess
from tests.engines.place import listed, pulled
from tests.unit.edge.world import APP_1, APP_2, make_bundle

pytestmark = pytest.mark.e2e


@pytest.fixture
def place(registry: RegistryProcess, tmp_path: Path) -> Iterator[RegistryPlace]:
    shutil.rmtree(registry.storage / "docker", ignore_errors=True)
    place = RegistryPlace(registry, tmp_path / "other")
    yield place
    place.close()


@pytest.fixture
def vessel(broker: Broker, place: RegistryPlace, tmp_path: Path) -> Iterator[Vessel]:
    vessel = Vessel(
        tmp_path,
        broker,
        IMAGEDELTA_ENGINE="auto",
        IMAGEDELTA_REGISTRY=place.registry.address,
        IMAGEDELTA_REGISTRY_SHARED=str(place.registry.shared),
    )
    yield vessel
    vessel.stop()


def test_a_bundle_in_the_inbox_becomes_an_image_that_is_pulled_by_the_digest_that_was_reported(
    cloud: HubStandIn, vessel: Vessel, place: RegistryPlace
) -> None:
    vessel.load(APP_1)
    vessel.start()
    wait_for(lambda: cloud.inventories, 30)
    vessel.carry_in(make_bundle())

    cloud.wait_for(lambda hub: [each.state for each in hub.reports][-1:] == ["succeeded"])

    assert place.pull("app:2", cloud.reports[-1].local_digest) == pulled(APP_2)
    after = cloud.wait_for(lambda hub: hub.inventories if len(hub.inventories) > 1 else None)[-1]
    assert {image.image_id: image.references for image in after.images} == {
        APP_1.image_id: ["app:1"],
        APP_2.image_id: ["app:2"],
    }
    assert after.installation_id == place.engine().installation_id()
    assert cloud.wait_for(lambda hub: hub.reported.get("engine")) == "registry"
    assert vessel.terminate() == 0
    assert place.leftovers() == []
    assert vessel.command("images").splitlines() == sorted([f"{APP_1.image_id} app:1", f"{APP_2.image_id} app:2"])


def test_while_the_registry_is_away_the_device_waits_and_goes_on_by_itself(
    cloud: HubStandIn, vessel: Vessel, place: RegistryPlace
) -> None:
    vessel.load(APP_1)
    vessel.start()
    wait_for(lambda: cloud.inventories, 30)
    place.registry.stop()
    try:
        vessel.carry_in(make_bundle())
        wait_for(lambda: "registry.down" in vessel.log(), 60)
    finally:
        place.registry.start()

    cloud.wait_for(lambda hub: [each.state for each in hub.reports][-1:] == ["succeeded"], 120)
    assert {each.state for each in cloud.reports} <= {"blocked", "applying", "received", "receiving", "succeeded"}
    assert place.pull("app:2", cloud.reports[-1].local_digest) == pulled(APP_2)


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 8))])
def test_whoever_is_killed_the_job_finishes_once(
    seed: int, cloud: HubStandIn, vessel: Vessel, place: RegistryPlace
) -> None:
    chance = random.Random(seed)
    vessel.load(APP_1)
    vessel.carry_in(make_bundle())
    for _ in range(4):
        vessel.start()
        time.sleep(chance.uniform(0.5, 4.0))
        if chance.random() < 0.5:
            place.registry.kill()
            place.registry.start()
        vessel.kill()
        assert APP_1.image_id in listed(place.engine())
    vessel.start()

    cloud.wait_for(lambda hub: [each.state for each in hub.reports][-1:] == ["succeeded"], 120)
    assert len({each.message_id for each in cloud.reports if each.state == "succeeded"}) == 1
    assert place.pull("app:2", cloud.reports[-1].local_digest) == pulled(APP_2)
    wait_for(lambda: len(place.leftovers()) <= 1, 30)
