"""The contract of the port ``Hub``, held by the simulator and by our own REST calls to a local hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.http_bounded import bounded_client
from services.hubs.connection import HubConnection
from services.hubs.hub import IotHub
from services.hubs.rest import RestCalls
from services.hubs.transport import HubTransport
from services.identity import Identity
from services.ports import Hub
from tests.hubs.local import LocalHubs
from tests.hubs.suite import HubSuite
from tests.simulators.hub import HubSimulator


class SimulatedPlace(HubSimulator):
    @property
    def hub(self) -> Hub:
        return self


class LocalPlace(LocalHubs):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        connection = HubConnection.parse(self.connection)
        self._client = bounded_client(10, proxies=False)
        transport = HubTransport("north", connection.url, self._client)
        self.hub: Hub = IotHub(RestCalls("north", connection, Identity({}), transport=transport))

    def close(self) -> None:
        self._client.close()
        super().close()


class TestSimulator(HubSuite):
    @pytest.fixture
    def place(self) -> SimulatedPlace:
        return SimulatedPlace("north")


class TestRestCallsToALocalHub(HubSuite):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[LocalPlace]:
        place = LocalPlace(tmp_path)
        yield place
        place.close()
