"""What several end-to-end tests start."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.e2e import process_logs
from tests.e2e.parts.dockerd_process import DockerDaemon


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerDaemon]:
    """One dockerd for all tests that only add images of names of their own."""
    daemon = DockerDaemon(tmp_path_factory.mktemp("dockerd"))
    try:
        daemon.wait_until_ready()
        yield daemon
    finally:
        daemon.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows the last words of the processes around it."""
    report = yield
    if report.failed:
        report.sections += process_logs.sections()
    return report
