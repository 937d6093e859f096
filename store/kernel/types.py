"""Column types that mean the same on SQLite and SQL Server: UTC times, JSON, keys, texts, bytes.

SQL Server types are named outright (no NTEXT, no IMAGE, no DATETIME), and keys compare by bytes on both, so
that a device called ``Ship-1`` is never taken for ``ship-1``.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, LargeBinary, String, Unicode, UnicodeText
from sqlalchemy.dialects import mssql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

COLLATION = "Latin1_General_100_BIN2"
"""Compares by code points. Its sister for UTF-8 is not known to Babelfish, and keys are ASCII."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time, stored naive with microseconds: an ODBC driver drops offsets silently."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "mssql":
            return dialect.type_descriptor(mssql.DATETIME2(6))  # type: ignore[no-untyped-call]
        return dialect.type_descriptor(DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None else None


class Json(TypeDecorator[Any]):
    """JSON as compact text with sorted keys; SQL never looks inside."""

    impl = UnicodeText
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(mssql.NVARCHAR(None) if dialect.name == "mssql" else UnicodeText())

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


def key(length: int) -> TypeEngine[str]:
    """An ASCII identifier that is compared by bytes."""
    return String(length).with_variant(mssql.VARCHAR(length, collation=COLLATION), "mssql")


def text(length: int) -> TypeEngine[str]:
    """Words for people, up to ``length`` characters. They compare by code points on both: a tag ``North`` is not
    ``north``, whatever collation the server was installed with."""
    return Unicode(length).with_variant(mssql.NVARCHAR(length, collation=COLLATION), "mssql")


def long_text() -> TypeEngine[str]:
    return UnicodeText().with_variant(mssql.NVARCHAR(None), "mssql")


def blob() -> TypeEngine[bytes]:
    return LargeBinary().with_variant(mssql.VARBINARY("max"), "mssql")  # type: ignore[no-untyped-call]
