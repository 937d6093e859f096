"""The power goes at every write and every request of a reconstruction on the engine ``docker``.

A daemon says that it has an image before the image's files are on the disk. After a power cut it goes on saying so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_module.engines.docker import DockerEngine
from edge_module.engines.docker_daemon import Daemon, Patience
from tests.engines.place import listed, sizes_of, write_layers
from tests.engines.suite import APP_1, APP_2
from tests.simulators.docker_daemon import ContainerdStoreSimulator
from tests.simulators.files import FileSystemSimulator, Mode, PowerCut

PATIENCE = Patience(ask=5, silence=5, work=5)


class CutDaemon(Daemon):
    """The power goes before or after the n-th request, counted from 1."""

    def __init__(self, address: str, cut_at: int = 0, *, answered: bool = False) -> None:
        super().__init__(address, PATIENCE)
        self.requests = 0
        self._cut_at = cut_at
        self._answered = answered

    @contextmanager
    def _request(self, *arguments: Any, **more: Any) -> Iterator[Any]:
        self.requests += 1
        here = self.requests == self._cut_at
        if here and not self._answered:
            raise PowerCut
        with super()._request(*arguments, **more) as response:
            yield response
        if here:
            raise PowerCut


class Ship:
    def __init__(self, folder: Path) -> None:
        self.disk = FileSystemSimulator()
        self.store = ContainerdStoreSimulator(folder / "docker.sock")
        self.store.put(APP_1, "app:1")
        self.store.sync()

    def engine(self, daemon: Daemon) -> DockerEngine:
        return DockerEngine(self.disk, daemon, flush=self.store.sync, new_id=lambda: "installation-1")

    def work(self, daemon: Daemon) -> None:
        """As the module does at its start: what is here already only gets its name."""
        engine = self.engine(daemon)
        engine.clean()
        if APP_2.image_id not in listed(engine):
            with engine.begin(APP_2.image_id, "app:2", sizes_of(APP_2), [APP_1.image_id]) as work:
                assert work.find(APP_1.image.diff_ids[0]).read_at(0, 512) == APP_1.layers[0][:512]
                write_layers(work, APP_2, range(3))
                work.finish(APP_2.image.config)
        engine.name_image(APP_2.image_id, "app:2")

    def check_after_the_cut(self, daemon: Daemon) -> None:
        """Nothing is listed whose files are lost; the old image is."""
        engine = self.engine(daemon)
        found = listed(engine)
        assert found[APP_1.image_id] == ("app:1",)
        sound = {self.store.images[own].image_id for own in self.store.images if own not in self.store.damaged}
        assert set(found) <= sound

    def check_at_the_end(self, daemon: Daemon) -> None:
        assert listed(self.engine(daemon)) == {APP_1.image_id: ("app:1",), APP_2.image_id: ("app:2",)}
        own = self.store.find("app:2")
        assert own not in self.store.damaged
        assert self.store.images[str(own)].layers == APP_2.layers
        for folder in ("docker/ingest", "docker/layers", "docker/loading", "scratch"):
            assert self.disk.list(folder) == []


def cut_and_go_on(ship: Ship, address: str, daemon: Daemon, mode: Mode, seed: int) -> bool:
    """Whether the power went."""
    try:
        ship.work(daemon)
    except PowerCut:
        cut = True
        ship.store.cut_power()
        ship.disk.reboot(mode, seed)
        ship.check_after_the_cut(Daemon(address, PATIENCE))
        ship.work(Daemon(address, PATIENCE))
    else:
        cut = False
    ship.disk.restart()
    ship.check_at_the_end(Daemon(address, PATIENCE))
    return cut


@pytest.mark.parametrize("mode", ["dropped", "kept", "torn"])
def test_the_power_goes_at_every_write(tmp_path: Path, mode: Mode) -> None:
    for operation in range(1, 200):
        folder = tmp_path / str(operation)
        folder.mkdir()
        ship = Ship(folder)
        with ship.store.running() as address:
            ship.engine(Daemon(address, PATIENCE)).clean()
            ship.disk.cut_power_at(operation)
            if not cut_and_go_on(ship, address, Daemon(address, PATIENCE), mode, operation):
                break
    assert operation > 25, operation


@pytest.mark.parametrize("answered", [False, True])
def test_the_power_goes_at_every_request(tmp_path: Path, answered: bool) -> None:
    """Before it, and after its answer; an answer that is not read to its end has no after."""
    whole = Ship(tmp_path)
    with whole.store.running() as address:
        uncut = CutDaemon(address)
        whole.work(uncut)
    cuts = 0
    for request in range(1, uncut.requests + 1):
        folder = tmp_path / str(request)
        folder.mkdir()
        ship = Ship(folder)
        with ship.store.running() as address:
            daemon = CutDaemon(address, request, answered=answered)
            cuts += cut_and_go_on(ship, address, daemon, "dropped", request)
    assert cuts >= uncut.requests - 2 > 20, (cuts, uncut.requests)
