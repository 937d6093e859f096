"""The part that talks: twin down; reports, inventories and the state of the module up."""

from __future__ import annotations

import threading
from collections.abc import Callable

from edge_module.hub import Hub
from edge_module.inventory import Inventories
from edge_module.outbox import Outbox
from edge_module.parts import Guard
from edge_module.reporting import Reporter
from edge_module.troubles import Troubles
from edge_module.twin import DesiredState

PROGRESS_SECONDS = 15.0
"""Progress in the reported properties is news at most this often: it shares the link with the bundles."""
_IDLE_SECONDS = 0.5
_MOST_POLL_PAUSE = 60.0
_URGENT = ("refusals", "paused", "hold")


class HubPart:
    name = "hub"

    def __init__(
        self,
        hub: Hub,
        desired: DesiredState,
        reporter: Reporter,
        outbox: Outbox,
        inventories: Inventories,
        state: Callable[[], dict[str, object]],
        troubles: Troubles,
        poll_seconds: float | None,
        monotonic: Callable[[], float],
    ) -> None:
        """Args:
        state: The reported properties as they are now.
        poll_seconds: Outweighs the desired property pollEverySeconds.
        """
        self._hub = hub
        self._desired = desired
        self._reporter = reporter
        self._outbox = outbox
        self._inventories = inventories
        self._state = state
        self._poll_seconds = poll_seconds
        self._monotonic = monotonic
        self._next_poll = 0.0
        self._news = threading.Event()
        """The hub has told, in whatever thread, that the twin may be another."""
        self._away = True
        hub.listen(self._news.set)
        self._told: dict[str, object] = {}
        self._next_tell = 0.0
        names = ("twin", "reports", "inventory", "outbox", "properties")
        self._guards = {name: Guard(name, troubles, monotonic) for name in names}

    def step(self) -> float:
        self._poll()
        self._guards["reports"].run(self._reporter.announce_pending)
        self._guards["inventory"].run(lambda: self._inventories.put_if_due(self._outbox, self._desired.current))
        self._guards["outbox"].run(lambda: self._outbox.flush(self._hub))
        self._guards["properties"].run(self._tell_state)
        return _IDLE_SECONDS

    def stop(self) -> None:
        """Whatever waits is on the disk."""

    def _poll(self) -> None:
        """The twin, every pollEverySeconds; sooner after a failure, and when the hub tells of news."""
        if self._monotonic() < self._next_poll and not self._news.is_set():
            return
        self._news.clear()
        given, every = self._poll_seconds, self._desired.current.poll_every_seconds
        pause = float(every) if given is None else given
        if self._guards["twin"].run(lambda: self._desired.fetch(self._hub), min(pause, _MOST_POLL_PAUSE)):
            self._next_poll = self._monotonic() + pause
            if self._away:
                self._outbox.hurry()
            self._away = False
        else:
            self._away, self._next_poll = True, 0.0

    def _tell_state(self) -> None:
        state = self._state()
        urgent = any(state[key] != self._told.get(key) for key in _URGENT)
        if state == self._told or (self._monotonic() < self._next_tell and not urgent):
            return
        self._next_tell = self._monotonic() + PROGRESS_SECONDS
        self._hub.report_properties(state)
        self._told = state
