"""README.md, "Try it by hand": every line of its console blocks, typed as it stands there, in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.host_process import wait_for

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "README.md").read_text("utf-8").partition("## Try it by hand\n")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"```console\n(.*?)```", SECTION, re.DOTALL)
SHELLS = re.split(r"\n(?=\$ \. \.venv/bin/activate\n)", "\n".join(BLOCKS))
"""A block that enters the environment opens a shell; the blocks below it are typed into the same one."""
STAYS = {"host start": "Host is ready at", "run": "device ship-1, images in"}
"""Last commands of a block that do not end, and what they say when they serve."""
NOT_COPIED = (".*cache", ".venv", ".git", ".demo", ".benchmarks", ".imagedelta", ".hypothesis", ".downloads")


@dataclass(frozen=True)
class Shell:
    """What is typed into one shell."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def wait(self) -> str:
        assert self.process.wait(timeout=300) == 0, self.said()
        return self.said()

    def wait_until_it_serves(self, words: str) -> None:
        wait_for(lambda: words in self.said() or self.process.poll() is not None, 60)
        assert words in self.said(), self.said()


class Desk:
    """A fresh copy of the project and the shells that are open in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shells: list[Shell] = []

    def type(self, text: str) -> Shell:
        lines = [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
        log = self.folder / f".shell-{len(self._shells)}.log"
        environment = {
            **os.environ,
            "MAKEFLAGS": "n",  # the environment that this test runs in is what `make setup` makes
            "IMAGEDELTA_PORT": "0",
            "TIMER_SCHEDULE": "*/2 * * * * *",
        }
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["bash", "-e", "-c", "\n".join(lines)],
                cwd=self.folder,
                env=environment,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._shells.append(Shell(process, log))
        return self._shells[-1]

    def leave(self) -> None:
        for shell in reversed(self._shells):
            if shell.process.poll() is None:
                os.killpg(shell.process.pid, signal.SIGTERM)
                shell.process.wait(timeout=60)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("reader") / "imagedelta"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NOT_COPIED), symlinks=True)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    desk = Desk(folder)
    yield desk
    desk.leave()


def test_every_line_of_the_readme_works_and_ends_with_the_image_on_both_devices(desk: Desk) -> None:
    cloud, device, people = SHELLS

    desk.type(cloud).wait_until_it_serves(STAYS["host start"])
    ship = desk.type(device)
    ship.wait_until_it_serves(STAYS["run"])
    said = desk.type(people).wait()

    assert re.search(r"^state +completed$", said, re.MULTILINE), said
    assert re.search(r"^transfer-\S+ +ship-1 +app:2 +succeeded", said, re.MULTILINE), said
    assert (desk.folder / "app.bundle").stat().st_size < 20_000
    assert image_in(desk, "app-2.tar") == image_in(desk, "app-2-again.tar")
    assert "checked against fleet.key.pub" in said
    assert f"{image_in(desk, 'app-2.tar')} app:2" in said
    for folder in ("ship-1", "ship-2"):
        config = desk.folder / folder / "images/blobs/sha256" / image_in(desk, "app-2.tar").removeprefix("sha256:")
        assert config.is_file(), ship.said()


def test_no_line_is_left_untyped() -> None:
    assert (len(BLOCKS), len(SHELLS)) == (5, 3)
    assert all(line.startswith("$ ") for block in BLOCKS for line in block.splitlines())
    assert SECTION.count("imagedelta ") == sum(block.count("imagedelta ") for block in BLOCKS)


def image_in(desk: Desk, archive: str) -> str:
    command = [ROOT / ".venv/bin/imagedelta", "inspect", archive]
    found = subprocess.run(command, cwd=desk.folder, capture_output=True, text=True, check=True).stdout
    match = re.search(r"sha256:[0-9a-f]{64}", found)
    assert match, found
    return match[0]
