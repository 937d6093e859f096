"""A whole reconstruction straight into a real registry, killed at every single call, and gone on with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from edge_module.engines.registry_client import RegistryClient
from tests.e2e.device.registry_place import RegistryPlace
from tests.e2e.device.registry_ship import Ship
from tests.e2e.parts.registry_process import RegistryProcess
from tests.engines.place import pulled
from tests.simulators.files import PowerCut
from tests.unit.edge.world import APP_1, APP_2

pytestmark = pytest.mark.e2e


class CutClient(RegistryClient):
    """The process ends at one call: before it is sent, or when its answer has begun to arrive."""

    cut_at, after = 0, False

    @contextmanager
    def _send(self, *arguments: Any, **options: Any) -> Iterator[httpx.Response]:
        if self.requests + 1 == self.cut_at and not self.after:
            raise PowerCut(f"before call {self.cut_at}")
        call: AbstractContextManager[httpx.Response] = super()._send(*arguments, **options)
        with call as response:
            if self.requests == self.cut_at:
                raise PowerCut(f"after call {self.cut_at}")
            yield response


@pytest.fixture
def ship(registry: RegistryProcess, tmp_path: Path) -> Iterator[Ship]:
    shutil.rmtree(registry.storage / "docker", ignore_errors=True)
    place = RegistryPlace(registry, tmp_path / "module")
    yield Ship(place)
    place.close()


@pytest.mark.parametrize("after", [False, pytest.param(True, marks=pytest.mark.long)], ids=["before", "after"])
def test_a_kill_at_any_call_of_the_registry_loses_nothing_and_the_job_finishes(ship: Ship, after: bool) -> None:
    calls = ship.rebuild()
    assert calls > 30

    for number in range(1, calls + 1):
        ship.again()
        client = CutClient(ship.place.registry.url, pause=0.1)
        client.cut_at, client.after = number, after
        with pytest.raises(PowerCut):
            ship.rebuild(client)

        found = {image.image_id: image.references for image in ship.images()}
        assert found.pop(APP_1.image_id) == ("app:1",), f"call {number}"
        assert found in ({}, {APP_2.image_id: ()}, {APP_2.image_id: ("app:2",)}), f"call {number}"

        ship.rebuild()
        assert {image.references for image in ship.images()} == {("app:1",), ("app:2",)}, f"call {number}"
        # An upload whose last place the process never learnt is left to the registry, which purges it.
        assert len(ship.place.leftovers()) <= after, f"call {number}"
    assert ship.place.pull("app:2", None) == pulled(APP_2)
    assert ship.place.pull("app:1", None) == pulled(APP_1)
