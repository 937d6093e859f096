"""What the end-to-end story has around it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import daemon, pytest_runtest_makereport
from tests.pipelines.fleet import Fleet

__all__ = ["daemon", "pytest_runtest_makereport"]


@pytest.fixture(scope="session")
def command_line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but ``imagedelta``."""
    folder = tmp_path_factory.mktemp("command-line")
    installed = shutil.which("imagedelta", path=str(Path(sys.executable).parent))
    assert installed, "make setup"
    (folder / "imagedelta").symlink_to(installed)
    return folder


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, daemon: object, command_line: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path_factory.mktemp("fleet"), daemon, command_line) as fleet:  # type: ignore[arg-type]
        yield fleet
