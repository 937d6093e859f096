"""Watch a deployment set to its end, and pull the plug twice on the way: of the host, and of one device."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx

from demo import kills
from demo.cloud import Cloud
from demo.fleet import Device
from demo.processes import ProcessRoom
from demo.progress import Show, TransferBars
from demo.record import Event, Span
from demo.workspace import Workspace

TERMINAL = ("completed", "completed_with_failures", "failed", "cancelled", "superseded")
_LOOK_SECONDS = 0.5
_POLL_SECONDS = 0.03
_DOWN_SECONDS = 2.0
_INTO_BUILD_SECONDS = 4.0
"""How long the build of patches may go on before the host dies: long enough to lose something."""
_LIMIT_SECONDS = 1200.0


class TookTooLong(Exception):
    """The set did not end in time."""


@dataclass
class Watch:
    """Polls until the set has ended, every mail is out, and both kills have fallen or can no longer."""

    cloud: Cloud
    devices: Mapping[str, Device]
    workspace: Workspace
    room: ProcessRoom
    show: Show
    set_id: str
    references: Mapping[str, str]
    events: list[Event] = field(default_factory=list)
    downtimes: list[Span] = field(default_factory=list)
    kills: dict[str, int] = field(default_factory=lambda: {"host": 0, "device": 0})
    _state: str = ""
    _building_since: float | None = None

    def run(self, bars: TransferBars) -> str:
        """The state the set ended in.

        Raises: ProcessEnded; TookTooLong.
        """
        limit = time.monotonic() + _LIMIT_SECONDS
        look_at = 0.0
        while time.monotonic() < limit:
            self.room.require_alive()
            self._try_to_kill()
            if time.monotonic() >= look_at:
                if self._look(bars):
                    return self._state
                look_at = time.monotonic() + _LOOK_SECONDS
            time.sleep(_POLL_SECONDS)
        raise TookTooLong(f"set {self.set_id} is {self._state} after {_LIMIT_SECONDS:.0f} s")

    def _look(self, bars: TransferBars) -> bool:
        """Show what is new; returns whether all is over. A host that is starting answers at the next look."""
        try:
            detail = self.cloud.get(f"deployment-sets/{self.set_id}")
            transfers = self.cloud.items("transfers", set=self.set_id)
        except httpx.HTTPError:
            return False
        if detail["state"] != self._state:
            self._state = detail["state"]
            self.show.line(f"set is [bold]{self._state}[/bold]")
        for transfer in transfers:
            if transfer["state"] != "already_present":
                bars.update(transfer, self.devices[transfer["deviceId"]].fetched(transfer["bundle"] or ""))
        return self._state in TERMINAL and _all_told(detail)

    def _try_to_kill(self) -> None:
        if (
            not self.kills["host"]
            and self._deep_in_build()
            and kills.kill_inside(self.cloud.process, self._is_building)
        ):
            self.kills["host"] += 1
            self._come_back("cloud", "the host", "while it built patches", self.cloud.restart)
        if not self.kills["device"]:
            self._try_to_kill_a_device()

    def _try_to_kill_a_device(self) -> None:
        for device in self.devices.values():
            applying = device.applying()
            if applying and kills.kill_inside(device.process, partial(_still_applying, device, applying[0])):
                self.kills["device"] += 1
                doing = f"while it applied {self.references.get(applying[0], applying[0])}"
                self._come_back(device.ship.device, device.ship.device, doing, device.process.start)
                return

    def _deep_in_build(self) -> bool:
        if not self._is_building():
            return False
        self._building_since = self._building_since or time.monotonic()
        return time.monotonic() - self._building_since >= _INTO_BUILD_SECONDS

    def _is_building(self) -> bool:
        return kills.is_building(self.workspace.database, self.set_id)

    def _come_back(self, lane: str, name: str, doing: str, restart: Callable[[], None]) -> None:
        fell = time.time()
        self.show.news(f"{name} killed with SIGKILL {doing}")
        time.sleep(_DOWN_SECONDS)
        restart()
        back = time.time()
        self.show.line(f"{name} started again")
        self.events += [
            Event(fell, lane, "kill", f"{name} killed with SIGKILL {doing}"),
            Event(back, lane, "restart", f"{name} started again"),
        ]
        self.downtimes.append(Span(fell, back, lane, "down", "down"))


def _still_applying(device: Device, image_id: str) -> bool:
    return image_id in device.applying()


def _all_told(detail: Mapping[str, Any]) -> bool:
    return bool(detail["notifications"]) and all(note["state"] in ("sent", "dead") for note in detail["notifications"])
