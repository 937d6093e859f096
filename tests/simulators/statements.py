"""The statements that reach a database: counted, and the n-th one failing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from imagedelta.errors import DependencyError
from services.store_port import Store


def gone() -> Exception:
    return DependencyError("the database went away")


@contextmanager
def statements(
    store: Store, *, failing: int | None = None, error: Callable[[], Exception] = gone
) -> Iterator[list[str]]:
    """Those of the block, as a list that grows; number ``failing`` raises ``error`` instead of being run."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)
        if len(seen) == failing:
            raise error()

    engine = store._db.engine  # type: ignore[attr-defined]  # of store.sql.SqlStore, whatever the port hides
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)
