"""Messages of devices, as the hub delivers them: reports and inventories.

Reports are recorded many at once. The checkpoint moves on whether a batch succeeded or failed, so each message
stands alone all the same: one that cannot be taken goes to quarantine and the rest goes on. Only SQL not answering
fails the batch, which is then run again whole; every message may be taken twice.

Who sent a message is what the hub says of the connection; what the body says of its sender is never asked. Which
device that is, the bindings in SQL say: one that was given up is nobody's any more.
Source: docs/formats/messages.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, List  # noqa: UP035 - the worker takes typing.List alone for a batch

import azure.functions as func

from contracts.messages import Inventory, Report, parse_inventory, parse_report
from imagedelta.errors import ContentError, DependencyError, ImageDeltaError
from services.deps import Deps
from services.store_port import Origin, Outcome, Senders, Untaken
from services.watching.log_fields import about
from services.watching.metrics import MESSAGES, QUARANTINED
from triggers.http import ATTEND, Start, deploy_set
from triggers.report_telemetry import tell_reports
from triggers.starting import Starter, start_all

log = logging.getLogger(__name__)

_AT_ONCE = 200
"""Reports in one transaction."""


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


@dataclass(frozen=True)
class Parsed:
    """A message that may be believed: what it says, and who sent it."""

    message: HubMessage
    origin: Origin
    says: Report | Inventory


def ingest(hub: str, messages: Iterable[HubMessage], deps: Deps) -> tuple[Start, ...]:
    """Take every message; the orchestrations that have work because of them.

    Raises: DependencyError when SQL does not answer; then the batch is to be run again.
    """
    ours = [message for message in messages if _concerns_us(message, deps)]
    if not ours:
        return ()
    batch = _Batch(hub, deps)
    for together in _rounds(batch.parse(ours)):
        batch.record(together)
    deps.store.quarantine.keep(batch.untaken, deps.now())
    return batch.starts()


def _concerns_us(message: HubMessage, deps: Deps) -> bool:
    """A hub's endpoint carries the telemetry of every module: what neither comes from ours nor claims to be a
    report is somebody else's."""
    return message.module_id == deps.settings.module_id or message.properties.get("kind") in ("report", "inventory")


def _rounds(parsed: Iterable[Parsed]) -> list[list[Parsed]]:
    """Reports come together, then inventories, and so on; the messages of one device stay in their order."""
    last: dict[str, int] = {}
    rounds: dict[int, list[Parsed]] = {}
    for one in parsed:
        device_id, odd = one.origin.device_id, one.says.kind == "inventory"
        place = last.get(device_id, 0)
        last[device_id] = place = place if place % 2 == odd else place + 1
        rounds.setdefault(place, []).append(one)
    return [rounds[place] for place in sorted(rounds)]


class _Batch:
    """The messages of one call of the function: what became of them, and what of it has to be started."""

    def __init__(self, hub: str, deps: Deps) -> None:
        self._hub = hub
        self._deps = deps
        self.untaken: list[Untaken] = []
        self._sets: set[str] = set()
        self._moved = False

    def parse(self, messages: Sequence[HubMessage]) -> Iterator[Parsed]:
        ids = {message.device_id for message in messages if message.device_id is not None}
        senders = self._deps.store.devices.senders(self._hub, ids)
        for message in messages:
            try:
                origin = _origin(self._hub, message, senders, self._deps)
                yield Parsed(message, origin, _says(message))
            except Exception as error:
                self._refuse(message, error)

    def record(self, together: Sequence[Parsed]) -> None:
        """All of one kind."""
        if together[0].says.kind == "inventory":
            for one in together:
                self._take([one], self._inventory)
            return
        for start in range(0, len(together), _AT_ONCE):
            self._take(together[start : start + _AT_ONCE], self._reports)

    def starts(self) -> tuple[Start, ...]:
        if not self._moved:
            return ()
        return (ATTEND, *(deploy_set(set_id) for set_id in sorted(self._sets)))

    def _reports(self, together: Sequence[Parsed]) -> Sequence[Outcome]:
        reports = [(one.origin, one.says) for one in together if isinstance(one.says, Report)]
        outcomes = self._deps.store.transfers.record_reports(reports, max_attempts=self._deps.settings.max_attempts)
        tell_reports(self._deps, outcomes)
        return outcomes

    def _inventory(self, together: Sequence[Parsed]) -> Sequence[Outcome]:
        inventories = [(one.origin, one.says) for one in together if isinstance(one.says, Inventory)]
        return [self._deps.store.devices.record_inventory(*inventory) for inventory in inventories]

    def _take(self, together: Sequence[Parsed], record: Callable[[Sequence[Parsed]], Sequence[Outcome]]) -> None:
        """What cannot be taken together is taken in halves, until the one that spoils it stands alone."""
        try:
            outcomes = record(together)
        except DependencyError:
            raise
        except Exception as error:
            if len(together) == 1:
                self._refuse(together[0].message, error)
                return
            log.warning("%s: %d messages cannot be taken together: %s", self._hub, len(together), error)
            middle = len(together) // 2
            for half in (together[:middle], together[middle:]):
                self._take(half, record)
        else:
            for one, outcome in zip(together, outcomes, strict=True):
                self._note(one, outcome)

    def _note(self, one: Parsed, outcome: Outcome) -> None:
        device_id, transfer_id = one.origin.device_id, getattr(one.says, "transfer_id", None)
        with about(hub=self._hub, device_id=device_id, transfer_id=transfer_id):
            log.info("%s/%s: %s (%s)", self._hub, device_id, outcome.result, outcome.detail)
        self._deps.telemetry.record(MESSAGES, 1, kind=one.says.kind, result=outcome.result)
        self._sets.update(outcome.set_ids)
        self._moved = self._moved or outcome.result == "applied"

    def _refuse(self, message: HubMessage, error: Exception) -> None:
        reason = error.code if isinstance(error, ImageDeltaError) else "internal"
        trace = error if reason == "internal" else None
        with about(hub=self._hub, device_id=message.device_id):
            log.warning("%s/%s: to quarantine: %s: %s", self._hub, message.device_id, reason, error, exc_info=trace)
        self._deps.telemetry.record(QUARANTINED, 1, code=reason)
        sender = (self._hub, message.device_id, message.module_id)
        self.untaken.append(Untaken(*sender, reason, str(error), message.body, dict(message.properties)))


def _origin(hub: str, message: HubMessage, senders: Senders, deps: Deps) -> Origin:
    if message.device_id is None:
        raise ContentError("the hub names no device", code="message.unknown_sender")
    allowed = deps.settings.module_id
    if message.module_id != allowed:
        sender = f"module {message.module_id}" if message.module_id else "the device itself"
        raise ContentError(
            f"{message.device_id}: {sender} may not report, only {allowed}", code="message.unknown_sender"
        )
    if message.device_id in senders.past:
        raise ContentError(
            f"{message.device_id} of hub {hub} was a device that has another identity now", code="message.old_binding"
        )
    return Origin(
        hub=hub,
        device_id=senders.devices.get(message.device_id, message.device_id),
        hub_device_id=message.device_id,
        module_id=message.module_id,
        message_id=_text(message.system.get("message-id")),
        enqueued_at=_moment(message.system.get("iothub-enqueuedtime"), deps.now()),
    )


def _says(message: HubMessage) -> Report | Inventory:
    kind = message.properties.get("kind")
    if kind == "report":
        return parse_report(message.body)
    if kind == "inventory":
        return parse_inventory(message.body)
    raise ContentError(f"a message of the kind {kind!r}", code="message.unknown_kind")


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
