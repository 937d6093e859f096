"""Messages of devices: each stands alone, identity is what the hub says, and nothing is lost silently."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from azure.functions import get_binding_registry, meta

from contracts.messages import Inventory, PresentImage, Report, to_json
from contracts.requests import EnrolDevice
from imagedelta.errors import DependencyError
from tests.unit.triggers.world import START, World, make_world
from triggers.hub_events import HubMessage, ingest, read_events, serve_events

IMAGE = "sha256:" + "a" * 64
MODULE = "imagereconstruction"


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = make_world(tmp_path)
    made.deps.store.devices.enrol("boat", EnrolDevice(hub="north"), "test", START)
    return made


def inventory(sequence: int = 1) -> bytes:
    return Inventory(
        installation_id="i1",
        sequence=sequence,
        platform="linux/amd64",
        profiles=["v1-64m"],
        free_disk_bytes=1,
        images=[PresentImage(image_id=IMAGE)],
    ).to_wire()


def report() -> bytes:
    return to_json(Report(transfer_id="transfer-none", attempt=1, sequence=1, state="received", image_id=IMAGE))


def message(
    body: bytes, kind: str | None = "inventory", device: str = "boat", module: str | None = MODULE
) -> HubMessage:
    system = {"iothub-connection-device-id": device, "iothub-connection-module-id": module}
    return HubMessage(system, {"kind": kind} if kind else {}, body)


def quarantined(world: World) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = world.call("GET", "/api/quarantine").body["items"]
    return items


def images_of(world: World) -> list[str]:
    return [item["imageId"] for item in world.call("GET", "/api/devices/boat/images").body["items"]]


def test_an_inventory_is_believed_and_wakes_the_sweep(world: World) -> None:
    starts = ingest("north", [message(inventory())], world.deps)

    assert images_of(world) == [IMAGE]
    assert [start.instance for start in starts] == ["sweep"]
    assert quarantined(world) == []


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (message(b""), "content.malformed_message"),
        (message(b"", "report"), "content.malformed_message"),
        (message(b"not gzip"), "content.malformed_message"),
        (message(b"{}", "report"), "content.malformed_message"),
        (message(b"\xff\x00", "report"), "content.malformed_message"),
        (message(gzip.compress(b"[" * 1000)), "content.malformed_message"),
        (message(gzip.compress(b" " * (9 << 20))), "content.limit_exceeded"),
        (message(report(), None), "message.unknown_kind"),
        (message(report(), "greeting"), "message.unknown_kind"),
        (message(inventory(), module="telemetry"), "message.unknown_sender"),
        (message(inventory(), module=None), "message.unknown_sender"),
        (HubMessage({}, {"kind": "report"}, report()), "message.unknown_sender"),
    ],
)
def test_a_message_that_cannot_be_taken_is_kept_and_the_rest_goes_on(
    world: World, bad: HubMessage, reason: str
) -> None:
    ingest("north", [bad, message(inventory()), bad], world.deps)

    assert images_of(world) == [IMAGE]
    kept = quarantined(world)
    assert [(entry["reason"], entry["count"]) for entry in kept] == [(reason, 2)]
    assert base64.b64decode(kept[0]["body"]) == bad.body


def test_other_modules_telemetry_is_passed_over(world: World) -> None:
    foreign = [message(b"21.5 degrees", None, module="telemetry"), message(b"{}", "alarm", module=None)]

    assert ingest("north", foreign, world.deps) == ()
    ingest("north", [*foreign, message(inventory())], world.deps)

    assert images_of(world) == [IMAGE]
    assert quarantined(world) == []


def test_who_reports_is_what_the_hub_says_not_what_the_body_says(world: World) -> None:
    body = gzip.compress(json.dumps({**json.loads(gzip.decompress(inventory())), "deviceId": "boat"}).encode())

    ingest("north", [message(body, device="stranger")], world.deps)

    assert images_of(world) == []


def test_a_device_that_reports_through_another_hub_is_not_believed(world: World) -> None:
    ingest("south", [message(inventory())], world.deps)

    assert images_of(world) == []


def test_a_report_for_an_unknown_transfer_changes_nothing(world: World) -> None:
    starts = ingest("north", [message(report(), "report")] * 10, world.deps)

    assert starts == ()
    assert world.call("GET", "/api/transfers").body["items"] == []


def test_a_database_that_does_not_answer_fails_the_batch_so_that_it_comes_again(world: World) -> None:
    def down(*args: object) -> None:
        raise DependencyError("database is locked")

    store = SimpleNamespace(devices=SimpleNamespace(record_inventory=down))
    broken = replace(world.deps, store=store)  # type: ignore[arg-type]

    with pytest.raises(DependencyError):
        ingest("north", [message(inventory())], broken)


def test_an_unforeseen_error_is_kept_as_internal(world: World) -> None:
    def bug(*args: object) -> None:
        raise ZeroDivisionError

    store = SimpleNamespace(devices=SimpleNamespace(record_inventory=bug), quarantine=world.deps.store.quarantine)
    broken = replace(world.deps, store=store)  # type: ignore[arg-type]

    ingest("north", [message(inventory())], broken)

    assert [entry["reason"] for entry in quarantined(world)] == ["internal"]


def events(bodies: list[bytes], system: list[Any], properties: list[Any]) -> Any:
    """A batch as the worker of the real host decodes it."""

    def text(value: object) -> meta.Datum:
        return meta.Datum(json.dumps(value), "json")

    metadata = {
        "PropertiesArray": text(properties),
        "SystemPropertiesArray": text(system),
        "SequenceNumberArray": text(list(range(len(bodies)))),
    }
    data = meta.Datum(SimpleNamespace(bytes=bodies), "collection_bytes")
    registry = get_binding_registry()  # type: ignore[no-untyped-call]
    return registry.get("eventHubTrigger").decode(data, trigger_metadata=metadata)


def test_properties_are_found_by_position_in_a_batch_of_the_real_host() -> None:
    batch = events(
        [b"one", b""],
        [
            {"iothub-connection-device-id": "a", "iothub-connection-module-id": "m"},
            {"iothub-connection-device-id": "b"},
        ],
        [{"kind": "report"}, {}],
    )

    first, second = read_events(batch)

    assert (first.device_id, first.module_id, first.properties, first.body) == ("a", "m", {"kind": "report"}, b"one")
    assert (second.device_id, second.module_id, second.properties, second.body) == ("b", None, {}, b"")


@pytest.mark.parametrize("odd", [None, "x", [], [5], {"a": 1}])
def test_odd_metadata_never_lends_one_message_the_identity_of_another(odd: Any) -> None:
    metadata = {"SystemPropertiesArray": odd, "PropertiesArray": odd}
    batch: Any = [SimpleNamespace(metadata=metadata, get_body=lambda: b"one") for _ in range(2)]

    assert [item.device_id for item in read_events(batch)] == [None, None]


def test_an_empty_batch_is_nothing() -> None:
    assert read_events([]) == []


def test_a_batch_is_taken_although_durable_does_not_answer(world: World) -> None:
    world.durable.broken = True
    batch = events(
        [inventory()],
        [{"iothub-connection-device-id": "boat", "iothub-connection-module-id": MODULE}],
        [{"kind": "inventory"}],
    )

    asyncio.run(serve_events("north", lambda: world.deps)(batch, world.durable))

    assert images_of(world) == [IMAGE]
