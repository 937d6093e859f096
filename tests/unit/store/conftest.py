from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.sql import SqlStore
from tests.unit.store.world import World


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database, copied for each test: migrating costs more than most tests."""
    path = tmp_path_factory.mktemp("store") / "empty.db"
    store = SqlStore(f"sqlite:///{path}")
    store.migrate()
    store.close()
    return path


@pytest.fixture
def database_url(empty_database: Path, tmp_path: Path) -> str:
    path = tmp_path / "imagedelta.db"
    shutil.copy(empty_database, path)
    return f"sqlite:///{path}"


@pytest.fixture
def store(database_url: str) -> Iterator[SqlStore]:
    store = SqlStore(database_url)
    yield store
    store.close()


@pytest.fixture
def world(store: SqlStore) -> World:
    return World(store)
