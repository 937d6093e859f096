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
from imagedelta.errors import ImageDeltaError

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

    def __init__(self, part: Part, stop: threading.Event) -> None:
        self.name = part.name
        self._part = part
        self._stop = stop
        self._thread = threading.Thread(target=self._run, name=part.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, deadline: float) -> bool:
        """Wait until ``deadline`` (``time.monotonic``); whether the part has ended."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._stop.wait(min(self._part.step(), MOST_SECONDS))
        attempt(self._part.stop)


class Guard:
    """Lets the steps of a part fail: what nobody foresaw is logged, and tried again after a growing pause."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._backoff = Backoff(1.0, 300.0)
        self._retry_at = 0.0

    def step(self, work: Callable[[], float]) -> float:
        """``work()``, or a pause after it has failed."""
        now = self._monotonic()
        if now < self._retry_at:
            return self._retry_at - now
        try:
            pause = work()
        except ImageDeltaError as error:
            log.warning("%s (%s)", error, error.code)
        except Exception:
            log.exception("a step failed in a way nobody foresaw")
        else:
            self._backoff.succeeded()
            return pause
        self._retry_at = now + self._backoff.failed()
        return self._retry_at - now


def attempt(work: Callable[[], None]) -> bool:
    """Whether ``work`` succeeded; a failure is logged and goes no further."""
    try:
        work()
    except ImageDeltaError as error:
        log.warning("%s (%s)", error, error.code)
    except Exception:
        log.exception("a part failed in a way nobody foresaw")
    else:
        return True
    return False
