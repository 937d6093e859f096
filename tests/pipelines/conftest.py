"""What the end-to-end story has around it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import daemon, pytest_runtest_makereport
from tests.e2e.parts.dockerd_process import DockerDaemon
from tests.pipelines.fleet import Fleet

__all__ = ["daemon", "pytest_runtest_makereport"]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, daemon: DockerDaemon) -> Iterator[Fleet]:
    with Fleet(tmp_path_factory.mktemp("fleet"), daemon) as fleet:
        yield fleet
