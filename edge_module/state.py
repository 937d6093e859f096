"""The state of the module as its reported properties tell it: the last value of each counts."""

from __future__ import annotations

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
        try:
            free = min(free for free in (self._engine.free_bytes(), self._files.free_bytes()) if free is not None)
        except DependencyError as error:
            return {"state": error.code, "freeMiB": None}
        full = "disk.full" if free < self._reserve_bytes else "ok"
        return {"state": min(self._codes(), default=full), "freeMiB": _rounded(free // _MIB)}

    def _codes(self) -> set[str]:
        waits = {code for code in self._troubles.codes() if code.startswith("disk.")}
        return waits if self._damage.disk is None else waits | {self._damage.disk}


def _rounded(number: int) -> int:
    """To its first two binary digits: news when it has changed by a third or more."""
    shift = max(0, number.bit_length() - 2)
    return number >> shift << shift
