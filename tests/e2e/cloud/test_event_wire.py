"""What devices say by MQTT ends in SQL: azure-iot-device, a broker, the event hub trigger's wire form, Azure's worker.

The module is the real one with its real hub session; the broker speaks TLS; bodies and properties cross as they were
sent. IoT Hub itself is stood in for between broker and trigger (tests/e2e/parts/event_wire.py).
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import paho.mqtt.client as mqtt
import pytest

from contracts.messages import Report, to_json
from contracts.records import Transfer
from contracts.requests import EnrolDevice
from edge_module.backoff import Backoff
from edge_module.hub import Envelope
from edge_module.hub_azure import AzureAccess, AzureHub, Proxy
from imagedelta.errors import DependencyError
from imagedelta_host.durable.binding import ClientBinding
from services.store_port import BundleResult
from store.sql import SqlStore
from tests.e2e.device.connect_proxy import ConnectProxy
from tests.e2e.device.vessel import DEVICE, MODULE, Vessel
from tests.e2e.host_process import wait_for
from tests.e2e.parts.broker import Broker
from tests.e2e.parts.event_wire import deliver
from tests.e2e.parts.hub_stand_in import HubStandIn
from tests.simulators.tcp_proxy import TcpProxy
from tests.unit.activities.bench import Bench
from tests.unit.edge.world import APP_1, APP_2, make_bundle
from tests.worker.azure_worker import ROOT, AzureWorker
from triggers.hub_events import HubMessage

pytestmark = pytest.mark.e2e
NOWHERE = ClientBinding("http://127.0.0.1:9", "hub", "key", "key").value()
"""Of a task hub that is down: what SQL has is started by the timer."""


class Cloud:
    """Azure's worker with the app on a database of its own, and the messages that came to the broker."""

    def __init__(self, folder: Path, broker: Broker) -> None:
        database = f"sqlite:///{folder / 'imagedelta.db'}"
        self.store = SqlStore(database)
        self.store.migrate()
        self.bench = Bench(self.store, folder / "blobs")
        self.bench.register(APP_1, APP_2)
        self.store.devices.enrol(DEVICE, EnrolDevice(hub="north"), "operator", self.bench.now())
        self.hub = HubStandIn(broker).wait_until_ready()
        broker.save()
        self.worker = AzureWorker(
            ROOT,
            IMAGEDELTA_DATABASE_URL=database,
            IMAGEDELTA_BLOBS_DIR=str(folder / "blobs"),
            IMAGEDELTA_HUBS="north",
            IMAGEDELTA_HUB_NORTH_SERVICE="HostName=http://127.0.0.1:9;SharedAccessKeyName=owner;SharedAccessKey=a2V5",
            IMAGEDELTA_HUB_NORTH_EVENTS="Endpoint=sb://north/",
        )
        self._taken = 0

    def close(self) -> None:
        self.worker.stop()
        self.hub.close()
        self.store.close()

    def published(self) -> Transfer:
        """A transfer of app:2 to the ship, which waits in its outbox."""
        transfer = self.bench.transfer(APP_2, APP_1, device_id=DEVICE)
        self.bench.verify_elsewhere(transfer, "a worker")
        patch_id, publications = transfer.patch_id or "", self.store.publications
        (publication,) = publications.claim(patch_id, "", 10, shared=False, at=self.bench.now())
        publications.finish(patch_id, [BundleResult(publication.transfer, 1000)], self.bench.now(), last=True)
        return self.bench.current(transfer)

    def take(self, messages: list[HubMessage] | None = None) -> None:
        """Let the function have these, or what came since the last time."""
        if messages is None:
            messages = self.hub.messages[self._taken :]
            self._taken += len(messages)
        done = deliver(self.worker, "north", messages, NOWHERE, self.bench.now.forward(seconds=1))
        assert (done.error, done.returned) == (None, None)

    def images(self, device_id: str = DEVICE) -> set[str]:
        return {image.image_id for image in self.store.devices.images_on(device_id)}

    def quarantined(self, device_id: str) -> dict[tuple[str | None, str], int]:
        """(module, reason) -> messages."""
        found = self.store.quarantine.entries(limit=100, after=None).items
        return {(one.module_id, one.reason): one.count for one in found if one.device_id == device_id}

    def session(self, broker: Broker, device: str, **changes: Any) -> AzureHub:
        connection = f"HostName={broker.address};DeviceId={device};ModuleId={MODULE};SharedAccessKey=a2V5"
        access = AzureAccess(device, connection, broker.authority.pem, **changes)
        return AzureHub(access, 20.0, backoff=Backoff(0.1, 0.5), between_seconds=0.0)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("broker"))
    try:
        yield broker.start()
    finally:
        broker.kill()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Iterator[Cloud]:
    cloud = Cloud(tmp_path_factory.mktemp("wire"), broker)
    yield cloud
    cloud.close()


def report(transfer_id: str, sequence: int, state: str) -> bytes:
    said = {"transferId": transfer_id, "attempt": 1, "sequence": sequence, "state": state, "imageId": APP_2.image_id}
    return to_json(Report.model_validate(said))


def is_sent(hub: AzureHub, message: Envelope) -> bool:
    try:
        hub.send(message)
    except DependencyError:
        return False
    return True


def test_what_the_module_says_ends_in_sql_and_saying_it_again_in_any_order_changes_nothing(
    cloud: Cloud, broker: Broker, tmp_path: Path
) -> None:
    vessel = Vessel(tmp_path, broker)
    try:
        vessel.load(APP_1)
        vessel.start()
        cloud.hub.wait_for(lambda hub: hub.inventories)
        cloud.take()
        assert cloud.images() == {APP_1.image_id}, "of the ship's own inventory, packed by gzip"

        transfer = cloud.published()
        bundle = make_bundle(transfer_id=transfer.transfer_id, bundle_id=transfer.bundle_id, number=transfer.number)
        vessel.carry_in(bundle)
        cloud.hub.wait_for(lambda hub: any(each.state == "succeeded" for each in hub.reports))
        cloud.hub.wait_for(lambda hub: len(hub.inventories) > 1)
        wait_for(lambda: vessel.waiting() == 0)
        cloud.take()
    finally:
        vessel.stop()

    known = cloud.bench.current(transfer)
    assert (known.state, known.attempt) == ("succeeded", 1), vessel.log()
    assert cloud.images() == {APP_1.image_id, APP_2.image_id}
    before = cloud.store.transfers.history(transfer.transfer_id)
    again = [*cloud.hub.messages, *reversed(cloud.hub.messages)]
    random.Random(7).shuffle(again)
    cloud.take(again)
    assert cloud.store.transfers.history(transfer.transfer_id) == before
    assert cloud.images() == {APP_1.image_id, APP_2.image_id}
    assert cloud.quarantined(DEVICE) == {}
    inventories = [message for message in again if message.properties["kind"] == "inventory"]
    assert {message.system["content-encoding"] for message in inventories} == {"gzip"}


def test_a_message_whose_acknowledgement_is_lost_comes_twice_and_counts_once(cloud: Cloud, broker: Broker) -> None:
    cloud.bench.enrol(APP_1, device_id="ship-2")
    transfer = cloud.bench.transfer(APP_2, APP_1, device_id="ship-2")
    said = Envelope(f"{transfer.transfer_id}:1:1", "report", report(transfer.transfer_id, 1, "succeeded"))
    with ConnectProxy() as proxy, TcpProxy(("127.0.0.1", proxy.port)) as link:
        hub = cloud.session(broker, "ship-2", proxy=Proxy("HTTP", "127.0.0.1", link.port))
        hub.send(Envelope("before", "greeting", b"{}"))
        link.cut_after = link.carried_down + 3  # within the acknowledgement of what is sent next
        assert not is_sent(hub, said)
        link.cut_after = None
        wait_for(lambda: is_sent(hub, said))
        hub.close()

    cloud.hub.wait_for(lambda hub: [each.system["message-id"] for each in hub.messages].count(said.message_id) == 2)
    cloud.take()

    assert cloud.bench.current(transfer).state == "succeeded"
    moves = [(event.old, event.new) for event in cloud.store.transfers.history(transfer.transfer_id)]
    assert moves[-1] == ("queued", "succeeded")
    assert moves.count(("queued", "succeeded")) == 1


_SDK = """
import sys
from azure.iot.device import IoTHubModuleClient, Message
connection, authority, message_id, body = sys.argv[1:]
client = IoTHubModuleClient.create_from_connection_string(
    connection, server_verification_cert=authority, connection_retry_interval=1)
client.connect()
print("connected", flush=True)
sys.stdin.readline()
message = Message(body, message_id=message_id)
message.custom_properties = {"kind": "report"}
client.send_message(message)
print("acknowledged", flush=True)
client.shutdown()
"""
"""In a process of its own, which its warnings do not end."""


def test_what_a_killed_broker_did_not_acknowledge_is_sent_again_as_a_duplicate_and_counts(
    cloud: Cloud, broker: Broker
) -> None:
    """By azure-iot-device alone, which keeps its session; the module rather makes a new one and asks again."""
    cloud.bench.enrol(APP_1, device_id="ship-3")
    transfer = cloud.bench.transfer(APP_2, APP_1, device_id="ship-3")
    connection = f"HostName={broker.address};DeviceId=ship-3;ModuleId={MODULE};SharedAccessKey=a2V5"
    body = report(transfer.transfer_id, 1, "succeeded").decode()
    command = [sys.executable, "-W", "ignore", "-c", _SDK, connection, broker.authority.pem, "dup-1", body]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        assert client.stdout.readline() == "connected\n"
        broker.freeze()
        client.stdin.write("go\n")
        client.stdin.flush()
        wait_for(lambda: broker.unread() > len(body))
        broker.kill_frozen()
        broker.start()
        assert client.stdout.readline() == "acknowledged\n"

    cloud.hub.wait_for(lambda hub: "dup-1" in hub.ids)
    cloud.take()

    assert f"from ship-3/{MODULE} (d1, q1" in broker.log(), broker.log()
    assert cloud.bench.current(transfer).state == "succeeded"


def test_among_a_hundred_each_bad_message_is_kept_and_every_good_one_counts(cloud: Cloud, broker: Broker) -> None:
    """Published on the broker as any MQTT client does: empty, broken, of other modules, with forged properties."""
    transfers = []
    for number in range(40):
        cloud.bench.enrol(APP_1, device_id=f"buoy-{number}")
        transfers.append(cloud.bench.transfer(APP_2, APP_1, device_id=f"buoy-{number}"))
    good = [
        (f"buoy-{number}", MODULE, report(transfer.transfer_id, 1, "succeeded"), {"kind": "report"})
        for number, transfer in enumerate(transfers)
    ]
    forged = {"kind": "report", "iothub-connection-device-id": "buoy-1", "iothub-connection-module-id": MODULE}
    claims = json.dumps({**json.loads(report(transfers[2].transfer_id, 9, "failed")), "deviceId": "buoy-2"}).encode()
    bad = [
        ("raft", MODULE, b"", {"kind": "report"}),
        ("raft", MODULE, b"", {}),
        ("raft", MODULE, b"\x1f\x8b broken", {"kind": "inventory"}),
        ("raft", MODULE, b"[" * 100_000, {"kind": "report"}),
        ("raft", MODULE, b"\xff\x00", {"kind": "report"}),
        ("raft", "telemetry", report(transfers[1].transfer_id, 9, "failed"), forged),
        ("raft", MODULE, claims, {"kind": "report"}),
    ]
    messages = [*good, *bad, *(("raft", "telemetry", b"21.5", {"unit": "C"}) for _ in range(53))]
    random.Random(3).shuffle(messages)
    assert len(messages) == 100

    start = len(cloud.hub.messages)
    publish(broker, messages)
    cloud.hub.wait_for(lambda hub: len(hub.messages) == start + 100)
    cloud.take()

    assert {cloud.bench.current(transfer).state for transfer in transfers} == {"succeeded"}
    kept = cloud.quarantined("raft")
    assert kept.pop(("telemetry", "message.unknown_sender")) == 1
    assert kept.pop((MODULE, "message.unknown_kind")) == 1
    assert {module for module, _ in kept} == {MODULE}
    assert sum(kept.values()) >= 4, kept


def publish(broker: Broker, messages: list[tuple[str, str, bytes, dict[str, str]]]) -> None:
    client = mqtt.Client(client_id="everybody")
    client.max_inflight_messages_set(200)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    waiting = []
    for device, module, body, properties in messages:
        bag = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in properties.items())
        waiting.append(client.publish(f"devices/{device}/modules/{module}/messages/events/{bag}", body, qos=1))
    for one in waiting:
        one.wait_for_publish(20)
    client.disconnect()
    client.loop_stop()
