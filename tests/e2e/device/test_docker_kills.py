"""The module or its daemon is killed in the middle of a reconstruction: old images stay, the job is finished later."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_module.engines.docker_daemon import Daemon
from tests.e2e.device.docker_place import remove_all, saved
from tests.e2e.device.docker_rebuild import engine_of
from tests.e2e.parts.dockerd_process import DockerDaemon
from tests.e2e.parts.registry_process import RegistryProcess
from tests.engines.place import listed, pulled
from tests.engines.suite import noise
from tests.images import an_image, docker_save
from tests.unit.delta.patches import a_patch

pytestmark = pytest.mark.e2e
KILLS, DAEMON_KILLS = 32, 5
BASE = {"lib/base": noise(1_500_000, 1)}
CODE = noise(1_200_000, 2)
OLD = an_image(BASE, {"app/code": CODE}, references=("app:1",))
NEW = an_image(
    BASE,
    {"app/code": CODE[:600_000] + noise(40_000, 3) + CODE[600_000:]},
    {"app/data": noise(300_000, 4)},
    references=("app:2",),
)


@dataclass
class Ship:
    dockerd: DockerDaemon
    registry: RegistryProcess
    folder: Path

    def run(self, **more: object) -> tuple[int, int]:
        """(exit code, events) of one try; -9 when it was killed."""
        task = {
            "root": str(self.folder / "module"),
            "daemon": self.dockerd.host,
            "registry": self.registry.url,
            "patch": str(self.folder / "patch"),
            "reference": "app:2",
            **more,
        }
        (self.folder / "task.json").write_text(json.dumps(task))
        done = subprocess.run(
            [sys.executable, "-m", "tests.e2e.device.docker_rebuild", str(self.folder / "task.json")],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode in (0, 3, -9), done.stderr
        return done.returncode, int((done.stdout or "0").split()[0])

    def listed(self) -> dict[str, tuple[str, ...]]:
        task = {"root": str(self.folder / "module"), "registry": self.registry.url}
        with engine_of(task, Daemon(self.dockerd.host)) as engine:
            return dict(listed(engine))

    def check(self) -> None:
        """The old image is listed; the new one, if it is, is whole, and so is the old one then: byte for byte."""
        names = self.listed()
        assert names[OLD.image_id] == ("app:1",)
        for built in (OLD, NEW):
            if names.get(NEW.image_id):
                reference = f"{self.registry.address}/{names[built.image_id][0]}"
                self.dockerd.docker("pull", "-q", reference)
                assert saved(self.dockerd, reference, self.folder / "saved.tar") == pulled(built)

    def leftovers(self) -> list[str]:
        folders = ("docker/ingest", "docker/layers", "docker/loading", "scratch")
        return [str(path) for folder in folders for path in (self.folder / "module" / folder).iterdir()]

    def forget_new(self) -> None:
        task = {"root": str(self.folder / "module"), "registry": self.registry.url}
        with engine_of(task, Daemon(self.dockerd.host)) as engine:
            engine.remove_image(NEW.image_id)


@pytest.fixture(scope="module")
def ship(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ship]:
    dockerd = DockerDaemon(tmp_path_factory.mktemp("dockerd"))
    registry = RegistryProcess(tmp_path_factory.mktemp("registry"))
    folder = tmp_path_factory.mktemp("ship")
    try:
        dockerd.wait_until_ready()
        patch, _ = a_patch(NEW, OLD, scratch=folder)
        (folder / "patch").write_bytes(patch)
        dockerd.docker("load", stdin=docker_save(OLD))
        dockerd.docker("tag", "app:1", f"{registry.address}/app:1")
        dockerd.docker("push", "-q", f"{registry.address}/app:1")
        remove_all(dockerd)
        yield Ship(dockerd, registry, folder)
    finally:
        dockerd.stop()
        registry.stop()


@pytest.fixture(scope="module")
def events(ship: Ship) -> int:
    """How many there are in a whole reconstruction from a source that is only in the registry."""
    code, count = ship.run()
    assert code == 0
    ship.check()
    assert ship.listed() == {OLD.image_id: ("app:1",), NEW.image_id: ("app:2",)}
    assert ship.leftovers() == []
    return count


def again(ship: Ship) -> None:
    """As before the reconstruction."""
    if NEW.image_id in ship.listed():
        ship.forget_new()
    remove_all(ship.dockerd)


def test_the_module_is_killed_at_many_points(ship: Ship, events: int) -> None:
    """Often within one reconstruction, as on a ship whose power comes and goes; each goes on where it was."""
    chance = random.Random(11)
    kills, finished = 0, 0
    again(ship)
    while kills < KILLS or not finished:
        code, _ = ship.run(kill_at=chance.randint(1, events) if kills < KILLS else 0)
        ship.check()
        kills += code == -9
        if code == 0:
            assert NEW.image_id in ship.listed()
            assert ship.leftovers() == []
            finished += 1
            again(ship)


def test_the_daemon_is_killed_at_several_points(ship: Ship, events: int) -> None:
    interrupted = 0  # near the end everything may have been answered before the daemon is gone
    for point in random.Random(12).sample(range(1, events + 1), DAEMON_KILLS):
        again(ship)
        pid = int((ship.dockerd.data.parent / "pid").read_text())
        code, _ = ship.run(kill_at=point, victim=pid)
        interrupted += code == 3
        ship.dockerd.kill()
        ship.dockerd.start()
        ship.dockerd.wait_until_ready()
        ship.check()
        assert ship.run()[0] == 0
        ship.check()
        assert NEW.image_id in ship.listed()
        assert ship.leftovers() == []
    assert interrupted > DAEMON_KILLS // 2
