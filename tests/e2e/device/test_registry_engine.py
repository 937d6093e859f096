"""The engine ``registry`` on a real registry: what all engines do alike, and what only a registry has."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.device.registry_place import RegistryPlace
from tests.e2e.device.registry_process import RegistryProcess
from tests.engines.suite import EngineSuite

pytestmark = pytest.mark.e2e


@pytest.fixture
def place(registry: RegistryProcess, tmp_path: Path) -> Iterator[RegistryPlace]:
    """The registry, emptied: it keeps nothing in memory."""
    shutil.rmtree(registry.storage / "docker", ignore_errors=True)
    place = RegistryPlace(registry, tmp_path / "module")
    yield place
    place.close()


class TestRegistryEngine(EngineSuite):
    pass
