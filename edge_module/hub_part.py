"""The part that talks: twin down; reports, inventories and progress up."""

from __future__ import annotations

from collections.abc import Callable

from edge_module.backoff import Backoff
from edge_module.hub import Hub
from edge_module.inventory import Inventories
from edge_module.outbox import Outbox
from edge_module.parts import attempt
from edge_module.twin import DesiredState

PROGRESS_SECONDS = 15.0
"""Progress in the reported properties is news at most this often: it shares the link with the bundles."""
_IDLE_SECONDS = 0.5
_URGENT = ("refusals", "paused")


class HubPart:
    name = "hub"

    def __init__(
        self,
        hub: Hub,
        desired: DesiredState,
        outbox: Outbox,
        inventories: Inventories,
        progress: Callable[[], dict[str, object]],
        poll_seconds: float | None,
        monotonic: Callable[[], float],
    ) -> None:
        """Args:
        progress: The reported properties as they are now.
        poll_seconds: Outweighs the desired property pollEverySeconds.
        """
        self._hub = hub
        self._desired = desired
        self._outbox = outbox
        self._inventories = inventories
        self._progress_now = progress
        self._poll_seconds = poll_seconds
        self._monotonic = monotonic
        self._next_poll = 0.0
        self._poll_failures = Backoff(1.0, 60.0)
        self._progress: dict[str, object] = {}
        self._next_progress = 0.0

    def step(self) -> float:
        attempt(self._poll)
        attempt(lambda: self._inventories.put_if_due(self._outbox, self._desired.current))
        attempt(self._flush)
        attempt(self._send_progress)
        return _IDLE_SECONDS

    def stop(self) -> None:
        """Whatever waits is on the disk."""

    def _poll(self) -> None:
        """The twin, every pollEverySeconds; sooner after a failure."""
        if self._monotonic() < self._next_poll:
            return
        answered = attempt(lambda: self._desired.fetch(self._hub))
        given = self._poll_seconds
        pause = float(self._desired.current.poll_every_seconds) if given is None else given
        if answered:
            self._poll_failures.succeeded()
        else:
            pause = min(pause, self._poll_failures.failed())
        self._next_poll = self._monotonic() + pause

    def _flush(self) -> None:
        self._outbox.flush(self._hub)

    def _send_progress(self) -> None:
        progress = self._progress_now()
        urgent = any(progress[key] != self._progress.get(key) for key in _URGENT)
        if progress == self._progress or (self._monotonic() < self._next_progress and not urgent):
            return
        self._next_progress = self._monotonic() + PROGRESS_SECONDS
        self._hub.report_properties(progress)
        self._progress = progress
