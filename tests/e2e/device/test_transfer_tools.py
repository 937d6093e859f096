"""Transfer tools write into the inbox of a real process in their own ways; killed or not, it takes the bundle whole."""

from __future__ import annotations

import json
import mmap
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.images import oci_archive
from tests.unit.edge.world import APP_1, APP_2, SEALER, make_bundle

pytestmark = pytest.mark.e2e
BUNDLE = make_bundle()
BLOCK = 16 * 1024
PATIENCE = 40.0
NOBODY = "HostName=http://127.0.0.1:9/hub;DeviceId=ship-1;ModuleId=m;SharedAccessKey=a2V5"
"""The hub is out of reach."""


class Aboard:
    def __init__(self, folder: Path) -> None:
        self.root = folder / "data"
        self.log = folder / "module.log"
        keys = folder / "keys"
        keys.mkdir()
        (keys / "fleet.pub").write_text(SEALER.public_key.to_text() + "\n")
        self._environment = {
            **os.environ,
            "IMAGEDELTA_ROOT": str(self.root),
            "IMAGEDELTA_HUB": NOBODY,
            "IMAGEDELTA_KEYS": str(keys),
            "IMAGEDELTA_PLATFORM": "linux/amd64",
            "IMAGEDELTA_ENGINE": "layout",
            "IMAGEDELTA_RESERVE_BYTES": "0",
            "IMAGEDELTA_STABLE_SECONDS": "0.2",
        }
        archive = folder / "image.tar"
        archive.write_bytes(oci_archive(APP_1))
        self._command("load", str(archive))
        (self.root / "inbox").mkdir(exist_ok=True)
        self.path = self.root / "inbox" / BUNDLE.name
        self.process = self._start()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process = self._start()

    def end(self) -> None:
        self.process.terminate()
        assert self.process.wait(20) == 0, self.log.read_text()

    def wait_for_success(self) -> None:
        job = self.root / "journal/transfer-1-1.json"
        deadline = time.monotonic() + PATIENCE
        while not (job.exists() and json.loads(job.read_bytes())["state"] == "succeeded" and not self.path.exists()):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def images(self) -> str:
        return self._command("images")

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "edge_module", "run"]
            return subprocess.Popen(command, env=self._environment, stderr=log, stdout=log)

    def _command(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "edge_module", *arguments]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def aboard(tmp_path: Path) -> Iterator[Aboard]:
    ship = Aboard(tmp_path)
    yield ship
    if ship.process.poll() is None:
        ship.process.kill()
        ship.process.wait()


Rest = Callable[[], None]


def blocks(seed: int) -> list[int]:
    offsets = list(range(0, len(BUNDLE.data), BLOCK))
    random.Random(seed).shuffle(offsets)
    return offsets


def preallocating(path: Path, rest: Rest) -> None:
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, len(BUNDLE.data))
        rest()
        for offset in range(0, len(BUNDLE.data), BLOCK):
            os.pwrite(file.fileno(), BUNDLE.data[offset : offset + BLOCK], offset)
            rest()


def in_several_streams(path: Path, rest: Rest) -> None:
    with path.open("wb") as file:
        for offset in blocks(1):
            os.pwrite(file.fileno(), BUNDLE.data[offset : offset + BLOCK], offset)
            rest()


def last_block_first_then_appending(path: Path, rest: Rest) -> None:
    with path.open("wb") as file:
        os.pwrite(file.fileno(), BUNDLE.data[-BLOCK:], len(BUNDLE.data) - BLOCK)
        rest()
        for offset in range(0, len(BUNDLE.data), BLOCK):
            os.pwrite(file.fileno(), BUNDLE.data[offset : offset + BLOCK], offset)
            rest()


def through_a_memory_map(path: Path, rest: Rest) -> None:
    with path.open("wb+") as file:
        file.truncate(len(BUNDLE.data))
        with mmap.mmap(file.fileno(), len(BUNDLE.data)) as view:
            for offset in blocks(2):
                view[offset : offset + BLOCK] = BUNDLE.data[offset : offset + BLOCK]
                rest()
            view.flush()


def giving_the_time_of_the_source_back(path: Path, rest: Rest) -> None:
    """As rsync --inplace --times does: the modification time never moves."""
    with path.open("wb") as file:
        for offset in blocks(3):
            os.pwrite(file.fileno(), BUNDLE.data[offset : offset + BLOCK], offset)
            os.utime(path, (1_600_000_000, 1_600_000_000))
            rest()


def again_and_again(path: Path, rest: Rest) -> None:
    """Delivered three times in place, cut off twice."""
    for share in (len(BUNDLE.data) // 3, len(BUNDLE.data) * 9 // 10, len(BUNDLE.data)):
        with path.open("wb") as file:
            for offset in range(0, share, BLOCK):
                file.write(BUNDLE.data[offset : min(offset + BLOCK, share)])
                file.flush()
                rest()


TOOLS = [
    preallocating,
    in_several_streams,
    pytest.param(last_block_first_then_appending, marks=pytest.mark.long),
    pytest.param(through_a_memory_map, marks=pytest.mark.long),
    giving_the_time_of_the_source_back,
    again_and_again,
]


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.__name__)
def test_a_tool_may_write_as_it_likes_while_the_module_looks_and_is_killed(
    tool: Callable[[Path, Rest], None], aboard: Aboard
) -> None:
    chance = random.Random(tool.__name__)
    kills = 0

    def rest() -> None:
        nonlocal kills
        assert aboard.path.exists(), aboard.log.read_text()
        time.sleep(chance.choice([0.0, 0.0, 0.1, 0.6]))
        if chance.random() < 0.2 and kills < 2:
            kills += 1
            aboard.kill()

    tool(aboard.path, rest)
    aboard.wait_for_success()
    aboard.end()

    assert APP_2.image_id in aboard.images()
    log = aboard.log.read_text()
    assert " refused (" not in log
    assert list((aboard.root / "refused").iterdir()) == []
    assert list((aboard.root / "inbox").iterdir()) == []
