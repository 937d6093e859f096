"""Messages of devices, as the hub delivers them: reports and inventories.

The checkpoint moves on whether a batch succeeded or failed, so each message stands alone: one that cannot be
taken goes to quarantine and the rest goes on. Only SQL not answering fails the batch, which is then run again
whole; every message may be taken twice.

Who sent a message is what the hub says of the connection; what the body says of its sender is never asked.
Source: docs/formats/messages.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, List  # noqa: UP035 - the worker takes typing.List alone for a batch

import azure.functions as func

from contracts.messages import parse_inventory, parse_report
from imagedelta.errors import ContentError, DependencyError, ImageDeltaError
from services.deps import Deps
from services.store_port import Origin, Outcome, Untaken
from triggers.http import SWEEP, Start, deploy_set
from triggers.starting import Starter, start_all

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HubMessage:
    """One message: ``system`` by the hub, ``properties`` and ``body`` by the sender."""

    system: Mapping[str, Any]
    properties: Mapping[str, Any]
    body: bytes

    @property
    def device_id(self) -> str | None:
        return _text(self.system.get("iothub-connection-device-id"))

    @property
    def module_id(self) -> str | None:
        return _text(self.system.get("iothub-connection-module-id"))


def ingest(hub: str, messages: Iterable[HubMessage], deps: Deps) -> tuple[Start, ...]:
    """Take every message; the orchestrations that have work because of them.

    Raises: DependencyError when SQL does not answer; then the batch is to be run again.
    """
    sets: set[str] = set()
    untaken: list[Untaken] = []
    for message in messages:
        if not _concerns_us(message, deps):
            continue
        outcome = _take(hub, message, deps, untaken)
        sets.update(outcome.set_ids if outcome else ())
    deps.store.quarantine.keep(untaken, deps.now())
    return (SWEEP, *(deploy_set(set_id) for set_id in sorted(sets)))


def _concerns_us(message: HubMessage, deps: Deps) -> bool:
    """A hub's endpoint carries the telemetry of every module: what neither comes from ours nor claims to be a
    report is somebody else's."""
    return message.module_id == deps.settings.module_id or message.properties.get("kind") in ("report", "inventory")


def _take(hub: str, message: HubMessage, deps: Deps, untaken: list[Untaken]) -> Outcome | None:
    try:
        outcome = _record(_origin(hub, message, deps), message, deps)
    except DependencyError:
        raise
    except Exception as error:
        untaken.append(_untaken(hub, message, error))
        return None
    log.info("%s/%s: %s (%s)", hub, message.device_id, outcome.result, outcome.detail)
    return outcome


def _origin(hub: str, message: HubMessage, deps: Deps) -> Origin:
    if message.device_id is None:
        raise ContentError("the hub names no device", code="message.unknown_sender")
    allowed = deps.settings.module_id
    if message.module_id != allowed:
        sender = f"module {message.module_id}" if message.module_id else "the device itself"
        raise ContentError(
            f"{message.device_id}: {sender} may not report, only {allowed}", code="message.unknown_sender"
        )
    return Origin(
        hub=hub,
        device_id=message.device_id,
        module_id=message.module_id,
        message_id=_text(message.system.get("message-id")),
        enqueued_at=_moment(message.system.get("iothub-enqueuedtime"), deps.now()),
    )


def _record(origin: Origin, message: HubMessage, deps: Deps) -> Outcome:
    kind = message.properties.get("kind")
    if kind == "report":
        report = parse_report(message.body)
        return deps.store.transfers.record_report(origin, report, max_attempts=deps.settings.max_attempts)
    if kind == "inventory":
        return deps.store.devices.record_inventory(origin, parse_inventory(message.body))
    raise ContentError(f"a message of the kind {kind!r}", code="message.unknown_kind")


def _untaken(hub: str, message: HubMessage, error: Exception) -> Untaken:
    reason = error.code if isinstance(error, ImageDeltaError) else "internal"
    log.warning("%s/%s: to quarantine: %s: %s", hub, message.device_id, reason, error, exc_info=reason == "internal")
    return Untaken(
        hub, message.device_id, message.module_id, reason, str(error), message.body, dict(message.properties)
    )


def read_events(events: Sequence[func.EventHubEvent]) -> list[HubMessage]:
    """A batch of the event hub trigger. Its metadata is shared: properties are found by position."""
    metadata = events[0].metadata if events else None
    system = _array(metadata, "SystemPropertiesArray")
    properties = _array(metadata, "PropertiesArray")
    return [HubMessage(_at(system, i), _at(properties, i), event.get_body()) for i, event in enumerate(events)]


def _array(metadata: Mapping[str, Any] | None, name: str) -> Sequence[Any]:
    value = (metadata or {}).get(name, ())
    return value if isinstance(value, list | tuple) else ()


def _at(values: Sequence[Any], position: int) -> Mapping[str, Any]:
    value = values[position] if position < len(values) else None
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _moment(value: object, default: datetime) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return default
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def serve_events(hub: str, deps: Callable[[], Deps]) -> Callable[..., Any]:
    """The function of one hub's event hub trigger; the name comes from its configuration, not from a message."""

    async def run(events: List[func.EventHubEvent], client: Starter) -> None:  # noqa: UP006
        starts = await asyncio.to_thread(lambda: ingest(hub, read_events(events), deps()))
        try:
            await start_all(client, starts)
        except DependencyError as error:
            log.warning("%s: %s; the timer will start it", hub, error)  # SQL has it all

    return run
