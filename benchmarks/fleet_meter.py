"""What a step costs: statements, transactions and CPU, counted where the database is asked."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Engine, event

NAMES = {
    "cpu_seconds": "cpuSeconds",
    "longest_cpu_seconds": "longestCpuSeconds",
    "most_statements": "mostStatements",
}
"""Fields whose name in a line of JSON is another one."""


@dataclass
class Cost:
    """Of one step on a fleet of one size; ``items`` is what its cost is divided by."""

    step: str
    devices: int
    items: int = 0
    statements: int = 0
    """The BEGIN of each transaction included; a statement with many rows of parameters is one."""
    transactions: int = 0
    cpu_seconds: float = 0.0
    bytes: int = 0
    """Of the answer, or of what was stored; 0 where nothing is."""
    calls: int = 0
    """Activities, requests, batches or ticks that did it."""
    longest_cpu_seconds: float = 0.0
    """Of one of these calls."""
    most_statements: int = 0
    """Of one transaction."""

    def each(self, figure: float) -> float:
        return figure / max(1, self.items)

    def document(self) -> dict[str, Any]:
        return {NAMES.get(name, name): value for name, value in asdict(self).items()}


@dataclass
class _Counts:
    statements: int = 0
    transactions: int = 0
    most_statements: int = 0

    def plus(self, other: _Counts) -> _Counts:
        return _Counts(
            self.statements + other.statements,
            self.transactions + other.transactions,
            max(self.most_statements, other.most_statements),
        )


class Meter:
    """Counts on one engine, for one size of fleet. What runs inside ``step`` is added to the step of that name."""

    def __init__(self, engine: Engine, devices: int) -> None:
        self.devices = devices
        self._costs: dict[str, Cost] = {}
        self._counts = _Counts()
        self._lock = threading.Lock()
        self._in_transaction: defaultdict[int, int] = defaultdict(int)
        event.listen(engine, "before_cursor_execute", self._count)

    @property
    def costs(self) -> tuple[Cost, ...]:
        return tuple(self._costs.values())

    @contextmanager
    def step(self, name: str, items: int = 0) -> Iterator[Cost]:
        """Add one call of ``items`` to the step ``name``."""
        cost = self._costs.setdefault(name, Cost(name, self.devices))
        before, began = self._counts, time.process_time()
        self._counts = _Counts()
        try:
            yield cost
        finally:
            taken, counts = time.process_time() - began, self._counts
            self._counts = before.plus(counts)
            cost.items += items
            cost.calls += 1
            cost.statements += counts.statements
            cost.transactions += counts.transactions
            cost.cpu_seconds += taken
            cost.longest_cpu_seconds = max(cost.longest_cpu_seconds, taken)
            cost.most_statements = max(cost.most_statements, counts.most_statements)

    def add(self, name: str, items: int) -> None:
        """Say of how many items a step was, once that is known."""
        self._costs.setdefault(name, Cost(name, self.devices)).items += items

    def _count(
        self, connection: Connection, _cursor: Any, statement: str, _parameters: Any, _context: Any, _many: bool
    ) -> None:
        with self._lock:
            counts, key = self._counts, id(connection.connection.dbapi_connection)
            counts.statements += 1
            if statement.startswith("BEGIN"):
                counts.transactions += 1
                self._in_transaction[key] = 0
            self._in_transaction[key] += 1
            counts.most_statements = max(counts.most_statements, self._in_transaction[key])
