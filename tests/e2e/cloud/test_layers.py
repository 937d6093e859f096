"""Layered releases through the hub's REST interface: what lies over what is decided by a local hub, not by a test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.hubs.connection import HubConnection
from services.hubs.hub import IotHub
from services.hubs.rest import RestCalls
from services.hubs.transport import HubTransport
from services.identity import Identity
from store.sql import SqlStore
from tests.e2e.host_process import APPS, HostProcess, HubClient, hub_key
from tests.simulators.calls import Calls
from tests.unit.activities.bench import Bench
from tests.unit.activities.layered_fleet import ALL_RELEASED, APP2, APP3, BOATS, Fleet

pytestmark = pytest.mark.e2e


class ServedHub(IotHub):
    """A local hub by HTTP, with what the fleet of the test does beside the port."""

    def __init__(self, host: HostProcess) -> None:
        connection = HubConnection.parse(host.endpoint()["hubs"]["north"])
        self.web = httpx.Client(timeout=20, trust_env=False)
        transport = HubTransport("north", connection.url, self.web)
        super().__init__(RestCalls("north", connection, Identity({}), transport=transport))
        self.calls = Calls()
        self._client = HubClient(host, "north", hub_key(host.state, "north"))

    def add_device(self, device_id: str, modules_content: Mapping[str, Any], *others: str) -> None:
        for module in others:
            self._client.enrol(device_id, module)
        self.apply_content(device_id, modules_content, on=1)

    def tag(self, device_id: str, tags: Mapping[str, Any]) -> None:
        assert self._client.service("PATCH", f"/twins/{device_id}", json={"tags": dict(tags)}).is_success

    def images(self, device_id: str) -> dict[str, str]:
        twin = self.module_twin(device_id, "$edgeAgent")
        assert twin is not None
        return {name: str(one["settings"]["image"]) for name, one in twin.desired["modules"].items()}

    def report(self, device_id: str, module_id: str, reported: Mapping[str, Any]) -> None:
        path = f"/devices/{device_id}/modules/{module_id}"
        identity = self._client.service("GET", path).json()
        key = identity["authentication"]["symmetricKey"]["primaryKey"]
        answer = self._client.device("PATCH", f"{path}/twin/properties/reported", key, path, json=dict(reported))
        assert answer.is_success, answer.text


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    host = HostProcess(tmp_path / "state", APPS / "everything", LOG=str(tmp_path / "log"), TICK="0 0 0 1 1 *").start()
    store = SqlStore(f"sqlite:///{tmp_path / 'imagedelta.db'}")
    store.migrate()
    bench = Bench(store, tmp_path / "blobs")
    served: Any = ServedHub(host)
    bench.hub = served
    bench.with_deps(hubs={"north": served})
    try:
        yield Fleet(bench)
    finally:
        served.web.close()
        store.close()
        host.stop()


def test_devices_go_from_layer_to_layer_and_the_layer_that_is_left_is_taken_away(fleet: Fleet) -> None:
    first = fleet.order(APP2)
    assert fleet.release(first) == ALL_RELEASED
    for device_id in BOATS:
        assert fleet.hub.images(device_id) == {"radar": "mcr.example/radar:1", "app": "localhost:5000/app:2"}
        fleet.run_it(device_id)
    fleet.bench.now.forward(minutes=1)
    assert fleet.confirm(first) == dict.fromkeys(BOATS, "applied")

    second = fleet.order(APP3, canaries=["boat-2"])
    assert fleet.release(second) == {"boat-1": "ready", "boat-2": "released", "boat-3": "ready"}
    assert [fleet.hub.images(device_id)["app"] for device_id in BOATS] == [
        "localhost:5000/app:2",
        "localhost:5000/app:3",
        "localhost:5000/app:2",
    ]
    fleet.bench.store.sets.promote(second, "olga", fleet.bench.now())
    assert fleet.release(second) == ALL_RELEASED
    fleet.bench.now.forward(days=2)

    assert fleet.tidy() == ["base", fleet.record(second).layer_id]
    assert [fleet.hub.images(device_id)["app"] for device_id in BOATS] == ["localhost:5000/app:3"] * 3
