"""Keeps the host's loops alive: one that ends by an error is logged and started again, with a growing pause.

A loop keeps in memory how far it has come, so that a restart repeats nothing that was done. What a loop does while
the disk is full, or a database cannot be read, is fail and be started again until it works.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

log = logging.getLogger("imagedelta_host")

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0


@dataclass
class Loop:
    """One supervised loop, as health shows it.

    Attributes:
        name: What people know it by: a function, or the durable engine.
        restarts: How often it was started again.
        error: Why it is not running at present; empty while it runs.
        last_error: Why it ended last, also after it was started again; with the time, UTC.
    """

    name: str
    restarts: int = 0
    error: str = ""
    last_error: str = ""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        state = "waitingToRestart" if self.error else "running"
        return {"name": self.name, "state": state, "restarts": self.restarts, "lastError": self.last_error}


class Supervisor:
    """All loops of one host."""

    def __init__(self, first_pause: float = FIRST_PAUSE, longest_pause: float = LONGEST_PAUSE) -> None:
        """Args:
        first_pause: Seconds before the first restart; each further one doubles them.
        longest_pause: The most seconds; a loop that ran longer than this begins with ``first_pause`` again.
        """
        self._first = first_pause
        self._longest = longest_pause
        self.loops: list[Loop] = []

    @property
    def errors(self) -> list[str]:
        """What is not running at present, and why."""
        return [f"{loop.name}: {loop.error}" for loop in self.loops if loop.error]

    def start(self, name: str, run: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Run a loop until it returns; the task ends then, or when it is cancelled."""
        loop = Loop(name)
        self.loops.append(loop)
        return asyncio.create_task(self._keep(loop, run), name=name)

    async def _keep(self, loop: Loop, run: Callable[[], Awaitable[None]]) -> None:
        pause, clock = self._first, asyncio.get_running_loop().time
        while True:
            began = clock()
            loop.error = ""
            try:
                await run()
                return
            except Exception as error:
                if clock() - began > self._longest:
                    pause = self._first
                loop.error = f"{type(error).__name__}: {error}"
                loop.last_error = f"{datetime.now(UTC).isoformat(timespec='seconds')} {loop.error}"
                log.exception("%s has stopped by an error; it is started again in %.0f s", loop.name, pause)
            await asyncio.sleep(pause)
            loop.restarts += 1
            pause = min(pause * 2, self._longest)
