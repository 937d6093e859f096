"""The port to the hub, as a module sees it: messages up, twin down and up.

Adapters: edge_module.hub_local (the embedded host). Every method raises only ImageDeltaError;
DependencyError means the hub did not answer and the same call can be made again later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from contracts.messages import DesiredProperties


@dataclass(frozen=True)
class Envelope:
    """One message to the cloud, as it is kept on disk until the hub has acknowledged it."""

    message_id: str
    """The same for every repetition of the same message."""
    kind: str
    """``report`` or ``inventory``: an application property, so that the cloud parses a body once."""
    body: bytes
    content_encoding: str = ""
    """``gzip`` for inventories."""
    content_type: str = "application/json"


class Hub(Protocol):
    @property
    def device_id(self) -> str:
        """The device this module's credentials belong to: bundles for others are refused."""

    def send(self, message: Envelope) -> None:
        """Return once the hub has acknowledged the message.

        Raises: RequestError ``hub.refused`` when it will never take it; DependencyError otherwise.
        """

    def desired(self) -> DesiredProperties:
        """The desired properties of the module twin as they are now.

        Raises: ContentError ``content.malformed_message`` when they do not fit the contract.
        """

    def report_properties(self, properties: Mapping[str, Any]) -> None:
        """Merge into the reported properties; the last value of each wins."""
