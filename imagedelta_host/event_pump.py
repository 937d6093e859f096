"""Event hub triggers: batches of an event source, with the metadata the real host passes.

The checkpoint moves after the invocation whether it succeeded or not, as in the real host; a host that is killed
before delivers the batch again (at least once). All events are in one partition, in order of arrival.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from azure.functions import meta

from imagedelta_host.converters import converter_of
from imagedelta_host.errors import SettingInvalid
from imagedelta_host.invoke import Invoker, RetryContext
from imagedelta_host.loader import AppFunction
from imagedelta_host.mounts import EventSource, Mounts, StreamEvent, source_of

log = logging.getLogger("imagedelta_host")

_PARTITION = "0"


def event_source_of(function: AppFunction, mounts: Mounts) -> EventSource:
    """What an event hub trigger reads: the source that its connection setting names.

    Raises:
        SettingInvalid: The setting is missing, is for a hub in the cloud, or names a source that is not there.
    """
    setting = str(function.trigger.get("connection", ""))
    try:
        source = source_of(mounts, os.environ.get(setting, ""))
    except SettingInvalid as error:
        raise SettingInvalid(f"the function {function.name} cannot be fed by {setting}: {error}") from error
    if source is None:
        forms = [f"set {setting}={mount.connection_form}" for mount in mounts]
        advice = ", or ".join([*forms, f"AzureWebJobs.{function.name}.Disabled=true"])
        raise SettingInvalid(f"the function {function.name} reads an event hub that is not served here: {advice}")
    return source


class EventPump:
    """Feeds one event hub trigger."""

    def __init__(self, function: AppFunction, source: EventSource, invoker: Invoker, batch_size: int) -> None:
        self.function = function
        self.source = source
        self._invoker = invoker
        self._many = str(function.trigger.get("cardinality") or "one").lower() == "many"
        self._batch_size = batch_size if self._many else 1
        group = str(function.trigger.get("consumerGroup") or "$Default")
        self._group = group
        self._consumer = f"{function.name}/{group}"
        self._stored: int | None = None
        self._delivered = 0
        self.busy = False
        self.stopping = False

    async def run_forever(self) -> None:
        """Deliver until cancelled, or until the batch under way is done once ``stopping`` is set.

        Started again after an error it goes on behind the last batch: a checkpoint that could not be stored is
        stored first, and nothing is delivered twice.
        """
        if self._stored is None:
            self._stored = self._delivered = self.source.checkpoint(self._consumer)
        self._store_checkpoint()
        while not self.stopping:
            await self.source.wait(self._delivered)
            batch = self.source.after(self._delivered, self._batch_size)
            self.busy = True
            try:
                await self._deliver(batch)
                self._delivered = batch[-1].sequence
                self._store_checkpoint()
            finally:
                self.busy = False

    def _store_checkpoint(self) -> None:
        if self._stored != self._delivered:
            self.source.set_checkpoint(self._consumer, self._delivered)
            self._stored = self._delivered

    async def run_by_hand(self, value: object) -> None:
        """Deliver one event that did not come from a hub."""
        body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        await self._invoker.call(
            self.function, self._value([StreamEvent(0, datetime.now(UTC).isoformat(), body, {}, {})])
        )

    async def _deliver(self, batch: list[StreamEvent]) -> None:
        """Invoke the function, with its retry policy; after the last retry the batch is given up."""
        retry, policy = 0, self.function.retry
        while True:
            context = RetryContext(retry, policy.max_retries if policy else 0)
            try:
                await self._invoker.call(self.function, self._value(batch), context)
                return
            except Exception:
                retry += 1
                delay = policy.delay(retry) if policy else None
                if self.stopping:
                    raise asyncio.CancelledError from None
                if delay is None:
                    log.error("%d events of %s are given up by %s", len(batch), self.source.name, self.function.name)
                    return
                await asyncio.sleep(delay)

    def _value(self, batch: list[StreamEvent]) -> Any:
        converter = converter_of(self.function.kind)
        if self._many:
            return converter.decode(self._bodies(batch), trigger_metadata=self._metadata_of_many(batch))
        return converter.decode(self._body(batch[0]), trigger_metadata=self._metadata_of_one(batch[0]))

    def _bodies(self, batch: list[StreamEvent]) -> meta.Datum:
        if self._is_binary():
            return meta.Datum(SimpleNamespace(bytes=[item.body for item in batch]), "collection_bytes")
        texts = [item.body.decode("utf-8", "replace") for item in batch]
        return meta.Datum(SimpleNamespace(string=texts), "collection_string")

    def _body(self, item: StreamEvent) -> meta.Datum:
        if self._is_binary():
            return meta.Datum(item.body, "bytes")
        return meta.Datum(item.body.decode("utf-8", "replace"), "string")

    def _is_binary(self) -> bool:
        return str(self.function.trigger.get("dataType") or "").lower() in ("binary", "2")

    def _metadata_of_many(self, batch: list[StreamEvent]) -> dict[str, meta.Datum]:
        return {
            "PartitionContext": _json(self._partition()),
            "PartitionKeyArray": _json([item.system.get("iothub-connection-device-id", "") for item in batch]),
            "OffsetArray": _json([str(item.sequence) for item in batch]),
            "SequenceNumberArray": _json([item.sequence for item in batch]),
            "EnqueuedTimeUtcArray": _json([item.enqueued for item in batch]),
            "PropertiesArray": _json([item.properties for item in batch]),
            "SystemPropertiesArray": _json([system_properties(item) for item in batch]),
        }

    def _metadata_of_one(self, item: StreamEvent) -> dict[str, meta.Datum]:
        return {
            "PartitionContext": _json(self._partition()),
            "PartitionKey": _json(item.system.get("iothub-connection-device-id", "")),
            "Offset": _json(str(item.sequence)),
            "SequenceNumber": _json(item.sequence),
            "EnqueuedTimeUtc": _json(item.enqueued),
            "Properties": _json(item.properties),
            "SystemProperties": _json(system_properties(item)),
        }

    def _partition(self) -> dict[str, str]:
        return {
            "FullyQualifiedNamespace": "localhost",
            "EventHubName": self.source.name,
            "ConsumerGroup": self._group,
            "PartitionId": _PARTITION,
        }


def system_properties(item: StreamEvent) -> dict[str, Any]:
    """System properties of one event, as an event hub consumer of an IoT hub gets them."""
    key = item.system.get("iothub-connection-device-id", "")
    return {
        **item.system,
        "SequenceNumber": item.sequence,
        "Offset": str(item.sequence),
        "EnqueuedTimeUtc": item.enqueued,
        "PartitionKey": key,
        "x-opt-sequence-number": item.sequence,
        "x-opt-offset": str(item.sequence),
        "x-opt-enqueued-time": item.enqueued,
    }


def _json(value: object) -> meta.Datum:
    return meta.Datum(json.dumps(value), "json")
