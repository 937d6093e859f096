"""The store's database: whether it can be reached, and for SQL Server whether the driver is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from imagedelta_cli.checks.finding import Finding, State, first_line

_CHECK = "database"
_SECONDS = 10


def check_database(url_text: str) -> Iterator[Finding]:
    """Connect to ``sqlite:///…`` or ``mssql+pyodbc://…``; a password is never shown."""
    try:
        url = make_url(url_text)
    except ArgumentError:
        yield Finding(_CHECK, State.FAILED, "the URL cannot be read", "Correct IMAGEDELTA_DATABASE_URL.")
        return
    if url.get_backend_name() == "sqlite":
        yield _sqlite(url)
    elif url.get_backend_name() == "mssql":
        yield from _sql_server(url)
    else:
        yield Finding(_CHECK, State.FAILED, f"{url.drivername} is not supported", "Use sqlite or mssql+pyodbc.")


def _sqlite(url: URL) -> Finding:
    path = Path(url.database or "")
    if not path.is_file():
        return Finding(_CHECK, State.NOT_CONFIGURED, f"{path} does not exist yet: the host makes it when it starts")
    return _ask(url.set(database=f"file:{path.resolve()}", query={"mode": "ro", "uri": "true"}), str(path))


def _sql_server(url: URL) -> Iterator[Finding]:
    try:
        import pyodbc
    except ImportError as error:
        yield Finding(_CHECK, State.FAILED, f"pyodbc: {first_line(error)}", _DRIVER)
        return
    drivers = [name for name in pyodbc.drivers() if "SQL Server" in name]
    wanted = str(url.query.get("driver", max(drivers, default="")))
    if wanted not in drivers:
        there = ", ".join(drivers) or "none"
        yield Finding(
            _CHECK, State.FAILED, f"ODBC driver {wanted or '(unnamed)'} is not there; there are: {there}", _DRIVER
        )
        return
    shown = url.render_as_string(hide_password=True)
    if url.username is None and not _LOGIN_WORDS & {word.lower() for word in url.query}:
        found = f"{shown} names no login: the app logs in as its managed identity, which is not at hand here"
        yield Finding(_CHECK, State.WARNING, found, "Look at GET /api/health of the app.")
        return
    yield _ask(url.update_query_dict({"driver": wanted}), shown)


def _remedy(problem: str) -> str:
    if "no such table" in problem or "(208)" in problem:
        return "Run `imagedelta db upgrade` with a login that may change the schema."
    return "Look at the database and its login."


_LOGIN_WORDS = frozenset({"uid", "authentication", "trusted_connection", "odbc_connect"})
_DRIVER = "Install unixODBC and Microsoft's msodbcsql18, and name it in the URL: ?driver=ODBC+Driver+18+for+SQL+Server."


def _ask(url: URL, shown: str) -> Finding:
    timeout = {"timeout": _SECONDS}
    engine = create_engine(url, connect_args=timeout)
    try:
        with engine.connect() as connection:
            connection.execute(text("select 1")).scalar()
            version = connection.execute(text("select version_num from alembic_version")).scalar()
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        return Finding(_CHECK, State.FAILED, f"{shown}: {first_line(cause)}", _remedy(str(cause)))
    finally:
        engine.dispose()
    return Finding(_CHECK, State.OK, f"{shown} answers, schema {version}")
