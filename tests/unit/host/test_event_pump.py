"""Event hub triggers: what a function is given, and which hub it reads."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from imagedelta_host.errors import SettingInvalid
from imagedelta_host.event_pump import EventPump, event_source_of
from imagedelta_host.loader import EVENT_HUB, AppFunction
from imagedelta_host.mounts import Place
from imagedelta_local.iothub.store import HubStore, Identity
from imagedelta_local.iothub.stream import EventStream, HubEvents
from imagedelta_local.mount import LocalServices


class Recorder:
    """Takes the place of the invoker: keeps what a function would get."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    async def call(self, function: AppFunction, value: Any, retry: Any = None) -> None:
        self.values.append(value)


def a_trigger(**fields: object) -> AppFunction:
    trigger = {"name": "events", "type": EVENT_HUB, "connection": "EVENTS", **fields}
    return AppFunction("ingest", "ingest", EVENT_HUB, print, trigger)


def delivered(folder: Path, function: AppFunction, bodies: list[bytes], batch: int = 10) -> list[Any]:
    """What the function gets for messages of one device."""
    store = HubStore(folder / "iothub.sqlite")
    stream, recorder = EventStream(store), Recorder()
    sender = Identity.new("north", "ship", "recon")
    for number, body in enumerate(bodies):
        stream.append(sender, body, {"message-id": f"m{number}"}, {"n": str(number)})
    pump = EventPump(function, HubEvents(stream, "north"), recorder, batch)  # type: ignore[arg-type]

    async def main() -> None:
        task = asyncio.create_task(pump.run_forever())
        while stream.checkpoint("north", "ingest/$Default") < len(bodies):
            await asyncio.sleep(0.001)
        task.cancel()

    asyncio.run(main())
    store.close()
    return recorder.values


def test_a_batch_has_no_more_events_than_allowed(tmp_path: Path) -> None:
    batches = delivered(tmp_path, a_trigger(cardinality="many", dataType="BINARY"), [b"x"] * 7, batch=3)

    assert [len(batch) for batch in batches] == [3, 3, 1]


def test_metadata_of_a_batch_is_by_position(tmp_path: Path) -> None:
    [batch] = delivered(tmp_path, a_trigger(cardinality="many", dataType="BINARY"), [b"zero", b"\xff\x00"])

    second = batch[1]
    assert (second.get_body(), second.sequence_number, second.partition_key) == (b"\xff\x00", 2, "ship")
    assert second.iothub_metadata["connection-module-id"] == "recon"
    assert second.metadata["PropertiesArray"] == [{"n": "0"}, {"n": "1"}]
    assert second.metadata["SystemPropertiesArray"][1]["message-id"] == "m1"
    assert second.metadata["PartitionContext"]["EventHubName"] == "north"
    assert second.metadata["SequenceNumberArray"] == [1, 2]
    assert second.enqueued_time is not None


def test_cardinality_one_gives_single_events_with_their_own_metadata(tmp_path: Path) -> None:
    events = delivered(tmp_path, a_trigger(cardinality="one", dataType="BINARY"), [b"a", b"b"])

    assert [event.get_body() for event in events] == [b"a", b"b"]
    assert [event.sequence_number for event in events] == [1, 2]
    assert events[0].iothub_metadata["connection-device-id"] == "ship"
    assert json.loads(json.dumps(events[1].metadata["Properties"])) == {"n": "1"}


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (None, "set EVENTS=UseLocalIotHub=true;EntityPath=<hub>, or AzureWebJobs.ingest.Disabled"),
        ("Endpoint=sb://cloud/;SharedAccessKeyName=k", "an event hub that is not served here"),
        ("UseLocalIotHub=true;EntityPath=west", "LOCAL_IOTHUBS has: north, south"),
    ],
)
def test_a_trigger_without_a_local_hub_is_refused_with_what_to_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, setting: str | None, words: str
) -> None:
    if setting is not None:
        monkeypatch.setenv("EVENTS", setting)
    local = LocalServices(Place(tmp_path, "http://host", lambda name: "a2V5"), "north,south")

    with pytest.raises(SettingInvalid, match=words):
        event_source_of(a_trigger(), [local])
    local.close()
