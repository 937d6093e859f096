"""Counting what a call says to the database, and letting one of its statements fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from store.sql import SqlStore


@contextmanager
def said(store: SqlStore) -> Iterator[list[str]]:
    """The statements that run meanwhile."""
    texts: list[str] = []

    def note(_connection: Any, _cursor: Any, text: str, *_rest: Any) -> None:
        texts.append(text)

    engine = store._db.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield texts
    finally:
        event.remove(engine, "before_cursor_execute", note)


@contextmanager
def planned(store: SqlStore) -> Iterator[dict[str, list[str]]]:
    """SQLite's plan of each statement that runs meanwhile, made when all have run. For tests marked ``sqlite``."""
    seen: dict[str, Any] = {}

    def note(_connection: Any, _cursor: Any, text: str, parameters: Any, _context: Any, many: bool) -> None:
        if text.startswith(("SELECT", "UPDATE", "DELETE")):
            seen.setdefault(text, parameters[0] if many else parameters)

    plans: dict[str, list[str]] = {}
    engine = store._db.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield plans
    finally:
        event.remove(engine, "before_cursor_execute", note)
    with engine.connect() as connection:
        for text, parameters in seen.items():
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", parameters).all()
            plans[text] = [row[3] for row in rows]


@contextmanager
def failing_once(store: SqlStore, at: int, error: Exception | None = None) -> Iterator[list[int]]:
    """The statement with this number, from 0, finds the database locked, once; how many ran in all.

    Args:
        error: What it raises instead.
    """
    ran = [0]

    def fail(_connection: Any, _cursor: Any, _text: str, *_rest: Any) -> None:
        ran[0] += 1
        if ran[0] == at + 1:
            raise error or store._db.engine.dialect.dbapi.OperationalError("database is locked")  # type: ignore[union-attr]

    engine = store._db.engine
    event.listen(engine, "before_cursor_execute", fail)
    try:
        yield ran
    finally:
        event.remove(engine, "before_cursor_execute", fail)
