"""The whole HTTP interface on the embedded host: the main job, an operator's decisions, and every refusal."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate

from tests.e2e.cloud_process import CloudProcess, order_of
from tests.e2e.host_process import wait_for
from tests.images import BuiltImage, an_image, docker_save, oci_archive

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    process = CloudProcess(tmp_path_factory.mktemp("api"))
    yield process
    process.stop()


def _noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


BASE = {"lib/runtime.so": _noise(1, 200_000)}


def _app(version: int) -> BuiltImage:
    program = bytearray(_noise(2, 100_000))
    program[500:510] = f"version {version:02}".encode()
    return an_image(BASE, {"app/program": bytes(program)}, references=[f"app:{version}"])


@pytest.fixture(scope="module")
def images(cloud: CloudProcess) -> dict[str, str]:
    """app:1 (docker save) and app:2 (OCI archive), registered."""
    first = cloud.register(docker_save(_app(1)))
    second = cloud.register(oci_archive(_app(2)), "app:2")
    assert (first["state"], second["state"]) == ("registered", "registered"), (first, second)
    return {"app:1": first["images"]["linux/amd64"], "app:2": second["images"]["linux/amd64"]}


def test_the_document_is_valid_and_health_is_open(cloud: CloudProcess) -> None:
    validate(cloud.document)

    assert httpx.get(f"{cloud.host.url}/api/health").json()["status"] == "ok"
    assert httpx.get(f"{cloud.host.url}/api/openapi.json").status_code == 200
    assert httpx.get(f"{cloud.host.url}/api/devices").status_code == 401
    page = httpx.get(f"{cloud.host.url}/api/dashboard")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "script-src 'sha256-" in page.headers["content-security-policy"]


def test_registered_images_are_known_by_their_image_id(cloud: CloudProcess, images: dict[str, str]) -> None:
    assert images["app:2"] == _app(2).image_id
    shown = cloud.call("GET", f"/api/images/{images['app:2']}", 200)
    assert (shown["references"], shown["platform"], len(shown["diffIds"])) == (["app:2"], "linux/amd64", 2)
    assert [item["imageId"] for item in cloud.items("/api/images?reference=app:1")] == [images["app:1"]]


def test_registering_the_same_archive_again_changes_nothing(cloud: CloudProcess, images: dict[str, str]) -> None:
    before = cloud.items("/api/images")

    again = cloud.register(docker_save(_app(1)))

    assert again["images"] == {"linux/amd64": images["app:1"]}
    assert cloud.items("/api/images") == before


def test_the_main_job_from_order_to_mail(cloud: CloudProcess, images: dict[str, str]) -> None:
    boat = cloud.device("boat-1", bytesPerSecond=1000, moneyPerMegabyte=2)
    ship = cloud.device("ship-1", hub="south")
    boat.has(images["app:1"])
    ship.has(images["app:2"])
    order = order_of("boat-1", "ship-1", images=["app:2"], owner={"name": "Ada", "email": "main@example.org"})

    plan = cloud.call("POST", "/api/deployment-sets?dryRun=true", 200, json=order)
    assert cloud.items("/api/deployment-sets?owner=main@example.org") == []
    by_device = {device["deviceId"]: device for device in plan["devices"]}
    assert by_device["boat-1"]["images"][0]["source"] == images["app:1"]
    assert by_device["boat-1"]["estimatedBytes"] < 0.2 * by_device["boat-1"]["images"][0]["fullBytes"]
    assert by_device["boat-1"]["hoursOnLink"] > 0
    assert by_device["ship-1"]["images"][0]["alreadyPresent"]
    assert by_device["ship-1"]["estimatedBytes"] == 0

    path = cloud.start("boat-1", "ship-1", images=["app:2"], owner=order["owner"])
    moving = cloud.settled(path, "in_transit")
    assert {member["deviceId"]: member["state"] for member in cloud.items(f"{path}/members")} == {
        "boat-1": "in_transit",
        "ship-1": "ready",
    }
    (transfer,) = cloud.items(f"/api/transfers?set={moving['setId']}&state=in_transit")
    assert (transfer["deviceId"], transfer["sources"]) == ("boat-1", [images["app:1"]])
    assert transfer["bundleBytes"] < 0.2 * transfer["fullBytes"]

    boat.reports(transfer, "receiving", "received", "applying", "succeeded")
    boat.reports(transfer, "receiving", "received", "applying", "succeeded")
    done = cloud.settled(path, "completed")
    assert {member["state"] for member in cloud.items(f"{path}/members")} == {"ready"}
    assert done["transferStages"] == {"succeeded": 1, "already_present": 1}

    wait_for(lambda: cloud.mail.to("main@example.org"))
    events = cloud.items(f"{path}/events?limit=500")
    assert [event["new"] for event in events if event["kind"] == "set"][-1] == "completed"
    history = cloud.items(f"/api/transfers/{transfer['transferId']}/history")
    assert [event["new"] for event in history if event["source"] == "report"] == [
        "receiving",
        "received",
        "applying",
        "succeeded",
    ]
    (patch,) = cloud.items(f"/api/patches?target={images['app:2']}&state=verified")
    assert patch["sources"] == [images["app:1"]]
    series = cloud.call("GET", "/api/transfers/timeseries?bucket=hour", 200)
    assert sum(bucket["succeeded"] for bucket in series["items"]) >= 1
    assert len(cloud.mail.to("main@example.org")) == 1


def test_a_device_that_has_everything_gets_nothing(cloud: CloudProcess, images: dict[str, str]) -> None:
    cloud.device("boat-2").has(images["app:2"])

    done = cloud.settled(cloud.start("boat-2", images=["app:2"]), "completed")

    assert done["plannedBytes"] == 0
    assert cloud.items("/api/transfers?device=boat-2&state=in_transit") == []


def test_a_set_over_its_cost_waits_for_approval(cloud: CloudProcess, images: dict[str, str]) -> None:
    cloud.device("boat-3").has(images["app:1"])

    path = cloud.start("boat-3", images=["app:2"], maxBytes=10)
    cloud.settled(path, "awaiting_approval")
    assert cloud.items("/api/transfers?device=boat-3&state=in_transit") == []

    approved = cloud.call("POST", f"{path}/approve", 202, headers={"X-ImageDelta-User": "grace"})
    assert approved["approvedBy"] == "grace"
    cloud.settled(path, "in_transit")
    cancelled = cloud.call("POST", f"{path}/cancel", 200)
    assert cancelled["state"] == "cancelled"
    wait_for(lambda: cloud.items("/api/transfers?device=boat-3&state=cancelled"))
    assert cloud.items("/api/transfers?device=boat-3&state=in_transit") == []


def test_a_device_that_fails_is_told_to_the_owner_and_may_be_tried_again(
    cloud: CloudProcess, images: dict[str, str]
) -> None:
    boat = cloud.device("boat-4")
    boat.has(images["app:1"])
    owner = {"name": "Ada", "email": "failing@example.org"}
    path = cloud.start("boat-4", images=["app:2"], owner=owner)
    cloud.settled(path, "in_transit")
    (transfer,) = cloud.items("/api/transfers?device=boat-4")

    boat.reports(transfer, "received", "failed", code="content.digest_mismatch")

    failed = cloud.settled(path, "failed")
    (trouble,) = failed["troubles"]
    assert (trouble["state"], trouble["code"], trouble["named"]) == ("failed", "content.digest_mismatch", ["boat-4"])
    (member,) = cloud.items(f"{path}/members?state=failed")
    assert member["remedy"] == trouble["remedy"]
    wait_for(lambda: cloud.mail.to("failing@example.org"))

    cloud.call("POST", f"{path}/members/boat-4/retry", 202)
    cloud.settled(path, "in_transit")
    (again,) = cloud.items("/api/transfers?device=boat-4&state=in_transit")
    assert again["attempt"] == 2
    boat.reports(again, "received", "succeeded")
    cloud.settled(path, "completed")


def test_a_message_that_cannot_be_taken_is_in_quarantine_and_the_next_is_taken(
    cloud: CloudProcess, images: dict[str, str]
) -> None:
    boat = cloud.device("boat-5")

    boat.say("report", b"{")
    boat.say("", b"")
    boat.has(images["app:1"])

    kept = [entry for entry in cloud.items("/api/quarantine") if entry["deviceId"] == "boat-5"]
    assert sorted(entry["reason"] for entry in kept) == ["content.malformed_message", "message.unknown_kind"]


def test_a_retired_device_is_left_out(cloud: CloudProcess, images: dict[str, str]) -> None:
    boat = cloud.device("boat-6")
    boat.has(images["app:1"])
    path = cloud.start("boat-6", images=["app:2"])
    cloud.settled(path, "in_transit")

    assert cloud.call("POST", "/api/devices/boat-6/retire", 200)["state"] == "retired"

    assert cloud.call("GET", path, 200)["memberStates"] == {"excluded": 1}
    refused = cloud.refused("POST", "/api/deployment-sets", json=order_of("boat-6", images=["app:2"]))
    assert refused == (422, "request.retired_device")


@pytest.mark.parametrize(
    ("archive", "code"),
    [
        (b"not an archive", None),
        (docker_save(_app(7))[:50_000], None),
        (docker_save(_app(7)).replace(b"manifest.json", b"manifest.jsom"), None),
    ],
)
def test_a_broken_archive_is_refused_and_leaves_nothing(cloud: CloudProcess, archive: bytes, code: str | None) -> None:
    before = _everything(cloud)

    failed = cloud.register(archive, "broken:1")

    assert failed["state"] == "failed"
    assert failed["code"].startswith("content.")
    assert (failed["images"], bool(failed["remedy"])) == ({}, True)
    assert _everything(cloud) == before


REFUSED: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("POST", "/api/images", {"json": {"upload": "upload-none"}}, 422, "request.unknown_upload"),
    ("POST", "/api/images", {"json": {"blob": "intake/../state"}}, 422, "request.blob_name"),
    ("POST", "/api/images", {"json": {"registry": "example.org/a:1"}}, 422, "request.unknown_registry"),
    ("POST", "/api/images", {"json": {"upload": "a", "oops": 1}}, 400, "request.invalid"),
    ("POST", "/api/images", {"content": b"<xml/>"}, 415, "request.media_type"),
    ("PUT", "/api/devices/new", {"json": {"hub": "nowhere"}}, 422, "request.unknown_hub"),
    ("PUT", "/api/devices/new", {"json": {"hub": "north", "platform": "?"}}, 400, "request.invalid"),
    ("POST", "/api/devices/none/retire", {}, 404, "request.not_found"),
    ("POST", "/api/deployment-sets", {"json": order_of("none", images=["app:2"])}, 422, "request.unknown_device"),
    ("POST", "/api/deployment-sets", {"json": order_of("boat-0", images=["nothing:1"])}, 422, "request.unknown_image"),
    ("POST", "/api/deployment-sets", {"json": order_of("boat-0")}, 400, "request.invalid"),
    (
        "POST",
        "/api/deployment-sets?dryRun=maybe",
        {"json": order_of("boat-0", images=["app:2"])},
        400,
        "request.invalid",
    ),
    ("POST", "/api/deployment-sets/none/cancel", {}, 404, "request.not_found"),
    ("POST", "/api/deployment-sets/none/members/boat-0/retry", {}, 404, "request.not_found"),
    ("GET", "/api/transfers/timeseries?from=2030-01-01", {}, 400, "request.invalid"),
    ("GET", "/api/transfers/timeseries?from=2030-02-01T00:00:00Z&to=2030-01-01T00:00:00Z", {}, 422, "request.invalid"),
    ("GET", "/api/transfers/timeseries?bucket=hour&from=2000-01-01T00:00:00Z", {}, 422, "request.invalid"),
    ("GET", "/api/devices?after=%00", {}, 400, "request.invalid"),
    ("GET", "/api/devices?limit=9999", {}, 400, "request.invalid"),
    ("GET", "/api/devices?colour=red", {}, 400, "request.invalid"),
    ("DELETE", "/api/devices/boat-0", {}, 405, "request.method"),
    ("GET", "/api/dashbored", {}, 404, "request.not_found"),
]


@pytest.mark.parametrize(("method", "path", "options", "status", "code"), REFUSED)
def test_what_cannot_be_is_refused_by_code_and_nothing_is_half_done(
    cloud: CloudProcess, images: dict[str, str], method: str, path: str, options: dict[str, Any], status: int, code: str
) -> None:
    if not any(item["deviceId"] == "boat-0" for item in cloud.items("/api/devices")):
        cloud.device("boat-0")
    before = _everything(cloud)

    assert cloud.refused(method, path, **options) == (status, code)

    assert _everything(cloud) == before


def test_a_manifest_with_an_open_placeholder_or_an_unknown_image_is_refused(
    cloud: CloudProcess, images: dict[str, str]
) -> None:
    if not any(item["deviceId"] == "boat-0" for item in cloud.items("/api/devices")):
        cloud.device("boat-0")
    before = _everything(cloud)

    open_one = order_of("boat-0", manifest=_manifest("${APP_IMAGE}"))
    unknown = order_of("boat-0", manifest=_manifest("example.org/never:1"))

    assert cloud.refused("POST", "/api/deployment-sets", json=open_one) == (422, "request.unresolved_placeholder")
    assert cloud.refused("POST", "/api/deployment-sets", json=unknown) == (422, "request.unknown_image")
    assert _everything(cloud) == before


def test_manifests_are_released_by_order_of_a_pipeline_and_rolled_back(
    cloud: CloudProcess, images: dict[str, str]
) -> None:
    boat = cloud.device("boat-7")
    boat.has(images["app:1"])

    first = cloud.start("boat-7", manifest=_manifest("${APP}"), values={"APP": "app:1"}, release="manual")
    cloud.settled(first, "ready")
    cloud.call("POST", f"{first}/release", 202)
    cloud.settled(first, "released")
    assert boat.modules()["app"]["settings"]["image"] == "localhost:5000/app:1"

    second = cloud.start("boat-7", manifest=_manifest("app:2"), release="manual")
    cloud.settled(second, "in_transit")
    assert cloud.refused("POST", f"{second}/release") == (409, "request.not_ready")
    (transfer,) = cloud.items("/api/transfers?device=boat-7&state=in_transit")
    boat.reports(transfer, "received", "succeeded")
    boat.has(images["app:1"], images["app:2"])
    cloud.settled(second, "ready")
    cloud.call("POST", f"{second}/release", 202)
    released = cloud.settled(second, "released")
    assert [release["deviceId"] for release in cloud.items(f"{second}/releases")] == ["boat-7"]
    assert boat.modules()["app"]["settings"]["image"] == "localhost:5000/app:2"

    answer = cloud.ask("POST", f"{second}/rollback", json={"name": "undo"})
    assert answer.status_code == 202, answer.text
    undone = cloud.settled(answer.headers["location"], "released")
    assert (undone["rollbackOf"], undone["plannedBytes"]) == (released["setId"], 0)
    assert boat.modules()["app"]["settings"]["image"] == "localhost:5000/app:1"


def test_the_command_line_shows_what_the_interface_says(
    cloud: CloudProcess, images: dict[str, str], tmp_path: Path
) -> None:
    archive = tmp_path / "app.tar"
    archive.write_bytes(docker_save(_app(3)))

    registered = _run(cloud, "register", str(archive), "--reference", "app:3")
    enrolled = _run(cloud, "devices", "enrol", "cli-1", "--hub", "north", "--tag", "site=a")
    listed = _run(cloud, "devices", "list", "--tag", "site=a")
    plan = _run(cloud, "plan", *_order_options("cli-1"))
    started = _run(cloud, "deploy", *_order_options("cli-1"))
    shown = _run(cloud, "status", started["setId"])
    members = _run(cloud, "sets", "members", started["setId"])
    cancelled = _run(cloud, "cancel", started["setId"], "--yes")

    assert registered["images"] == {"linux/amd64": _app(3).image_id}
    assert [item["deviceId"] for item in listed["items"]] == [enrolled["deviceId"]]
    assert [device["state"] for device in plan["devices"]] == ["waiting_inventory"]
    assert (shown["setId"], [member["deviceId"] for member in members["items"]]) == (started["setId"], ["cli-1"])
    assert cancelled["state"] == "cancelled"
    assert _run(cloud, "transfers", "list", "--device", "cli-1") == {"items": []}
    assert _run(cloud, "logs", started["setId"])["items"]


def test_a_build_that_would_cost_the_fleet_too_much_is_stopped(cloud: CloudProcess, images: dict[str, str]) -> None:
    cloud.device("gate-1").has(images["app:1"])

    within = _run(cloud, "advise", "--fleet", "app:2", "--max-bytes", "50000")
    over = _cli(cloud, "advise", "--fleet", "app:2", "--max-bytes", "10", "--json")

    (version,) = within["versions"]
    assert (version["reference"], version["imageId"], within["overLimit"]) == ("app:1", images["app:1"], False)
    assert version["devices"] >= 1
    assert 10 < within["dearestBytes"] < 0.2 * version["fullBytes"]
    assert (over.returncode, json.loads(over.stdout)["overLimit"]) == (8, True)
    assert json.loads(over.stderr)["error"]["code"] == "cli.over_limit"


def test_the_command_line_prints_tables_and_plain_errors(cloud: CloudProcess, images: dict[str, str]) -> None:
    table = _cli(cloud, "images", "list", "--reference", "app:2")
    refused = _cli(cloud, "status", "set-none")
    waited = _cli(cloud, "status", "set-none", "--watch", "--timeout", "1")

    assert table.returncode == 0
    assert images["app:2"][7:19] in table.stdout
    assert (refused.returncode, waited.returncode) == (1, 1)
    assert refused.stderr.splitlines()[0] == "Error: there is no deployment set set-none"
    assert "code: request.not_found" in refused.stderr
    assert "Traceback" not in refused.stderr


def _order_options(device_id: str) -> list[str]:
    return [
        *("--name", "from the shell", "--owner", "Ada", "--email", "ada@example.org"),
        *("--image", "app:2", "--device", device_id),
    ]


def _cli(cloud: CloudProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    address = ["--url", cloud.host.url, "--key", cloud.host.endpoint()["key"]]
    command = [sys.executable, "-m", "imagedelta_cli.main", *arguments, *address]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def _run(cloud: CloudProcess, *arguments: str) -> dict[str, Any]:
    done = _cli(cloud, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _everything(cloud: CloudProcess) -> dict[str, Any]:
    """What a refused request must leave as it was: rows, blobs, the audit log."""
    blobs = cloud.host.state / "blobs"
    kept = sorted(str(path.relative_to(blobs)) for path in blobs.rglob("*") if path.is_file())
    return {
        "images": cloud.items("/api/images?limit=500"),
        "devices": [item["deviceId"] for item in cloud.items("/api/devices?limit=500")],
        "sets": [item["setId"] for item in cloud.items("/api/deployment-sets?limit=500")],
        "transfers": [item["transferId"] for item in cloud.items("/api/transfers?limit=500")],
        "blobs": [name for name in kept if not name.startswith(("intake/", "outbox-"))],  # the sweep empties these
    }


def _manifest(image: str) -> dict[str, Any]:
    def module(name: str) -> dict[str, Any]:
        return {"type": "docker", "settings": {"image": name, "createOptions": "{}"}}

    agent = {
        "schemaVersion": "1.1",
        "runtime": {"type": "docker", "settings": {"minDockerVersion": "v1.25"}},
        "systemModules": {
            "edgeAgent": module("mcr.microsoft.com/azureiotedge-agent:1.5"),
            "edgeHub": module("mcr.microsoft.com/azureiotedge-hub:1.5"),
        },
        "modules": {"app": {**module(image), "status": "running", "restartPolicy": "always"}},
    }
    return {
        "modulesContent": {
            "$edgeAgent": {"properties.desired": agent},
            "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {}}},
        }
    }


def test_an_order_answered_just_before_the_host_was_killed_is_carried_out(
    cloud: CloudProcess, images: dict[str, str]
) -> None:
    """Last in the file: it restarts the host that the others use."""
    cloud.device("boat-9").has(images["app:1"])
    headers = {"Idempotency-Key": "before the cut"}
    order = order_of("boat-9", images=["app:2"])
    registration = cloud.ask("POST", "/api/images", json={"upload": cloud.upload(docker_save(_app(9)))})

    started = cloud.ask("POST", "/api/deployment-sets", json=order, headers=headers)
    cloud.host.kill()
    cloud.host.start()
    again = cloud.ask("POST", "/api/deployment-sets", json=order, headers=headers)

    assert (again.status_code, again.json()["setId"]) == (202, started.json()["setId"])
    assert again.headers["idempotency-replayed"] == "true"
    cloud.settled(started.headers["location"], "in_transit")
    assert len(cloud.items("/api/transfers?device=boat-9")) == 1
    assert cloud.settled(registration.headers["location"], "registered", "failed")["state"] == "registered"
