"""The local stand-ins of a running host: telemetry reaches functions as from IoT Hub, blobs are served as by Azure."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from azure.storage.blob import ContainerClient

from imagedelta.errors import DependencyError, RequestError
from imagedelta_cli.uploading import Sender
from imagedelta_local.blobs.access import sign
from services.hubs.connection import HubConnection
from services.hubs.hub import IotHub
from services.hubs.rest import RestCalls
from services.hubs.transport import HubTransport
from services.identity import Identity
from services.ports import Deployment
from tests.e2e.host_process import APPS, HostProcess, HubClient, hub_key, lines, wait_for

pytestmark = pytest.mark.e2e


def host_in(folder: Path) -> HostProcess:
    return HostProcess(folder / "state", APPS / "everything", LOG=str(folder / "log"), TICK="0 0 0 1 1 *")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    process = host_in(tmp_path_factory.mktemp("hub"))
    yield process.start()
    process.stop()


@pytest.fixture
def hub(host: HostProcess) -> HubClient:
    return HubClient(host, "north", hub_key(host.state, "north"))


def log_of(host: HostProcess) -> Path:
    return Path(host.environment["LOG"])


def test_telemetry_reaches_the_function_with_the_metadata_of_an_iot_hub(host: HostProcess, hub: HubClient) -> None:
    key = hub.enrol("ship-1", "recon")

    sent = hub.send(
        "ship-1",
        "recon",
        key,
        b'{"hello": 1}',
        **{
            "iothub-messageid": "m-1",
            "iothub-contenttype": "application/json",
            "iothub-contentencoding": "utf-8",
            "iothub-app-kind": "report",
            "iothub-connection-device-id": "somebody-else",
        },
    )

    assert sent.status_code == 204
    event = wait_for(lambda: [e for e in lines(log_of(host), "event") if e["body"] == '{"hello": 1}'])[0]
    assert event["properties"] == {"kind": "report"}
    assert event["iothub"]["connection-device-id"] == "ship-1"
    assert event["iothub"]["connection-module-id"] == "recon"
    assert event["iothub"]["message-source"] == "Telemetry"
    assert json.loads(event["iothub"]["connection-auth-method"])["scope"] == "module"
    assert event["iothub"]["connection-auth-generation-id"].isdecimal()
    assert event["system"]["message-id"] == "m-1"
    assert event["system"]["content-type"] == "application/json"
    assert event["system"]["SequenceNumber"] == event["sequence"]
    assert event["partition"]["EventHubName"] == "north"


def test_an_empty_message_does_not_harm_its_batch(host: HostProcess, hub: HubClient) -> None:
    key = hub.enrol("ship-2", "recon")

    hub.send("ship-2", "recon", key, b"")
    hub.send("ship-2", "recon", key, b"after the empty one")

    wait_for(lambda: any(e["body"] == "after the empty one" for e in lines(log_of(host), "event")))


def test_a_batch_that_keeps_failing_is_retried_as_the_policy_says_and_then_given_up(
    host: HostProcess, hub: HubClient
) -> None:
    key = hub.enrol("ship-3", "recon")

    hub.send("ship-3", "recon", key, b"poison")
    wait_for(lambda: sum(e["body"] == "poison" for e in lines(log_of(host), "event")) == 3)
    hub.send("ship-3", "recon", key, b"behind the poison")

    wait_for(lambda: any(e["body"] == "behind the poison" for e in lines(log_of(host), "event")))
    assert sum(e["body"] == "poison" for e in lines(log_of(host), "event")) == 3


def test_no_message_is_lost_when_the_host_is_killed_while_devices_send(tmp_path: Path) -> None:
    host = HostProcess(tmp_path / "state", APPS / "everything", LOG=str(tmp_path / "log"), TICK="0 0 0 1 1 *")
    host.start()
    try:
        client = HubClient(host, "north", hub_key(host.state, "north"))
        key = client.enrol("ship", "recon")
        stored = []
        for round_number in range(3):
            for number in range(20):
                body = f"{round_number}-{number}"
                if client.send("ship", "recon", key, body.encode()).status_code == 204:
                    stored.append(body)
            host.kill()
            host.start()

        wait_for(lambda: {e["body"] for e in lines(tmp_path / "log", "event")} >= set(stored))
        assert len(stored) == 60
    finally:
        host.stop()


def test_a_module_cannot_send_with_the_key_of_another(hub: HubClient) -> None:
    hub.enrol("ship-4", "recon")
    other = hub.enrol("ship-5", "recon")

    assert hub.send("ship-4", "recon", other, b"forged").status_code == 401


def test_a_message_over_256_kib_is_refused(hub: HubClient) -> None:
    key = hub.enrol("ship-6", "recon")

    assert hub.send("ship-6", "recon", key, b"x" * (256 << 10)).status_code == 204
    assert hub.send("ship-6", "recon", key, b"x" * ((256 << 10) + 1)).status_code == 413


def test_the_unmodified_service_sdk_reads_what_it_wrote(host: HostProcess, hub: HubClient) -> None:
    """The SDK insists on https; its protocol layer is pointed at the stand-in's plain address."""
    program = """
import sys
from azure.iot.hub import IoTHubConfigurationManager, IoTHubRegistryManager
from azure.iot.hub.models import ConfigurationContent, Twin, TwinProperties, QuerySpecification
host, key = sys.argv[1:]
connection = f"HostName={host};SharedAccessKeyName=iothubowner;SharedAccessKey={key}"
manager = IoTHubRegistryManager(connection_string=connection)
manager.protocol._client._base_url = manager.protocol.config.base_url = f"http://{host}"
patch = Twin(tags={"fleet": "sdk"}, properties=TwinProperties(desired={"a": 1}))
twin = manager.update_twin("sdk-ship", patch, etag="*")
assert twin.tags == {"fleet": "sdk"} and twin.properties.desired["a"] == 1
found = manager.query_iot_hub(QuerySpecification(query="select * from devices where tags.fleet = 'sdk'"))
assert [item.device_id for item in found.items] == ["sdk-ship"]
edge = IoTHubConfigurationManager(connection_string=connection)
edge.protocol._client._base_url = edge.protocol.config.base_url = f"http://{host}"
desired = {"schemaVersion": "1.1", "modules": {"app": {"settings": {"image": "app:2"}}}}
content = {"$edgeAgent": {"properties.desired": desired}, "$edgeHub": {"properties.desired": {}}}
edge.apply_configuration_on_edge_device("sdk-ship", ConfigurationContent(modules_content=content))
agent = manager.get_module_twin("sdk-ship", "$edgeAgent")
assert agent.properties.desired["modules"] == desired["modules"] and agent.properties.desired["$version"] == 2
assert manager.get_module("sdk-ship", "app").module_id == "app"
print("ok")
"""
    hub.service("PUT", "/devices/sdk-ship", json={"capabilities": {"iotEdge": True}})
    address = hub.base.removeprefix("http://")

    ran = subprocess.run(
        [sys.executable, "-c", program, address, hub_key(host.state, "north")], capture_output=True, text=True
    )

    assert ran.stdout.strip() == "ok", ran.stderr


def test_the_port_reads_many_agents_and_writes_only_on_what_it_read(host: HostProcess, hub: HubClient) -> None:
    names = [f"port-{number}" for number in range(120)]
    for name in names:
        hub.service("PUT", f"/devices/{name}", json={"capabilities": {"iotEdge": True}})
    content = {"$edgeAgent": {"properties.desired": {"modules": {}}}}
    deployment = Deployment("fleet", "deviceId in ['port-1']", 3, content)

    connection = HubConnection.parse(host.endpoint()["hubs"]["north"])

    with httpx.Client(timeout=30) as client:
        transport = HubTransport("north", connection.url, client)
        port = IotHub(RestCalls("north", connection, Identity({}), transport=transport))
        agents = port.agents([*names, "nobody"])
        port.apply_content("port-0", content, on=agents["port-0"].version)
        with pytest.raises(RequestError) as caught:
            port.apply_content("port-0", content, on=agents["port-0"].version)
        port.create_deployment(deployment)
        port.create_deployment(deployment)
        made, given = port.deployments(), port.agents(["port-1"])
        port.delete_deployment("fleet")
        left = port.deployments()

    assert sorted(agents) == sorted(names)
    assert caught.value.code == "hub.changed"
    assert (made, given["port-1"].desired, left) == ([deployment], {"modules": {}}, [])


# Blobs


class Blobs:
    """Requests to the blob storage of a host."""

    def __init__(self, host: HostProcess) -> None:
        self.folder = host.state / "blobs"
        self._url = host.url
        self._key = json.loads((host.state / "keys.json").read_text())["blobs"]

    def request(
        self, method: str, container: str, name: str = "", permissions: str = "rlcw", **options: Any
    ) -> httpx.Response:
        access = self.access(container, permissions)
        path = f"/blobs/{container}" + (f"/{name}" if name else "")
        return httpx.request(method, self._url + path, params={**options.pop("params", {}), **access}, **options)

    def access(self, container: str, permissions: str = "rlcw") -> dict[str, str]:
        expiry = (datetime.now(UTC) + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
        signature = sign(self._key, permissions, expiry, "c", container, "")
        return {"sp": permissions, "se": expiry, "sr": "c", "sig": signature}

    def container_url(self, container: str) -> str:
        return f"{self._url}/blobs/{container}?{urlencode(self.access(container))}"

    def block(
        self, container: str, name: str, block_id: str, content: bytes, permissions: str = "cw"
    ) -> httpx.Response:
        query = {"comp": "block", "blockid": block_id}
        return self.request("PUT", container, name, permissions, params=query, content=content)

    def block_list(self, container: str, name: str, ids: list[str]) -> httpx.Response:
        body = "".join(f"<Latest>{block_id}</Latest>" for block_id in ids)
        query = {"comp": "blocklist"}
        return self.request("PUT", container, name, params=query, content=f"<BlockList>{body}</BlockList>".encode())

    def names(self, container: str) -> list[str | None]:
        query = {"restype": "container", "comp": "list"}
        found = ElementTree.fromstring(self.request("GET", container, params=query).content)
        return [name.text for name in found.iter("Name")]

    def put(self, container: str, name: str, content: bytes, **headers: str) -> httpx.Response:
        return self.request("PUT", container, name, content=content, headers={"x-ms-blob-type": "BlockBlob", **headers})


@pytest.fixture
def blobs(host: HostProcess) -> Blobs:
    return Blobs(host)


def test_a_blob_is_read_in_ranges_while_it_stays_the_same(blobs: Blobs) -> None:
    content = bytes(range(256)) * 5000
    put = blobs.put("outbox", "a/one.zip", content)

    whole = blobs.request("GET", "outbox", "a/one.zip")
    part = blobs.request(
        "GET", "outbox", "a/one.zip", headers={"Range": "bytes=1000-", "If-Match": whole.headers["ETag"]}
    )
    past = blobs.request("GET", "outbox", "a/one.zip", headers={"Range": f"bytes={len(content)}-"})
    head = blobs.request("HEAD", "outbox", "a/one.zip")

    assert put.status_code == 201
    assert (whole.status_code, whole.content) == (200, content)
    assert (part.status_code, part.content) == (206, content[1000:])
    assert part.headers["Content-Range"] == f"bytes 1000-{len(content) - 1}/{len(content)}"
    assert (past.status_code, past.headers["Content-Range"]) == (416, f"bytes */{len(content)}")
    assert (head.headers["Content-Length"], head.headers["ETag"]) == (str(len(content)), put.headers["ETag"])


def test_a_replaced_blob_no_longer_matches_its_etag(blobs: Blobs) -> None:
    before = blobs.put("outbox", "changing", b"one").headers["ETag"]
    blobs.put("outbox", "changing", b"two")

    answer = blobs.request("GET", "outbox", "changing", headers={"If-Match": before})

    assert (answer.status_code, answer.headers["x-ms-error-code"]) == (412, "ConditionNotMet")


def test_a_list_is_paged_in_order_and_hides_temporary_files(blobs: Blobs) -> None:
    for name in ("c", "a", "b/1", "b/2"):
        blobs.put("listed", f"p/{name}", b"x")
    (blobs.folder / "listed" / "p" / "half.tmp").write_bytes(b"")
    (blobs.folder / "listed" / "p" / ".hidden").write_bytes(b"")
    names, marker = [], ""
    for _ in range(4):
        query = {"restype": "container", "comp": "list", "prefix": "p/", "maxresults": "3", "marker": marker}
        page = ElementTree.fromstring(blobs.request("GET", "listed", params=query).content)
        names.append([item.text for item in page.iter("Name")])
        marker = page.findtext("NextMarker") or ""
        if not marker:
            break

    assert names == [["p/a", "p/b/1", "p/b/2"], ["p/c"]]


@pytest.mark.parametrize(
    "name",
    ["../secret", "a/../../secret", "%2e%2e/secret", "..%2Fsecret", "a//b", ".hidden", "x.tmp", "a%00b", "a%5Cb"],
)
def test_a_name_never_leaves_the_folder(host: HostProcess, blobs: Blobs, name: str) -> None:
    (blobs.folder / "secret").write_bytes(b"secret")
    raw = httpx.URL(f"{host.url}/").copy_with(raw_path=f"/blobs/outbox/{name}".encode())

    answer = httpx.get(raw)

    assert answer.status_code in (400, 404)
    assert b"secret" not in answer.content or answer.status_code == 400


def test_an_existing_blob_is_not_replaced_when_only_a_new_one_is_wanted(blobs: Blobs) -> None:
    blobs.put("outbox", "once", b"first")

    again = blobs.put("outbox", "once", b"second", **{"If-None-Match": "*"})

    assert again.status_code == 409
    assert blobs.request("GET", "outbox", "once").content == b"first"


def test_without_the_right_signature_nothing_is_served(host: HostProcess, blobs: Blobs) -> None:
    blobs.put("outbox", "closed", b"x")

    assert httpx.get(f"{host.url}/blobs/outbox/closed").status_code == 403
    assert blobs.request("GET", "outbox", "closed", permissions="l").status_code == 403
    assert blobs.request("PUT", "outbox", "closed", permissions="r", content=b"y").status_code == 403


def test_an_upload_that_breaks_off_leaves_nothing(host: HostProcess, blobs: Blobs) -> None:
    def half() -> Iterator[bytes]:
        yield b"x" * 1000
        raise ConnectionError("the link is gone")

    with pytest.raises(ConnectionError):
        blobs.request(
            "PUT", "cut", "big", content=half(), headers={"x-ms-blob-type": "BlockBlob", "Content-Length": "5000"}
        )
    time.sleep(0.3)

    assert blobs.request("GET", "cut", "big").status_code == 404
    assert list((blobs.folder / "cut").rglob("*")) == []


def test_a_blob_whose_name_is_a_folder_of_another_is_refused_plainly(blobs: Blobs) -> None:
    blobs.put("outbox", "both", b"x")
    blobs.put("outbox", "folder/x", b"x")

    assert blobs.put("outbox", "both/x", b"y").status_code == 409
    assert blobs.put("outbox", "folder", b"y").status_code == 409
    assert blobs.request("GET", "outbox", "folder").status_code == 404


def test_a_blob_is_put_together_of_staged_blocks_in_the_order_of_the_list(blobs: Blobs) -> None:
    ids = [base64.b64encode(name).decode() for name in (b"1", b"2", b"3")]
    for block_id, content in zip(ids, (b"one", b"two", b"three"), strict=True):
        assert blobs.block("staged", "a/big", block_id, content).status_code == 201
    hidden = blobs.request("GET", "staged", "a/big").status_code, blobs.names("staged")
    staged = blobs.request("GET", "staged", "a/big", params={"comp": "blocklist", "blocklisttype": "uncommitted"})

    missing = blobs.block_list("staged", "a/big", [*ids, base64.b64encode(b"4").decode()])
    made = blobs.block_list("staged", "a/big", [ids[2], ids[0], ids[0]])
    again = blobs.block_list("staged", "a/big", ids)

    assert hidden == (404, [])
    assert [found.text for found in ElementTree.fromstring(staged.content).iter("Name")] == ids
    assert (missing.status_code, missing.headers["x-ms-error-code"]) == (400, "InvalidBlockList")
    assert (made.status_code, blobs.request("GET", "staged", "a/big").content) == (201, b"threeoneone")
    assert (again.status_code, blobs.names("staged")) == (400, ["a/big"])
    assert sorted(path.name for path in (blobs.folder / "staged").iterdir()) == ["a"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"<BlockList><Latest>MQ==</Latest>", "InvalidXmlDocument"),
        (b"<BlockList><Committed>MQ==</Committed></BlockList>", "InvalidXmlDocument"),
        (b'<!DOCTYPE x [<!ENTITY a "MQ==">]><BlockList><Latest>&a;</Latest></BlockList>', "InvalidXmlDocument"),
        (b"<BlockList><Latest>../../state</Latest></BlockList>", "InvalidQueryParameterValue"),
        (b"<BlockList><Latest></Latest></BlockList>", "InvalidQueryParameterValue"),
        (b"<BlockList>" + b"<Latest>MQ==</Latest>" * 50_001 + b"</BlockList>", "BlockListTooLong"),
    ],
)
def test_a_block_list_that_is_none_makes_no_blob(blobs: Blobs, body: bytes, code: str) -> None:
    blobs.block("odd", "a", "MQ==", b"1")

    answer = blobs.request("PUT", "odd", "a", params={"comp": "blocklist"}, content=body)

    assert (answer.status_code, answer.headers["x-ms-error-code"]) == (400, code)
    assert blobs.names("odd") == []


@pytest.mark.parametrize("block_id", ["", "?", "..", "a" * 100, "MTI="])
def test_a_block_needs_an_id_of_the_length_of_the_others(blobs: Blobs, block_id: str) -> None:
    blobs.block("ids", "a", "MQ==", b"1")

    assert blobs.block("ids", "a", block_id, b"2").status_code == 400


def test_blocks_are_staged_with_the_right_to_write_alone(blobs: Blobs) -> None:
    assert blobs.block("closed", "a", "MQ==", b"1", permissions="rl").status_code == 403
    blobs.block("closed", "a", "MQ==", b"1")
    query = {"comp": "blocklist"}
    assert blobs.request("GET", "closed", "a", permissions="cw", params=query).status_code == 403
    assert blobs.request("PUT", "closed", "a", permissions="rl", params=query, content=b"").status_code == 403


def test_what_was_staged_outlives_the_host_and_an_abandoned_block_does_not_stay(tmp_path: Path) -> None:
    host = host_in(tmp_path).start()
    try:
        blobs = Blobs(host)
        blobs.block("intake", "kept", "MQ==", b"kept")
        blobs.block("intake", "old", "MQ==", b"old")
        host.kill()
        (old,) = [path.parent for path in blobs.folder.rglob("31") if path.read_bytes() == b"old"]
        os.utime(old, (time.time() - 8 * 86_400,) * 2)
        host.start()

        blobs = Blobs(host)
        assert blobs.block_list("intake", "kept", ["MQ=="]).status_code == 201
        assert blobs.request("GET", "intake", "kept").content == b"kept"
        assert blobs.block_list("intake", "old", ["MQ=="]).status_code == 400
    finally:
        host.stop()


def test_an_archive_in_blocks_goes_on_after_the_host_was_killed(tmp_path: Path) -> None:
    archive, data = tmp_path / "app.tar", os.urandom(3_000_000)
    archive.write_bytes(data)
    host = host_in(tmp_path).start()
    try:
        with httpx.Client() as client, pytest.raises(DependencyError):
            first = Sender(client, upload_to(Blobs(host)), pause=0)
            first.send(archive, lambda done, size: host.kill() if done > size / 2 else None)
        host.start()
        sent = len([path for path in Blobs(host).folder.rglob("*") if path.is_file()])

        with httpx.Client() as client:
            Sender(client, upload_to(Blobs(host)), pause=0).send(archive, lambda done, size: None)

        assert sent >= 15
        assert (Blobs(host).folder / "intake" / "app").read_bytes() == data
    finally:
        host.stop()


def upload_to(blobs: Blobs) -> dict[str, Any]:
    address = blobs.container_url("intake").replace("/intake?", "/intake/app?")
    return {"url": address, "method": "PUT", "headers": {}, "maxBytes": 1 << 30, "blockBytes": 100_000}


def test_the_unmodified_blob_sdk_writes_lists_and_reads(host: HostProcess, blobs: Blobs) -> None:
    """The SDK of Azure, with the query in place of a storage account's SAS."""
    staged = {"max_single_put_size": 1000, "max_block_size": 4000}
    with ContainerClient.from_container_url(blobs.container_url("sdk"), **staged) as container:
        container.upload_blob("b/staged.bin", bytes(10_000), length=10_000)
        assert container.download_blob("b/staged.bin").readall() == bytes(10_000)
        container.upload_blob("a/one.bin", b"0123456789", length=10)
        container.upload_blob("a/two.bin", b"x", length=1)

        assert [blob.name for blob in container.list_blobs(name_starts_with="a/")] == ["a/one.bin", "a/two.bin"]
        assert container.download_blob("a/one.bin", offset=2, length=3).readall() == b"234"
        assert container.download_blob("a/one.bin").readall() == b"0123456789"
        assert container.get_blob_client("a/one.bin").get_blob_properties().size == 10
