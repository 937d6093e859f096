"""A reconstruction while the real registry, the way to it or its disk fails: it waits, and finishes afterwards."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from edge_module.engines.registry_client import RegistryClient
from imagedelta.errors import DependencyError
from tests.e2e.device.registry_place import RegistryPlace
from tests.e2e.device.registry_ship import Ship
from tests.e2e.device.test_registry_runner import wait_until
from tests.e2e.parts.registry_process import RegistryProcess
from tests.engines.place import listed, make, pulled
from tests.engines.suite import APP_1 as SUITE_APP
from tests.engines.suite import noise
from tests.images import an_image
from tests.simulators.tcp_proxy import TcpProxy
from tests.unit.edge.world import APP_1, APP_2

pytestmark = pytest.mark.e2e


class TroubledClient(RegistryClient):
    """Something happens just before one call."""

    at = 0
    happens: Callable[[], None]

    @contextmanager
    def _send(self, *arguments: Any, **options: Any) -> Iterator[httpx.Response]:
        if self.requests + 1 == self.at:
            self.happens()
        with super()._send(*arguments, **options) as response:
            yield response


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    registry = RegistryProcess(tmp_path_factory.mktemp("troubled"))
    yield registry
    registry.stop()


@pytest.fixture
def ship(own: RegistryProcess, tmp_path: Path) -> Iterator[Ship]:
    shutil.rmtree(own.storage / "docker", ignore_errors=True)
    place = RegistryPlace(own, tmp_path / "module")
    yield Ship(place)
    place.close()


def troubled(address: str, at: int, happens: Callable[[], None]) -> TroubledClient:
    client = TroubledClient(f"http://{address}", silence_seconds=1, pause=0.05)
    client.at, client.happens = at, happens
    return client


def tried(ship: Ship, client: RegistryClient) -> bool:
    """Whether it finished; that it waits is the only other end."""
    try:
        ship.rebuild(client)
    except DependencyError as error:
        assert error.code in ("registry.down", "registry.busy", "engine.layers_gone"), error
        return False
    return True


def assert_finishes(ship: Ship, when: str) -> None:
    assert {image.image_id for image in ship.images()} >= {APP_1.image_id}, when
    ship.rebuild()
    assert {image.references for image in ship.images()} == {("app:1",), ("app:2",)}, when
    assert ship.place.pull("app:2", None) == pulled(APP_2), when


@pytest.mark.parametrize("after", [1_000, 5_000, 20_000, 40_000, 100_000])
def test_a_way_that_breaks_every_few_bytes_delays_the_job(ship: Ship, after: int) -> None:
    with TcpProxy(("127.0.0.1", ship.place.registry.port)) as way:
        way.cut_after = after
        tried(ship, troubled(way.address, 0, list))
        assert way.cuts > 0

    assert_finishes(ship, f"cut after {after}")


@pytest.mark.parametrize("trouble", ["hangs", "answers 500", "is a captive portal", "refuses", "cuts"])
def test_a_registry_that_fails_in_the_middle_delays_the_job(ship: Ship, trouble: str) -> None:
    calls = ship.rebuild()
    for at in range(2, calls, EVERY[trouble]):
        ship.again()
        with TcpProxy(("127.0.0.1", ship.place.registry.port)) as way:

            def happens(way: TcpProxy = way) -> None:
                way.hanging = trouble == "hangs"
                way.refusing = trouble == "refuses"
                way.answer = ANSWERS.get(trouble)
                way.cut()

            started = time.monotonic()
            finished = tried(ship, troubled(way.address, at, happens))
            assert finished == (trouble == "cuts"), f"call {at}"
            assert time.monotonic() - started < 60

        assert_finishes(ship, f"{trouble} at call {at}")


EVERY = {"hangs": 16, "answers 500": 12, "is a captive portal": 12, "refuses": 12, "cuts": 8}
"""Calls between two that are tried; each takes seconds to be given up."""
ANSWERS = {
    "answers 500": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "is a captive portal": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>",
}


def test_a_registry_that_is_killed_and_started_again_in_the_middle_is_gone_on_with(ship: Ship) -> None:
    registry = ship.place.registry
    calls = ship.rebuild()

    def happens() -> None:
        registry.kill()
        registry.start()

    for at in range(1, calls, 8):
        ship.again()
        assert tried(ship, troubled(registry.address, at, happens)), f"call {at}"
        assert_finishes(ship, f"killed at call {at}")


def test_a_full_disk_of_the_registry_is_told_and_waited_for(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], check=True)
    try:
        with RegistryProcess(tmp_path / "registry", storage=disk / "data", runner=True) as registry:
            place = RegistryPlace(registry, tmp_path / "module")
            assert_waits_for_room(place, disk / "filler")
            place.close()
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def assert_waits_for_room(place: RegistryPlace, filler: Path) -> None:
    engine = place.engine()
    make(engine, SUITE_APP, "app:1")
    filler.write_bytes(b"x" * (1 << 20))
    large = an_image({"large": noise(2 << 20, 1)})

    with pytest.raises(DependencyError) as raised:
        make(engine, large, "large:1")
    assert raised.value.code == "disk.full"
    assert listed(engine) == {SUITE_APP.image_id: ("app:1",)}
    wait_until(lambda: place.leftovers() == [])

    filler.unlink()
    make(engine, large, "large:1")
    assert place.pull("large:1", None) == pulled(large)
