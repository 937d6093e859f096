"""What several tests of the device start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.parts.azurite import Azurite
from tests.e2e.parts.broker import Broker
from tests.e2e.parts.hub_stand_in import HubStandIn
from tests.e2e.parts.registry_process import RegistryProcess


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    azurite = Azurite(tmp_path_factory.mktemp("azurite"))
    try:
        yield azurite.wait_until_ready()
    finally:
        azurite.stop()


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("broker"))
    try:
        yield broker.start()
    finally:
        broker.kill()


@pytest.fixture
def cloud(broker: Broker) -> Iterator[HubStandIn]:
    cloud = HubStandIn(broker)
    try:
        cloud.wait_until_ready()
        broker.save()
        yield cloud
    finally:
        cloud.close()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    """One registry with the shipped runner; tests use repositories or images of their own, or ``registry_place``."""
    registry = RegistryProcess(
        tmp_path_factory.mktemp("registry"), runner=True, more={"IMAGEDELTA_COLLECT_DELAY_SECONDS": "3600"}
    )
    yield registry
    registry.stop()
