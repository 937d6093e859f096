"""The state of the module as its reported properties tell it: the last value of each counts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from edge_module.brake import Brake
from edge_module.damage import DamageLog
from edge_module.downloader import Downloader
from edge_module.engines import Engine
from edge_module.files import Files
from edge_module.inbox import Inbox
from edge_module.intake import Intake
from edge_module.troubles import Troubles
from edge_module.twin import DesiredState
from imagedelta.errors import DependencyError

ENGINE_SECONDS = 300.0
"""The engine is asked for its free disk at most so often."""
_MIB = 1024 * 1024


class ModuleState:
    def __init__(
        self,
        files: Files,
        engine: Engine,
        desired: DesiredState,
        brake: Brake,
        downloader: Downloader,
        inbox: Inbox,
        intake: Intake,
        troubles: Troubles,
        damage: DamageLog,
        reserve_bytes: int,
        monotonic: Callable[[], float],
    ) -> None:
        self._files = files
        self._engine = engine
        self._desired = desired
        self._brake = brake
        self._downloader = downloader
        self._inbox = inbox
        self._intake = intake
        self._troubles = troubles
        self._damage = damage
        self._reserve_bytes = reserve_bytes
        self._monotonic = monotonic
        self._engine_free: int | None = None
        self._next_question = 0.0

    def now(self) -> dict[str, object]:
        """A key that has nothing to say is None, which deletes it in the twin."""
        return {
            "engine": self._engine.name,
            "paused": self._desired.current.paused,
            "hold": self._brake.hold(),
            "download": self._downloader.progress(),
            "waiting": {"outbox": self._downloader.waiting, "inbox": self._inbox.waiting},
            "refusals": self._intake.refusals,
            "blocked": self._troubles.told() or None,
            "damage": self._damage.told() or None,
            "disk": self._disk(),
        }

    def _disk(self) -> dict[str, object]:
        """Of the fuller one, if there are two. Rounded, so that it is no news all the time."""
        self._ask_engine()
        try:
            own = self._files.free_bytes()
        except DependencyError as error:
            return {"state": error.code, "freeMiB": None}
        free = own if self._engine_free is None else min(own, self._engine_free)
        full = "disk.full" if free < self._reserve_bytes else "ok"
        return {"state": min(self._codes(), default=full), "freeMiB": _rounded(free // _MIB)}

    def _ask_engine(self) -> None:
        """Seldom: a daemon that hangs must not keep this part from talking."""
        if self._monotonic() >= self._next_question:
            self._next_question = self._monotonic() + ENGINE_SECONDS
            with suppress(DependencyError):
                self._engine_free = self._engine.free_bytes()

    def _codes(self) -> set[str]:
        waits = {code for code in self._troubles.codes() if code.startswith("disk.")}
        return waits if self._damage.disk is None else waits | {self._damage.disk}


def _rounded(number: int) -> int:
    """To its first two binary digits: news when it has changed by a third or more."""
    shift = max(0, number.bit_length() - 2)
    return number >> shift << shift
