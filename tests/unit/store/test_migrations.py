from __future__ import annotations

import io
import multiprocessing
import re
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Table, UniqueConstraint, inspect, text

from imagedelta.errors import DependencyError
from store.kernel.engine import Database
from store.kernel.migrate import alembic_config, head, migrate, schema_version
from store.kernel.schema import metadata
from store.sql import SqlStore

SPAWN = multiprocessing.get_context("spawn")


def test_a_migrated_database_is_what_the_schema_says(database_url: str) -> None:
    database = Database(database_url)

    with database.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
        tables = set(inspect(connection).get_table_names())

    assert differences == []
    assert tables == {*metadata.tables, "alembic_version"}
    database.close()


def test_migrating_again_changes_nothing_and_health_is_good(database_url: str) -> None:
    store = SqlStore(database_url)

    store.migrate()

    store.healthy()
    store.close()


def test_health_names_a_schema_of_another_version(database_url: str, tmp_path: Path) -> None:
    fresh = SqlStore(f"sqlite:///{tmp_path / 'fresh.db'}")
    with pytest.raises(DependencyError, match=f"schema none, this version needs {head()}") as missing:
        fresh.healthy()
    with pytest.raises(DependencyError) as unread:
        fresh.sets.deployment_set("set-1")
    assert (missing.value.code, unread.value.code) == ("dependency.schema_old", "dependency.schema_old")
    fresh.close()

    database = Database(database_url)
    database.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    database.close()
    store = SqlStore(database_url)
    with pytest.raises(DependencyError, match="schema 9999") as other:
        store.healthy()
    assert other.value.code == "dependency.schema"
    store.close()


def migrate_in_process(url: str, failed: Any) -> None:
    store = SqlStore(url)
    try:
        store.migrate()
        store.healthy()
        failed.put(None)
    except Exception as error:
        failed.put(repr(error))
    store.close()


def test_processes_that_start_at_once_migrate_once(bare_url: str) -> None:
    failed = SPAWN.Queue()
    processes = [SPAWN.Process(target=migrate_in_process, args=(bare_url, failed)) for _ in range(3)]

    for process in processes:
        process.start()
    results = [failed.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()

    assert results == [None] * 3


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'new.db'}")
    upgrade = command.upgrade

    def cut_short(config: Any, revision: str) -> None:
        upgrade(config, revision)
        raise RuntimeError("power")

    monkeypatch.setattr(command, "upgrade", cut_short)
    with pytest.raises(RuntimeError):
        store.migrate()
    monkeypatch.undo()

    database = Database(f"sqlite:///{tmp_path / 'new.db'}")
    assert inspect(database.engine).get_table_names() == []
    store.migrate()
    store.healthy()
    store.close()
    database.close()


def test_revisions_are_one_line_without_branches() -> None:
    scripts = ScriptDirectory.from_config(alembic_config())

    assert scripts.get_heads() == [head()]
    assert scripts.get_bases() == ["20261129"]


def test_a_database_of_another_version_of_the_program_is_left_as_it_is(database_url: str) -> None:
    database = Database(database_url)
    database.write(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '20991231'")))

    with pytest.raises(DependencyError, match="20991231") as refused:
        migrate(database)

    assert refused.value.code == "dependency.schema"
    assert database.read(schema_version) == "20991231"
    database.close()


def test_every_revision_can_be_undone(database_url: str) -> None:
    database = Database(database_url)

    def work(connection: Any) -> None:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")

    database.write(work)

    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    database.close()


def test_the_migrations_for_sql_server_are_written_offline() -> None:
    config = alembic_config()
    config.attributes["dialect"] = "mssql"
    config.output_buffer = io.StringIO()

    command.upgrade(config, "head", sql=True)

    script = config.output_buffer.getvalue()
    assert "CREATE TABLE transfers" in script
    assert "DATETIME2(6)" in script
    assert "NVARCHAR(max)" in script
    assert "VARBINARY(max)" in script
    assert "COLLATE Latin1_General_100_BIN2" in script
    assert not re.search(r"(?<!version_num )\bN?VARCHAR\(\d+\)(?! COLLATE Latin1_General_100_BIN2)", script)
    assert (
        "CREATE UNIQUE INDEX uq_transfers_active ON transfers (device_id, image_id) WHERE state IN ('applying'"
        in script
    )
    for outdated in (" NTEXT", " IMAGE", " DATETIME ", " DATETIME,", "DATETIMEOFFSET"):
        assert outdated not in script


def test_the_schema_document_names_every_table_and_key() -> None:
    document = (Path(__file__).parents[3] / "docs" / "schema.md").read_text()

    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([\w, ]+) \|$", document, re.MULTILINE))

    keys = {name: ", ".join(key_of(table)) for name, table in metadata.tables.items()}
    assert rows == keys


def key_of(table: Table) -> list[str]:
    unique = [c for c in table.constraints if isinstance(c, UniqueConstraint)]
    key = table.primary_key if len(table.primary_key.columns) else unique[0]
    return [column.name for column in key.columns]
