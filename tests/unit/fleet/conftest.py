from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from store.kernel.schema import metadata
from store.sql import SqlStore
from tests.simulators.fleet import FleetSimulator


@pytest.fixture(scope="session")
def fleet_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    """One engine for all tests: migrating and compiling statements anew costs more than running them.

    It does not wait for the disk: no test here cuts the power.
    """
    path: Path = tmp_path_factory.mktemp("fleet") / "imagedelta.db"
    store = SqlStore(f"sqlite:///{path}")
    event.listen(store._db.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
    store.migrate()
    yield store
    store.close()


@pytest.fixture
def fleet(fleet_store: SqlStore) -> FleetSimulator:
    """A fleet on an empty database."""
    fleet_store._db.write(lambda connection: [connection.execute(t.delete()) for t in reversed(metadata.sorted_tables)])
    return FleetSimulator(fleet_store)
