"""The SQL Server that `make test-sql` runs the store's tests on, as IMAGEDELTA_TEST_DSN names it."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote_plus

from sqlalchemy import inspect, text

from store.kernel.engine import Database
from store.kernel.schema import metadata
from tests.e2e.cloud import odbc_driver

VARIABLE = "IMAGEDELTA_TEST_DSN"


def server_url(folder: Path) -> str | None:
    """None when the tests run on SQLite. A machine without Microsoft's driver takes the wheel's."""
    given = os.environ.get(VARIABLE)
    if not given:
        return None
    import pyodbc

    if "ODBCSYSINI" not in os.environ and not any("SQL Server" in name for name in pyodbc.drivers()):
        odbc_driver.register(folder)
    return given if "://" in given else f"mssql+pyodbc:///?odbc_connect={quote_plus(_with_driver(given))}"


def _with_driver(text_of_odbc: str) -> str:
    named = any(part.strip().lower().startswith(("driver=", "dsn=")) for part in text_of_odbc.split(";"))
    return text_of_odbc if named else f"DRIVER={{{odbc_driver.NAME}}};{text_of_odbc}"


def clear(url: str) -> None:
    """Take our tables out of the database; one that holds anything else is left alone."""
    database = Database(url)
    try:
        with database.engine.begin() as connection:
            there = set(inspect(connection).get_table_names())
            others = there - set(metadata.tables) - {"alembic_version"}
            assert not others, f"{VARIABLE} names a database with other tables: {', '.join(sorted(others))}"
            metadata.drop_all(connection)
            if "alembic_version" in there:
                connection.execute(text("DROP TABLE alembic_version"))
    finally:
        database.close()
