"""What works on its own in a device: a part takes steps, and each part has a thread for them.

A part that hangs or fails holds up nothing but itself. ``Device.turn`` steps all of them in one thread instead, in a
fixed order, which is what tests do.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from edge_module.backoff import Backoff
from edge_module.troubles import Troubles
from edge_module.verdict import Wait, verdict_of

MOST_SECONDS = 1.0
"""A part looks around at least this often: files come without a word, and other parts leave work."""
log = logging.getLogger("imagedelta.parts")


class Part(Protocol):
    @property
    def name(self) -> str: ...

    def step(self) -> float:
        """Do a little; return how many seconds may pass before the next step, 0 when there is more to do now."""

    def stop(self) -> None:
        """The last step is over: keep what has arrived."""


class PartThread:
    """Steps one part until it is told to stop."""

    def __init__(self, part: Part, stop: threading.Event, alive: Callable[[str], None]) -> None:
        self.name = part.name
        self._part = part
        self._stop = stop
        self._alive = alive
        self._failed = False
        self._thread = threading.Thread(target=self._run, name=part.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def join(self, deadline: float) -> bool:
        """Wait until ``deadline`` (``time.monotonic``); whether the part has ended."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._stop.wait(min(self._step(), MOST_SECONDS))
        try:
            self._part.stop()
        except Exception:
            log.exception("%s did not end well", self.name)

    def _step(self) -> float:
        """Parts guard what they do; whatever gets past that must not end the thread."""
        try:
            self._alive(self.name)
            return self._part.step()
        except Exception:
            if not self._failed:
                log.exception("a step of %s failed in a way nobody foresaw", self.name)
            self._failed = True
            return MOST_SECONDS


class Guard:
    """Lets the work of a part fail: it is told once, and tried again after a growing pause."""

    def __init__(self, what: str, troubles: Troubles, monotonic: Callable[[], float]) -> None:
        self._what = what
        self._troubles = troubles
        self._monotonic = monotonic
        self._backoff = Backoff(1.0, 300.0)
        self._retry_at = 0.0

    def step(self, work: Callable[[], float]) -> float:
        """``work()``, or the pause that its last failure asks for."""
        pause = self._retry_at - self._monotonic()
        if pause > 0:
            return pause
        try:
            pause = work()
        except Exception as error:
            return self._failed(error)
        self._backoff.succeeded()
        self._troubles.clear(self._what)
        return pause

    def run(self, work: Callable[[], object], most: float = 300.0) -> bool:
        """Whether ``work`` was done; after a failure it is not tried for a while, at most ``most`` seconds."""
        done = False

        def step() -> float:
            nonlocal done
            work()
            done = True
            return 0.0

        self.step(step)
        self._retry_at = min(self._retry_at, self._monotonic() + most)
        return done

    def hurry(self) -> None:
        """What it waits for may be mended: the next step tries again."""
        self._retry_at = 0.0

    def _failed(self, error: Exception) -> float:
        verdict = verdict_of(error, "device")
        if isinstance(verdict, Wait) and self._troubles.note(self._what, verdict.code, verdict.detail):
            unforeseen = verdict.code == "internal"
            log.warning("%s waits (%s): %s", self._what, verdict.code, verdict.detail, exc_info=unforeseen)
        pause = self._backoff.failed()
        self._retry_at = self._monotonic() + pause
        return pause
