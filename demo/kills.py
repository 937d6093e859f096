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


def is_building(database: Path, set_id: str) -> bool:
    """Whether SQL says that the set is being prepared and that one of its patches is under construction.

    A patch is in that state only while an activity of the set's orchestration builds it.
    """
    query = """
        select count(*) from deployment_sets s
        join member_transfers m on m.set_id = s.set_id
        join transfers t on t.transfer_id = m.transfer_id
        join patches p on p.patch_id = t.patch_id
        where s.set_id = ? and s.state = 'preparing' and p.state = 'building'
    """
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=1)) as connection:
            [found] = connection.execute(query, (set_id,)).fetchone()
            return bool(found)
    except sqlite3.OperationalError:
        return False
