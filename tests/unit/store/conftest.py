from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from store.kernel.schema import metadata
from store.sql import SqlStore
from tests.unit.store.server import clear, server_url
from tests.unit.store.tsql import listening
from tests.unit.store.world import World


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database to copy: migrating costs more than most tests.

    Never opened again: a copy of a database in use is half of it, and closing its file drops SQLite's locks.
    """
    path = tmp_path_factory.mktemp("store") / "empty.db"
    store = SqlStore(f"sqlite:///{path}")
    store.migrate()
    store.close()
    return path


@pytest.fixture
def database_url(empty_database: Path, tmp_path: Path) -> str:
    """A migrated database of this test alone, for what changes more than rows."""
    path = tmp_path / "imagedelta.db"
    shutil.copy(empty_database, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def shared_url(empty_database: Path) -> str:
    """SQLite, or the server of `make test-sql`, in a database that is cleared first."""
    if (url := server_url(empty_database.parent)) is not None:
        clear(url)
        return url
    return f"sqlite:///{shutil.copy(empty_database, empty_database.with_name('shared.db'))}"


@pytest.fixture
def bare_url(shared_url: str, tmp_path: Path) -> str:
    """A database without a table. That of a server is the shared one: whoever takes it migrates it."""
    if shared_url.startswith("sqlite"):
        return f"sqlite:///{tmp_path / 'new.db'}"
    clear(shared_url)
    return shared_url


@pytest.fixture(scope="session")
def shared_store(shared_url: str) -> Iterator[SqlStore]:
    """One engine for all tests: compiling each statement anew costs more than running it.

    Whatever a test has it say must be known to SQL Server, too.
    """
    store = SqlStore(shared_url)
    store.migrate()
    with listening(store._db.engine):
        yield store
    store.close()


@pytest.fixture
def store(shared_store: SqlStore) -> SqlStore:
    """The shared store without a row."""
    shared_store._db.write(empty)
    return shared_store


def empty(connection: Connection) -> None:
    for table in reversed(metadata.sorted_tables):
        connection.execute(table.delete())


@pytest.fixture
def world(store: SqlStore) -> World:
    return World(store)
