"""Event hub batches and the timer: what Microsoft's worker makes of them is what the embedded host makes of them."""

from __future__ import annotations

import gzip
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from contracts import work
from contracts.messages import Inventory, Report, to_json
from tests.e2e.host_process import APPS, HostProcess, HubClient, lines, wait_for
from tests.worker.azure_worker import AzureWorker, TypedData
from tests.worker.conftest import Both
from tests.worker.functions_host import HubEvent, batch

pytestmark = pytest.mark.e2e

MODULE, FOREIGN = "imagereconstruction", "telemetry"
IMAGE = "sha256:" + "a" * 64


def inventory(sequence: int) -> bytes:
    said = {
        "installationId": "disk-1",
        "sequence": sequence,
        "platform": "linux/arm64",
        "profiles": ["v1-64m"],
        "freeDiskBytes": 10**9,
        "images": [{"imageId": IMAGE}],
    }
    body = Inventory.model_validate(said).to_wire()
    assert gzip.decompress(body)
    return body


REPORT = to_json(Report(transfer_id="transfer-none", attempt=1, sequence=1, state="received", image_id=IMAGE))
MESSAGES: list[tuple[str, bytes, dict[str, str]]] = [
    (MODULE, b"", {"kind": "inventory"}),
    (MODULE, b"", {}),
    (MODULE, b'{"transferId": ', {"kind": "report"}),
    (MODULE, b"\x1f\x8b\x08 no gzip", {"kind": "inventory"}),
    (MODULE, b"\xff\xfe\x00", {"kind": "report", "unit": "m/s"}),
    (MODULE, REPORT, {"kind": "report"}),
    (MODULE, REPORT, {"kind": "greeting"}),
    (FOREIGN, b"21.5 degrees", {"unit": "celsius"}),
    (FOREIGN, inventory(9), {"kind": "inventory"}),
    (MODULE, inventory(1), {"kind": "inventory"}),
]


def through_the_embedded_host(both: Both, device: str, keys: dict[str, str]) -> None:
    """Send everything to the local hub and wait until the last message has had its effect."""
    hub = both.hub("north")
    for module, body, properties in MESSAGES:
        headers = {f"iothub-app-{name}": value for name, value in properties.items()}
        answer = hub.send(device, module, keys[module], body, **headers)
        assert answer.status_code == 204, answer.text
    wait_for(lambda: images_of(both, device), 30, pause=0.1)


def through_the_worker(both: Both, device: str) -> None:
    events = [HubEvent(device, module, body, properties) for module, body, properties in MESSAGES]
    given, metadata = batch(events, "south")
    done = both.worker.invoke("hub_events_south", {"events": given, "client": {"string": both.client}}, metadata)
    assert (done.error, done.returned) == (None, None)


def images_of(both: Both, device: str) -> Any:
    return both.host.request("GET", f"/api/devices/{device}/images").json()["items"]


def effects(both: Both, device: str, hub: str) -> str:
    """What is known afterwards, with the names of hub and device taken out and without times.

    Of messages in quarantine how many there are of each kind: which is the example depends on how a hub cuts batches.
    """
    kept = both.host.request("GET", "/api/quarantine?limit=500").json()["items"]
    of_device = [
        {"moduleId": item["moduleId"], "reason": item["reason"], "count": item["count"]}
        for item in sorted(kept, key=lambda item: (str(item["moduleId"]), item["reason"]))
        if item["deviceId"] == device
    ]
    known = both.host.request("GET", f"/api/devices/{device}").json()
    text = json.dumps([_timeless(known), [*map(_timeless, images_of(both, device))], of_device])
    return text.replace(device, "DEVICE").replace(f'"{hub}"', '"HUB"')


def _timeless(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if not name.endswith("At") and name not in ("at", "entryId")}


def test_a_batch_has_the_same_effects(both: Both) -> None:
    keys = {}
    for device, hub in (("boat-n", "north"), ("boat-s", "south")):
        # known to the hub first, so that its twin is written at once
        keys[hub] = {module: both.hub(hub).enrol(device, module) for module in (MODULE, FOREIGN)}
        both.host.request("PUT", f"/api/devices/{device}", json={"hub": hub}).raise_for_status()

    through_the_embedded_host(both, "boat-n", keys["north"])
    through_the_worker(both, "boat-s")

    ours = effects(both, "boat-n", "north")
    assert effects(both, "boat-s", "south") == ours
    assert [item["imageId"] for item in json.loads(ours)[1]] == [IMAGE]
    assert sum(entry["count"] for entry in json.loads(ours)[2]) == 7


def timer(*, past_due: bool = False) -> TypedData:
    status = {"Last": "2030-01-01T00:00:00+00:00", "LastUpdated": "2030-01-01T00:00:00+00:00", "Next": ""}
    value = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": past_due}
    return {"json": json.dumps(value)}


def test_a_tick_does_the_same_work(both: Both) -> None:
    both.host.admin("POST", "/admin/functions/timer", json={"input": None}).raise_for_status()
    by_us = wait_for(lambda: beats(both))  # the host answers when the timer's function has begun

    done = both.worker.invoke("timer", {"timer": timer(past_due=True), "client": {"string": both.client}})

    assert (done.error, done.returned) == (None, None)
    by_worker = beats(both)
    assert by_us.keys() == by_worker.keys() == set(work.KINDS)
    assert all(by_us[kind] < by_worker[kind] for kind in by_us)


def beats(both: Both) -> dict[str, str]:
    """Kind of work -> when it was last looked after."""
    with closing(sqlite3.connect(both.host.state / "imagedelta.db")) as database:
        return dict(database.execute("SELECT kind, done_at FROM heartbeats"))


def test_a_function_sees_the_same_of_an_event_and_of_a_timer(tmp_path: Path) -> None:
    settings = {
        "LOCAL_IOTHUBS": "north",
        "NORTH_EVENTS": "UseLocalIotHub=true;EntityPath=north",
        "TICK": "0 0 0 1 1 *",
        "AzureWebJobs.switched_off.Disabled": "true",
    }
    by_us, by_worker = tmp_path / "us", tmp_path / "worker"
    body, properties = b'{"a": 1}', {"kind": "report", "unit": "m/s"}

    host = HostProcess(tmp_path / "state", APPS / "everything", LOG=str(by_us), **settings).start()
    try:
        hub = HubClient(host, "north", host.endpoint()["hubs"]["north"].rpartition("SharedAccessKey=")[2])
        key = hub.enrol("boat", "m")
        hub.send("boat", "m", key, body, **{f"iothub-app-{name}": value for name, value in properties.items()})
        host.admin("POST", "/admin/functions/tick", json={})
        wait_for(lambda: lines(by_us, "event") and lines(by_us, "tick"))
    finally:
        host.stop()

    worker = AzureWorker(APPS / "everything", LOG=str(by_worker), **settings)
    given, metadata = batch([HubEvent("boat", "m", body, properties)], "north")
    assert worker.invoke("ingest", {"events": given}, metadata).error is None
    assert worker.invoke("tick", {"timer": timer()}).error is None
    worker.stop()

    assert lines(by_us, "tick") == lines(by_worker, "tick")
    ours, theirs = lines(by_us, "event")[0], lines(by_worker, "event")[0]
    for name in ("body", "properties"):
        assert ours[name] == theirs[name]
    for name in ("iothub", "system", "partition"):
        assert ours[name].keys() == theirs[name].keys()
    identity = ("connection-device-id", "connection-module-id", "message-source")
    assert [ours["iothub"][name] for name in identity] == [theirs["iothub"][name] for name in identity]


def test_a_tick_that_the_worker_cannot_read_fails_there_too(both: Both) -> None:
    done = both.worker.invoke("timer", {"timer": {"json": "no JSON"}, "client": {"string": both.client}})

    assert done.error is not None
