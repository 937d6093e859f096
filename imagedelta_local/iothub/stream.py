"""The event stream of each hub: what devices sent, in order, and how far each consumer has come."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta

from imagedelta_host.mounts import StreamEvent
from imagedelta_local.iothub.store import HubStore, Identity, now

_RETENTION = timedelta(days=1)


class EventStream:
    """Messages of all hubs."""

    def __init__(self, store: HubStore) -> None:
        self._store = store
        self._arrivals: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def append(self, sender: Identity, body: bytes, system: dict[str, str], properties: dict[str, str]) -> None:
        """Store a message of a device or module; it is on disk when this returns."""
        enqueued = now()
        stamped = {**system, **_stamps(sender, enqueued)}
        with self._store.transaction():
            self._store.db.execute(
                "insert into message(hub, enqueued, body, system, properties) values(?, ?, ?, ?, ?)",
                (sender.hub, enqueued, body, json.dumps(stamped), json.dumps(properties)),
            )
        self._arrivals[sender.hub].set()

    def after(self, hub: str, sequence: int, limit: int) -> list[StreamEvent]:
        """Messages behind a checkpoint, oldest first."""
        rows = self._store.db.execute(
            "select * from message where hub = ? and sequence > ? order by sequence limit ?",
            (hub, sequence, limit),
        )
        return [
            StreamEvent(row["sequence"], row["enqueued"], row["body"], *_headers(row["system"], row["properties"]))
            for row in rows.fetchall()
        ]

    async def wait(self, hub: str, sequence: int) -> None:
        """Return when there is something behind a checkpoint."""
        arrivals = self._arrivals[hub]
        while not self.after(hub, sequence, 1):
            arrivals.clear()
            await arrivals.wait()

    def checkpoint(self, hub: str, consumer: str) -> int:
        """How far a consumer has come; 0 before its first batch."""
        row = self._store.db.execute(
            "select sequence from checkpoint where hub = ? and consumer = ?", (hub, consumer)
        ).fetchone()
        return 0 if row is None else int(row[0])

    def set_checkpoint(self, hub: str, consumer: str, sequence: int) -> None:
        """Move a consumer on; messages all consumers have passed are dropped after a day."""
        old = (datetime.now(UTC) - _RETENTION).isoformat()
        with self._store.transaction():
            self._store.db.execute("insert or replace into checkpoint values(?, ?, ?)", (hub, consumer, sequence))
            self._store.db.execute(
                "delete from message where hub = ? and enqueued < ? and sequence <= "
                "(select min(sequence) from checkpoint where hub = ?)",
                (hub, old, hub),
            )


class HubEvents:
    """The stream of one hub, as event hub triggers read it."""

    def __init__(self, stream: EventStream, hub: str) -> None:
        self._stream = stream
        self.name = hub

    def after(self, sequence: int, limit: int) -> list[StreamEvent]:
        """Messages behind a checkpoint, oldest first."""
        return self._stream.after(self.name, sequence, limit)

    async def wait(self, sequence: int) -> None:
        """Return when there is something behind a checkpoint."""
        await self._stream.wait(self.name, sequence)

    def checkpoint(self, consumer: str) -> int:
        """How far a consumer has come."""
        return self._stream.checkpoint(self.name, consumer)

    def set_checkpoint(self, consumer: str, sequence: int) -> None:
        """Move a consumer on."""
        self._stream.set_checkpoint(self.name, consumer, sequence)


def _headers(system: str, properties: str) -> tuple[dict[str, str], dict[str, str]]:
    return json.loads(system), json.loads(properties)


def _stamps(sender: Identity, enqueued: str) -> dict[str, str]:
    """What the hub itself says about a message; a device cannot set these."""
    scope = "module" if sender.module else "device"
    method = {"scope": scope, "type": "sas", "issuer": "iothub", "acceptingIpFilterRule": None}
    stamps = {
        "iothub-connection-device-id": sender.device,
        "iothub-connection-auth-generation-id": sender.generation,
        "iothub-connection-auth-method": json.dumps(method, separators=(",", ":")),
        "iothub-enqueuedtime": enqueued,
        "iothub-message-source": "Telemetry",
    }
    if sender.module:
        stamps["iothub-connection-module-id"] = sender.module
    return stamps
