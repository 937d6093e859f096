"""Ctrl-C, SIGTERM and a closed terminal end a command in good order: what it began is taken away first.

Each becomes an exception in the main thread, so that every ``with`` and ``finally`` on the way out does its part.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TIDYING_SECONDS = 10.0
_AGAIN_SECONDS = 0.01


class Stopped(KeyboardInterrupt):
    """The process was asked to end by a signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class _Stopper:
    """Raises at the first signal; an impatient second one does not interrupt the tidying up."""

    def __init__(self) -> None:
        self._asked = -_TIDYING_SECONDS
        self._held = False
        self._waiting = 0
        self._lost = 0

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._held:
            self._waiting = number
        elif now - self._asked >= _TIDYING_SECONDS:
            self._asked = now
            with suppress(OSError):  # straight to the descriptor: a handler may not use buffered streams
                os.write(2, b"\nStopping; what was begun is taken back first.\n")
            raise Stopped(number)

    @contextmanager
    def hold(self) -> Iterator[None]:
        self._held = True
        try:
            yield
        finally:
            self._held = False
            number, self._waiting = self._waiting, 0
            if number:
                self(number, None)

    def raise_again(self, number: int) -> None:
        """Raise a moment later what was raised where Python drops exceptions: in finalizers and in callbacks of weak
        references."""
        self._asked, self._lost = -_TIDYING_SECONDS, number
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)

    def on_timer(self, _number: int, frame: FrameType | None) -> None:
        """Raise what was lost."""
        self(self._lost, frame)


_stopper = _Stopper()


def stop_in_good_order() -> None:
    """From now on the three signals raise ``Stopped``; one that is ignored (nohup, a background job) stays so."""
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stopper)
    signal.signal(signal.SIGALRM, _stopper.on_timer)
    others = sys.unraisablehook

    def when_dropped(dropped: sys.UnraisableHookArgs) -> None:
        if isinstance(dropped.exc_value, Stopped):
            _stopper.raise_again(dropped.exc_value.number)
        else:
            others(dropped)

    sys.unraisablehook = when_dropped


def held() -> AbstractContextManager[None]:
    """Work of a moment that a signal must not cut in two, such as making a folder and noting that it was made."""
    return _stopper.hold()


@contextmanager
def when_stopped(what_remains: str) -> Iterator[None]:
    """Work that a stop does not undo: ``what_remains`` is what is told then.

    Args:
        what_remains: What is true afterwards, and how to go on; a sentence.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        error.add_note(what_remains)
        raise


def notes_of(error: BaseException) -> list[str]:
    """What remains after the stop that ``error`` tells of; empty when everything was taken back."""
    return [note for each in (error, error.__cause__) if each for note in getattr(each, "__notes__", ())]


def stop_listening() -> None:
    """The command has ended: a further signal must not spoil its exit code."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in _SIGNALS:
        if signal.getsignal(number) is _stopper:
            signal.signal(number, signal.SIG_IGN)


def signal_of(error: BaseException) -> int:
    """The signal behind an exception that ended a command; SIGINT when it does not say."""
    for cause in (error, error.__cause__):
        if isinstance(cause, Stopped):
            return cause.number
    return signal.SIGINT
