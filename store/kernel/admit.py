"""Letting the app into a database of Azure SQL: a user without a password, for its managed identity.

It is made of the identity's client id, so that the server looks nothing up in Entra ID and needs no role there. Roles
are those of docs/schema.md, "Migrations": read and write, not change the schema.

Source: learn.microsoft.com, "CREATE USER (Transact-SQL)" (WITH SID, TYPE = E); a SID is the sixteen bytes of the
application's id as SQL Server stores a uniqueidentifier, the first three groups with their bytes turned round.
"""

from __future__ import annotations

import re
import uuid

from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from imagedelta.errors import DependencyError, RequestError
from store.kernel.engine import Database

ROLES = ("db_datareader", "db_datawriter")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,127}")
"""Of a user-assigned managed identity, which goes into statements as it is."""


def admit(database: Database, name: str, client_id: str) -> None:
    """Make the user unless it is there; one of an older identity of that name is replaced.

    Raises: RequestError ``settings.invalid``; DependencyError ``dependency.login`` for a login that may not do it.
    """
    sid = _sid(client_id)
    if not _NAME.fullmatch(name):
        raise RequestError(f"{name[:60]!r} is no name of a managed identity", code="settings.invalid")
    try:
        database.write(lambda connection: _admit(connection, name, sid))
    except ProgrammingError as error:
        raise DependencyError(
            f"{name} is not let in: do it as who administers the database ({error.orig})", code="dependency.login"
        ) from error


def _admit(connection: Connection, name: str, sid: str) -> None:
    if connection.dialect.name != "mssql":
        raise RequestError(
            "IMAGEDELTA_DATABASE_URL names no SQL Server: only there users are let in", code="settings.invalid"
        )
    there = f"SELECT 1 FROM sys.database_principals WHERE name = N'{name}'"  # noqa: S608 - held against _NAME
    connection.execute(text(f"IF EXISTS ({there} AND sid <> {sid}) DROP USER [{name}]"))
    connection.execute(text(f"IF NOT EXISTS ({there}) CREATE USER [{name}] WITH SID = {sid}, TYPE = E"))
    for role in ROLES:
        connection.execute(text(f"ALTER ROLE {role} ADD MEMBER [{name}]"))


def _sid(client_id: str) -> str:
    try:
        return f"0x{uuid.UUID(client_id).bytes_le.hex().upper()}"
    except ValueError:
        raise RequestError(f"{client_id[:60]!r} is no client id: it is a GUID", code="settings.invalid") from None
