"""Kills that hit: SIGKILL at a moment when what is to be survived is really going on.

A process is first stopped in its tracks, then its own durable state is read from outside; only if that says
"in the middle" it is killed, else it goes on and the next chance is waited for. So a kill that is counted
did fall inside.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from demo.processes import Process


def kill_inside(process: Process, inside: Callable[[], bool]) -> bool:
    """Kill ``process`` if ``inside()`` holds while it stands still; returns whether it was killed."""
    if not inside():
        return False
    process.suspend()
    if inside():
        process.kill()
        return True
    process.resume()
    return False


def is_building(database: Path, durable: Path, set_id: str) -> bool:
    """Whether the set's orchestration runs and one of its patches is being built, by SQL and the durable state."""
    building = _count(database, "select count(*) from patches where state = 'building'")
    running = _count(
        durable, "select count(*) from instance where id = ? and status in ('Running', 'Pending')", f"deploy-{set_id}"
    )
    return building > 0 and running > 0


def _count(database: Path, query: str, *values: str) -> int:
    """A number from a database that another process writes; 0 while it cannot be read."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=1)) as connection:
            [found] = connection.execute(query, values).fetchone()
            return int(found)
    except sqlite3.OperationalError:
        return 0
