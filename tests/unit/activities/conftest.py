from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.kernel.schema import metadata
from store.sql import SqlStore
from tests.unit.activities.bench import Bench


@pytest.fixture(scope="session")
def bench_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    """One engine for all tests: migrating and compiling statements anew costs more than running them."""
    store = SqlStore(f"sqlite:///{tmp_path_factory.mktemp('bench') / 'imagedelta.db'}")
    store.migrate()
    yield store
    store.close()


@pytest.fixture
def bench(bench_store: SqlStore, tmp_path: Path) -> Bench:
    bench_store._db.write(lambda connection: [connection.execute(t.delete()) for t in reversed(metadata.sorted_tables)])
    return Bench(bench_store, tmp_path / "blobs")
