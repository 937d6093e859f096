"""From IoT Hub's MQTT endpoint to the event hub trigger: what came to the broker, as the Functions host gives it on.

Topic and property bag become system and application properties as IoT Hub makes them (hub_stand_in), and batches of
those become what a worker is sent (tests/worker/functions_host.py). Who sent a message is what the topic says of the
connection: IoT Hub takes a message on a topic of one's own alone.
Source: learn.microsoft.com, "Create and read IoT Hub messages", system properties of device-to-cloud messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from tests.worker.azure_worker import AzureWorker, Invocation
from tests.worker.functions_host import HubEvent, batch
from triggers.hub_events import HubMessage

_OF_THE_HUB = "iothub-"


def event_of(message: HubMessage, enqueued: datetime) -> HubEvent:
    assert message.device_id is not None
    at = enqueued.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    said = {name: str(value) for name, value in message.system.items() if not name.startswith(_OF_THE_HUB)}
    return HubEvent(message.device_id, message.module_id, message.body, dict(message.properties), at, said)


def deliver(worker: AzureWorker, hub: str, messages: Sequence[HubMessage], client: str, at: datetime) -> Invocation:
    """Have the worker take these messages in one call of the hub's function.

    Args:
        client: Value of the durable client binding.
        at: When the hub had the first of them; the others follow by a millisecond each.
    """
    events = [event_of(message, at + timedelta(milliseconds=number)) for number, message in enumerate(messages)]
    given, metadata = batch(events, hub)
    return worker.invoke(f"hub_events_{hub}", {"events": given, "client": {"string": client}}, metadata)
