"""The HTTP interface under tools that know only its OpenAPI document: an attacker and a generated client."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from string import Template
from types import ModuleType
from typing import Any

import httpx
import pytest

from tests.e2e.cloud_process import CloudProcess
from tests.e2e.host_process import wait_for
from tests.images import BuiltImage, an_image, docker_save

pytestmark = pytest.mark.e2e

TAKES_NAMES = {"POST /api/images", "POST /api/deployment-sets"}
"""Their bodies name uploads, images and devices: made-up ones are refused, so the generated client walks them."""
CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    """A cloud where every list has something in it."""
    process = CloudProcess(tmp_path_factory.mktemp("promises"))
    for version in (1, 2):
        assert process.register(docker_save(app(version)))["state"] == "registered"
    boat = process.device("boat-1")
    boat.has(app(1).image_id)
    boat.say("report", b"not a report")
    process.settled(process.start("boat-1", images=["app:2"]), "in_transit")
    process.settled(process.start("boat-1", images=["app:2"], workstream="other", maxBytes=1), "awaiting_approval")
    yield process
    process.stop()


def app(version: int) -> BuiltImage:
    return an_image({"lib/runtime.so": b"\7" * 5_000}, {"app/version": b"%d" % version}, references=[f"app:{version}"])


def test_no_request_made_from_the_document_is_answered_otherwise_than_it_says(
    cloud: CloudProcess, tmp_path: Path
) -> None:
    sets, transfers = cloud.items("/api/deployment-sets"), cloud.items("/api/transfers")
    known = {"SET_1": sets[0]["setId"], "SET_2": sets[1]["setId"], "TRANSFER": transfers[0]["transferId"]}
    known |= {"IMAGE": app(2).image_id, "DEVICE": "boat-1"}
    known["REGISTRATION"] = cloud.register(docker_save(app(2)))["registrationId"]

    attack = schemathesis(cloud, tmp_path, known)

    assert attack["exit_code"] == 0, json.dumps(attack["failures"], indent=2)[:20_000]
    assert attack["operations"]["selected"] >= 33
    answered = {operation: sum_of(rates) for operation, rates in attack["valid_rates"].items()}
    unreached = {operation for operation, rates in answered.items() if rates["accepted"] + rates["conflicts"] == 0}
    assert unreached <= TAKES_NAMES


def schemathesis(cloud: CloudProcess, folder: Path, known: dict[str, str]) -> dict[str, Any]:
    """The report of one run; ``known`` are ids that the tool is to try."""
    endpoint, config, report = cloud.host.endpoint(), folder / "schemathesis.toml", folder / "report.json"
    config.write_text(Template(CONFIG.read_text()).substitute(known))
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"]
    command += [f"{endpoint['url']}/api/openapi.json", "--header", f"x-functions-key: {endpoint['key']}"]
    command += ["--report", "json", "--report-json-path", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=540)
    assert report.exists(), done.stdout + done.stderr
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def sum_of(rates: dict[str, dict[str, int]]) -> dict[str, int]:
    return {name: sum(phase[name] for phase in rates.values()) for name in ("accepted", "conflicts")}


@pytest.fixture(scope="module")
def generated(cloud: CloudProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the package ``fleet_client``, made by openapi-python-client from the served document."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "openapi.json").write_text(json.dumps(cloud.document))
    (folder / "config.yaml").write_text("post_hooks: []\n")
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--fail-on-warning", "--meta", "none"]
    command += ["--path", "openapi.json", "--config", "config.yaml", "--output-path", "fleet_client"]
    subprocess.run(command, cwd=folder, check=True, timeout=120)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


def test_a_generated_client_walks_a_set_from_the_archive_to_its_end(cloud: CloudProcess, generated: Path) -> None:
    access = {"token": cloud.host.endpoint()["key"], "prefix": "", "auth_header_name": "x-functions-key"}
    with module("client").AuthenticatedClient(cloud.host.url, **access) as client:
        walk(module("models"), client)


def walk(models: Any, client: Any) -> None:
    given = call("uploads.post_uploads", client)
    httpx.put(given.url, headers=given.headers.to_dict(), content=docker_save(app(3))).raise_for_status()
    queued = call("images.post_images", client, body=models.RegisterImageByUpload(given.upload_id, reference="app:3"))
    wait_for(lambda: call("images.get_images_a_registration", client, queued.registration_id).state == "registered")

    device = models.EnrolDevice("north", tags=models.EnrolDeviceTags.from_dict({"site": "a"}))
    call("devices.put_devices_one", client, "boat-9", body=device)
    order = models.StartDeploymentByImages(
        name="by a generated client",
        owner=models.Owner("Ada", "ada@example.org"),
        devices=models.DeviceSelectionByQuery("tags.site = 'a'"),
        images=["app:3"],
    )
    plan = call("deployment_sets.post_sets", client, body=order, dry_run=models.PostSetsDryRun.TRUE)
    assert [planned.device_id for planned in plan.devices] == ["boat-9"]
    started = call("deployment_sets.post_sets", client, body=order, idempotency_key="once")
    assert call("deployment_sets.post_sets", client, body=order, idempotency_key="once").set_id == started.set_id
    shown = call("deployment_sets.get_sets_one", client, started.set_id)
    assert shown.set_id == started.set_id
    members = call("deployment_sets.get_sets_one_members", client, started.set_id)
    assert [member.device_id for member in members.items] == ["boat-9"]
    listed = call("deployment_sets.get_sets", client, limit=1, owner="ada@example.org", workstream="default")
    assert [item.set_id for item in listed.items] == [started.set_id]
    assert call("deployment_sets.post_sets_one_cancel", client, started.set_id).state == "cancelled"
    missing = call("deployment_sets.get_sets_one", client, "set-none")
    assert (missing.status, missing.code) == (404, "request.not_found")


def module(name: str) -> ModuleType:
    return importlib.import_module(f"fleet_client.{name}")


def call(operation: str, client: Any, *path: str, **arguments: Any) -> Any:
    """What the generated function makes of the answer."""
    return module(f"api.{operation}").sync(*path, client=client, **arguments)
