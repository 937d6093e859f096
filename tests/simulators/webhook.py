"""A receiver of events in memory: keeps what it took, can refuse, be down, or lose its answer."""

from __future__ import annotations

from services.ports import Event
from tests.simulators.calls import Calls


class WebhookSimulator:
    """The port ``Webhook``."""

    def __init__(self) -> None:
        self.calls = Calls()
        self.taken: list[Event] = []
        """In order, repetitions included."""

    def post(self, event: Event) -> None:
        with self.calls.call("post"):
            self.taken.append(event)
