"""Bringing a database to this version's schema, by one process at a time."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from imagedelta.errors import DependencyError
from store.kernel.engine import Database

FOLDER = Path(__file__).parents[1] / "migrations"
LOCK_MILLISECONDS = 120_000


def migrate(database: Database) -> None:
    """Run what is missing, in one transaction: several processes may start at once, and one may be killed.

    On SQLite the transaction itself keeps the others out, on SQL Server an application lock does.

    Raises: DependencyError when another process holds the lock for more than two minutes, and ``dependency.schema``
        when another version of the program made the database: it is left as it is.
    """
    database.write(_upgrade)


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "mssql":
        _lock(connection)
    config = alembic_config()
    config.attributes["connection"] = connection
    version = schema_version(connection)
    _check_known(version)
    if version != head():
        command.upgrade(config, "head")


def _check_known(version: str | None) -> None:
    if version is not None and version not in revisions():
        raise DependencyError(f"the schema of the database is revision {version}", code="dependency.schema")


def _lock(connection: Connection) -> None:
    statement = text(
        "SET NOCOUNT ON; DECLARE @got int; "
        "EXEC @got = sp_getapplock @Resource = 'imagedelta-schema', @LockMode = 'Exclusive', "
        f"@LockOwner = 'Transaction', @LockTimeout = {LOCK_MILLISECONDS}; SELECT @got"
    )
    if connection.execute(statement).scalar_one() < 0:
        raise DependencyError("another process is changing the schema of the database")


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return config


@cache
def revisions() -> frozenset[str]:
    """Every revision that this version of the program knows."""
    return frozenset(script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions())


@cache
def head() -> str:
    """The revision this version of the program needs."""
    revision = ScriptDirectory.from_config(alembic_config()).get_current_head()
    if revision is None:
        raise AssertionError("store/migrations/versions is empty: the program was not deployed whole")
    return revision


def schema_version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return version
