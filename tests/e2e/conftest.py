"""What several end-to-end tests start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.archive_tools import DockerDaemon


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerDaemon]:
    daemon = DockerDaemon(tmp_path_factory.mktemp("dockerd"))
    try:
        daemon.wait_until_ready()
        yield daemon
    finally:
        daemon.stop()
