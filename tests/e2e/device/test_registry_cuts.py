"""A whole reconstruction straight into a real registry, killed at every single call, and gone on with."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.messages import DesiredProperties
from edge_module.engines import PresentImage
from edge_module.engines.registry import RegistryEngine
from edge_module.engines.registry_client import RegistryClient
from edge_module.rebuild import Rebuilder
from edge_module.refused import RefusedFiles
from imagedelta.bundles import read_bundle
from tests.e2e.device.registry_place import RegistryPlace
from tests.e2e.device.registry_process import RegistryProcess
from tests.engines.place import listed, pulled
from tests.simulators.files import PowerCut
from tests.unit.edge.world import APP_1, APP_2, TRUSTED, make_bundle

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


class Ship:
    """A device that has app:1 in its registry and the bundle of app:2 in its hands."""

    def __init__(self, place: RegistryPlace) -> None:
        self.place = place
        self.storage = place.registry.storage / "docker"
        self._saved = self.storage.with_name("saved")
        place.put(APP_1)
        shutil.rmtree(self._saved, ignore_errors=True)
        shutil.copytree(self.storage, self._saved)

    def again(self) -> None:
        shutil.rmtree(self.storage)
        shutil.copytree(self._saved, self.storage)
        shutil.rmtree(self.place.files.root)
        self.place.files.root.mkdir()

    def rebuild(self, cut_at: int = 0, *, after: bool = False) -> int:
        """Returns the calls this took."""
        client = CutClient(self.place.registry.url, pause=0.1)
        client.cut_at, client.after = cut_at, after
        engine = RegistryEngine(client, self.place.files)
        rebuilder = Rebuilder(self.place.files, engine, RefusedFiles(self.place.files), 128 << 20, 0)
        try:
            engine.clean()
            if APP_2.image_id not in listed(engine):
                bundle = read_bundle(io.BytesIO(make_bundle().data), TRUSTED)
                rebuilder.rebuild(bundle, DesiredProperties(), verify=True, begin=lambda: None)
            engine.name_image(APP_2.image_id, "app:2")
        finally:
            client.close()
        return client.requests

    def images(self) -> list[PresentImage]:
        """Whole ones, their bytes read."""
        engine = self.place.engine()
        images = engine.images()
        for image in images:
            assert engine.drop_damaged(image.diff_ids) == (), f"{image.references} is listed with wrong bytes"
        return images


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
        with pytest.raises(PowerCut):
            ship.rebuild(number, after=after)

        found = {image.image_id: image.references for image in ship.images()}
        assert found.pop(APP_1.image_id) == ("app:1",), f"call {number}"
        assert found in ({}, {APP_2.image_id: ()}, {APP_2.image_id: ("app:2",)}), f"call {number}"

        ship.rebuild()
        assert {image.references for image in ship.images()} == {("app:1",), ("app:2",)}, f"call {number}"
        # An upload whose last place the process never learnt is left to the registry, which purges it.
        assert len(ship.place.leftovers()) <= after, f"call {number}"
    assert ship.place.pull("app:2", None) == pulled(APP_2)
    assert ship.place.pull("app:1", None) == pulled(APP_1)
