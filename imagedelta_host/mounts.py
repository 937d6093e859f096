"""What may be served beside the functions, and how it meets the host: routes, settings, event sources.

The host is given its mounts by whoever starts it and knows none of them. Not here: local IoT hubs and blobs
(imagedelta_local).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web


@dataclass(frozen=True)
class Place:
    """Where a mount lives.

    Attributes:
        folder: The state folder, its own while the host runs.
        url: Address of the host, without a slash at the end.
        key: A secret by its name, base64; made at the first question and the same ever after.
    """

    folder: Path
    url: str
    key: Callable[[str], str]


@dataclass(frozen=True)
class StreamEvent:
    """One message as an event hub consumer sees it; ``enqueued`` is UTC, ISO 8601."""

    sequence: int
    enqueued: str
    body: bytes
    system: dict[str, str]
    properties: dict[str, str]


class EventSource(Protocol):
    """A stream that feeds event hub triggers: one partition, in order of arrival."""

    @property
    def name(self) -> str:
        """The event hub's name, as functions and people see it."""

    def after(self, sequence: int, limit: int) -> list[StreamEvent]:
        """Messages behind a checkpoint, oldest first."""

    async def wait(self, sequence: int) -> None:
        """Return when there is something behind a checkpoint."""

    def checkpoint(self, consumer: str) -> int:
        """How far a consumer has come; 0 before its first batch."""

    def set_checkpoint(self, consumer: str, sequence: int) -> None:
        """Move a consumer on; it is on disk when this returns."""


class Mount(Protocol):
    """Something served beside the functions."""

    @property
    def connection_form(self) -> str:
        """How the connection setting of an event hub trigger names a source here, for advice to people."""

    def settings(self) -> Mapping[str, str]:
        """Settings by which the app finds it; what is set already stays."""

    def event_source(self, connection: str) -> EventSource | None:
        """The source that a connection setting names; ``None`` when the setting is for something else.

        Raises:
            SettingInvalid: It is for this mount but names nothing that exists.
        """

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve its paths, which come before those of functions."""

    def describe(self) -> Mapping[str, Any]:
        """What endpoint.json tells commands about it, secrets included."""

    def close(self) -> None:
        """Close its files."""


MakeMount = Callable[[Place], Mount]
"""Opens a mount in its place."""

Mounts = Sequence[Mount]


def source_of(mounts: Mounts, connection: str) -> EventSource | None:
    """The event source that a connection setting names; ``None`` when nothing here serves it."""
    found = (mount.event_source(connection) for mount in mounts)
    return next((source for source in found if source is not None), None)
