"""The part that makes images: one bundle of the inbox at a time."""

from __future__ import annotations

from collections.abc import Callable

from edge_module.inbox import Inbox
from edge_module.parts import Guard
from edge_module.twin import DesiredState

_IDLE_SECONDS = 0.5


class ApplyPart:
    name = "apply"

    def __init__(self, inbox: Inbox, desired: DesiredState, monotonic: Callable[[], float]) -> None:
        self._inbox = inbox
        self._desired = desired
        self._guard = Guard(monotonic)

    @property
    def is_idle(self) -> bool:
        return self._desired.current.paused or self._inbox.waiting == 0

    def step(self) -> float:
        return self._guard.step(self._step)

    def stop(self) -> None:
        """Whatever is finished is on the disk."""

    def _step(self) -> float:
        desired = self._desired.current
        if desired.paused:
            return _IDLE_SECONDS
        return 0.0 if self._inbox.step(desired) else _IDLE_SECONDS
