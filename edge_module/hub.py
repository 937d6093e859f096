"""The port to the hub, as a module sees it: messages up, twin down and up.

Adapters: edge_module.hub_azure (Azure IoT Hub and IoT Edge, by MQTT), edge_module.hub_local (the embedded host,
by HTTP). Every method raises only ImageDeltaError; DependencyError means the hub did not answer and the same call
can be made again later. Each answers within a bounded time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import ValidationError

from contracts.messages import DesiredProperties
from contracts.refusals import first_problem
from imagedelta.errors import ContentError

_WIRE_ID = re.compile(r"[A-Za-z0-9\-:.+%_#*?!(),=@;$']{1,128}")


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
    """One thread asks; ``close`` may come from any other."""

    @property
    def device_id(self) -> str:
        """The device this module's credentials belong to: bundles for others are refused."""

    def listen(self, wake: Callable[[], None]) -> None:
        """From now on call ``wake``, from whatever thread, when ``desired`` may have something new.

        A hub that cannot tell never calls it: its twin is looked at every pollEverySeconds.
        """

    def send(self, message: Envelope) -> None:
        """Return once the hub has acknowledged the message.

        Raises: RequestError ``hub.refused`` when it will never take it; DependencyError otherwise: it may have
            arrived all the same.
        """

    def desired(self) -> DesiredProperties:
        """The desired properties of the module twin as they are now.

        Raises: ContentError ``content.malformed_message`` when they do not fit the contract.
        """

    def report_properties(self, properties: Mapping[str, Any]) -> None:
        """Merge into the reported properties; the last value of each wins, None removes it.

        Raises: RequestError ``hub.refused`` when the twin will not take them; DependencyError.
        """

    def close(self) -> None:
        """End the connection, at once and for good; a call that waits for an answer ends with DependencyError."""


def wire_id(message_id: str) -> str:
    """The id as the hub takes it, always the same for the same one: it closes the connection for any other."""
    if _WIRE_ID.fullmatch(message_id):
        return message_id
    return f"sha256:{hashlib.sha256(message_id.encode(errors='surrogatepass')).hexdigest()}"


def read_desired(properties: Mapping[str, Any]) -> DesiredProperties:
    """Raises: ContentError ``content.malformed_message`` naming what breaks the contract."""
    try:
        return DesiredProperties.model_validate(properties)
    except ValidationError as error:
        where, problem = first_problem(error)
        raise ContentError(f"desired {where}: {problem}", code="content.malformed_message") from error
