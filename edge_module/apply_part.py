"""The part that makes images, one at a time. It alone changes what the engine keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edge_module.brake import Brake
from edge_module.engines import Engine
from edge_module.inbox import Inbox
from edge_module.intake import Intake
from edge_module.parts import Guard
from edge_module.troubles import Troubles
from edge_module.twin import DesiredState

_IDLE_SECONDS = 0.5


class ApplyPart:
    name = "apply"

    def __init__(
        self,
        engine: Engine,
        intake: Intake,
        inbox: Inbox,
        chores: Mapping[str, Callable[[], None]],
        desired: DesiredState,
        brake: Brake,
        troubles: Troubles,
        monotonic: Callable[[], float],
    ) -> None:
        """Args:
        chores: What is done, a little at a time, when no bundle waits; by name.
        """
        self._engine = engine
        self._intake = intake
        self._inbox = inbox
        self._chores = chores
        self._desired = desired
        self._brake = brake
        self._troubles = troubles
        self._cleaned = False
        names = ("engine", "apply", "images looked at", *chores)
        self._guards = {name: Guard(name, troubles, monotonic) for name in names}

    @property
    def is_idle(self) -> bool:
        return self._brake.is_on or self._inbox.is_idle

    def step(self) -> float:
        if not self._cleaned and not self._guards["engine"].run(self._clean):
            return _IDLE_SECONDS
        if self._brake.is_on:
            return _IDLE_SECONDS
        self._guards["images looked at"].run(self._intake.answer_asked)
        return self._guards["apply"].step(self._step)

    def stop(self) -> None:
        """Whatever is finished is on the disk."""

    def _clean(self) -> None:
        """Once: what an interrupted run left half-made."""
        self._engine.clean()
        self._cleaned = True

    def _step(self) -> float:
        if "disk.full" in self._troubles.codes():
            self._inbox.give_way()
        if self._inbox.step(self._desired.current):
            return 0.0
        for name, chore in self._chores.items():
            self._guards[name].run(chore)
        return _IDLE_SECONDS
