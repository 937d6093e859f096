"""The hub as a device sees it, in memory: keeps what it acknowledged, can be unreachable or refuse."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from contracts.messages import DesiredProperties, Inventory, Report, parse_inventory, parse_report
from edge_module.hub import Envelope
from imagedelta.errors import DependencyError, RequestError


class HubSimulator:
    def __init__(self, device_id: str = "ship-1") -> None:
        self.device_id = device_id
        self.messages: list[Envelope] = []
        """Acknowledged, in order, repetitions included."""
        self.desired_now: dict[str, Any] = {}
        self.reported: dict[str, Any] = {}
        self.reachable = True
        self.lose_acknowledgements = 0
        """So many of the next messages arrive, but their acknowledgement does not."""
        self.refuse: set[str] = set()
        """Kinds that are never taken."""
        self.wake: Callable[[], None] | None = None
        self.closed = False

    def listen(self, wake: Callable[[], None]) -> None:
        self.wake = wake

    def send(self, message: Envelope) -> None:
        self._answer()
        if message.kind in self.refuse:
            raise RequestError("never", code="hub.refused")
        self.messages.append(message)
        if self.lose_acknowledgements:
            self.lose_acknowledgements -= 1
            raise DependencyError("the acknowledgement was lost")

    def desired(self) -> DesiredProperties:
        self._answer()
        return DesiredProperties.model_validate_json(json.dumps(self.desired_now))

    def report_properties(self, properties: Mapping[str, Any]) -> None:
        self._answer()
        self.reported |= json.loads(json.dumps(properties))

    def close(self) -> None:
        self.closed = True

    @property
    def reports(self) -> list[Report]:
        """Every report once, in the order of first arrival, as the cloud takes repetitions out."""
        first = {message.message_id: message for message in reversed(self.messages) if message.kind == "report"}
        order = dict.fromkeys(message.message_id for message in self.messages if message.kind == "report")
        return [parse_report(first[message_id].body) for message_id in order]

    @property
    def inventories(self) -> list[Inventory]:
        return [parse_inventory(message.body) for message in self.messages if message.kind == "inventory"]

    def _answer(self) -> None:
        if not self.reachable:
            raise DependencyError("the hub is out of reach")
