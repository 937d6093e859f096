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

from contracts.messages import MAX_MESSAGE_BYTES, Inventory, PresentImage, Report, to_json
from contracts.requests import EnrolDevice
from imagedelta.errors import DependencyError
from services.store_port import Outcome, Senders
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


def test_an_inventory_is_believed_and_has_what_it_makes_due_done_now(world: World) -> None:
    starts = ingest("north", [message(inventory())], world.deps)

    assert images_of(world) == [IMAGE]
    assert [start.instance for start in starts] == ["nudge"]
    assert quarantined(world) == []


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (message(b""), "content.malformed_message"),
        (message(b"", "report"), "content.malformed_message"),
        (message(b"not gzip"), "content.malformed_message"),
        (message(b"{}", "report"), "content.malformed_message"),
        (message(b"[" * 250_000, "report"), "content.malformed_message"),
        (message(b'{"transferId":"' + b"x" * 260_000 + b'"}', "report"), "content.malformed_message"),
        (message(b"x" * 262_145, "report"), "content.limit_exceeded"),
        (message(report().replace(b'"attempt":1', b'"attempt":true'), "report"), "content.malformed_message"),
        (message(report().replace(b'"attempt":1', b'"attempt":"1"'), "report"), "content.malformed_message"),
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
    assert base64.b64decode(kept[0]["body"]) == bad.body[:MAX_MESSAGE_BYTES]


def nobody_moved(*_: Any) -> Senders:
    return Senders({}, frozenset())


DEVICES = SimpleNamespace(senders=nobody_moved)


def takes_no(*poison: str) -> Any:
    """Takes reports, but for a batch with one of these transfers in it; of the others, in which order they came."""
    taken: list[str] = []

    def record(reports: Any, *, max_attempts: int) -> Any:
        ids = [report.transfer_id for _, report in reports]
        if set(ids) & set(poison):
            raise ZeroDivisionError(f"one of {len(ids)}")
        taken.extend(ids)
        return [Outcome("applied", "", ("set-1",)) for _ in ids]

    return SimpleNamespace(record_reports=record, taken=taken)


def report_of(transfer_id: str, device: str = "boat") -> HubMessage:
    body = Report(transfer_id=transfer_id, attempt=1, sequence=1, state="received", image_id=IMAGE)
    return message(to_json(body), "report", device)


@pytest.mark.parametrize("place", range(7))
def test_a_report_that_spoils_its_batch_is_kept_and_the_others_are_taken_in_their_order(
    world: World, place: int
) -> None:
    transfers = takes_no("poison")
    store = SimpleNamespace(transfers=transfers, devices=DEVICES, quarantine=world.deps.store.quarantine)
    batch = [report_of(f"t{number}") for number in range(6)]
    batch.insert(place, report_of("poison"))

    starts = ingest("north", batch, replace(world.deps, store=store))  # type: ignore[arg-type]

    assert transfers.taken == [f"t{number}" for number in range(6)]
    assert [(entry["reason"], entry["count"]) for entry in quarantined(world)] == [("internal", 1)]
    assert "deploy-set-1" in [start.instance for start in starts]


def test_a_batch_of_nothing_but_poison_ends(world: World) -> None:
    quarantine = world.deps.store.quarantine
    store = SimpleNamespace(transfers=takes_no("poison"), devices=DEVICES, quarantine=quarantine)

    assert ingest("north", [report_of("poison")] * 33, replace(world.deps, store=store)) == ()  # type: ignore[arg-type]

    assert [entry["count"] for entry in quarantined(world)] == [33]


def test_the_messages_of_one_device_keep_their_order_and_reports_come_together_all_the_same(world: World) -> None:
    calls: list[Any] = []

    def record_reports(reports: Any, *, max_attempts: int) -> Any:
        calls.append([report.transfer_id for _, report in reports])
        return [Outcome("applied", "") for _ in reports]

    def record_inventory(origin: Any, inventory: Any) -> Outcome:
        calls.append(f"{origin.device_id} has {inventory.sequence}")
        return Outcome("applied", "")

    store = SimpleNamespace(
        transfers=SimpleNamespace(record_reports=record_reports),
        devices=SimpleNamespace(record_inventory=record_inventory, senders=nobody_moved),
        quarantine=world.deps.store.quarantine,
    )
    batch = [
        *(
            report_of("a1", "a"),
            message(inventory(1), device="b"),
            report_of("c1", "c"),
            message(inventory(2), device="a"),
        ),
        *(report_of("b1", "b"), report_of("a2", "a"), message(inventory(3), device="a"), report_of("c2", "c")),
    ]

    ingest("north", batch, replace(world.deps, store=store))  # type: ignore[arg-type]

    assert calls == [["a1", "c1", "c2"], "b has 1", "a has 2", ["b1", "a2"], "a has 3"]


def test_a_flood_of_telemetry_asks_nothing_of_the_database(world: World) -> None:
    deaf = replace(world.deps, store=SimpleNamespace())  # type: ignore[arg-type]

    assert ingest("north", [message(b"[" * 250_000, None, module="camera")] * 100, deaf) == ()


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


def test_what_comes_under_an_identity_that_was_given_up_is_kept_apart_and_changes_nothing(world: World) -> None:
    ingest("north", [message(inventory(1))], world.deps)
    world.deps.store.devices.rebind("boat", "north", "vessel", "t", world.deps.now())

    starts = ingest("north", [message(inventory(2)), message(report(), "report")], world.deps)
    held = world.call("GET", "/api/devices/boat").body
    ingest("north", [message(inventory(3), device="vessel")], world.deps)

    kept = quarantined(world)
    assert (starts, held["state"]) == ((), "held")
    assert [(entry["deviceId"], entry["reason"], entry["count"]) for entry in kept] == [
        ("boat", "message.old_binding", 2)
    ]
    assert world.call("GET", "/api/devices/boat").body["state"] == "active"
    assert images_of(world) == [IMAGE]


def test_a_device_is_believed_by_its_identity_and_not_by_its_own_id(world: World) -> None:
    order = EnrolDevice(hub="north", hub_device_id="vessel")
    world.deps.store.devices.enrol("other", order, "t", world.deps.now())

    ingest("north", [message(inventory(), device="other")], world.deps)
    assert world.call("GET", "/api/devices/other").body["state"] == "enrolled"

    ingest("north", [message(inventory(), device="vessel")], world.deps)
    assert world.call("GET", "/api/devices/other").body["state"] == "active"


def test_a_report_for_an_unknown_transfer_changes_nothing(world: World) -> None:
    starts = ingest("north", [message(report(), "report")] * 10, world.deps)

    assert starts == ()
    assert world.call("GET", "/api/transfers").body["items"] == []


def test_a_database_that_does_not_answer_fails_the_batch_so_that_it_comes_again(world: World) -> None:
    def down(*args: object) -> None:
        raise DependencyError("database is locked")

    store = SimpleNamespace(devices=SimpleNamespace(record_inventory=down, senders=nobody_moved))
    broken = replace(world.deps, store=store)  # type: ignore[arg-type]

    with pytest.raises(DependencyError):
        ingest("north", [message(inventory())], broken)


def test_an_unforeseen_error_is_kept_as_internal(world: World) -> None:
    def bug(*args: object) -> None:
        raise ZeroDivisionError

    devices = SimpleNamespace(record_inventory=bug, senders=nobody_moved)
    store = SimpleNamespace(devices=devices, quarantine=world.deps.store.quarantine)
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
