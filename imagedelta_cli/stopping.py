"""Ctrl-C, SIGTERM and a closed terminal end a command in good order: what it began is taken away first.

Each becomes an exception in the main thread, so that every ``with`` and ``finally`` on the way out does its part.
"""

from __future__ import annotations

import signal
import time
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TIDYING_SECONDS = 10.0


class Stopped(KeyboardInterrupt):
    """The process was asked to end by a signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class _Stopper:
    """Raises at the first signal; an impatient second one does not interrupt the tidying up."""

    def __init__(self) -> None:
        self._asked = -_TIDYING_SECONDS

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._asked >= _TIDYING_SECONDS:
            self._asked = now
            raise Stopped(number)


def stop_in_good_order() -> None:
    """From now on the three signals raise ``Stopped``; one that is ignored (nohup, a background job) stays so."""
    stopper = _Stopper()
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stopper)


def signal_of(error: BaseException) -> int:
    """The signal behind an exception that ended a command; SIGINT when it does not say."""
    for cause in (error, error.__cause__):
        if isinstance(cause, Stopped):
            return cause.number
    return signal.SIGINT
