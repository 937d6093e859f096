"""From a build's push to the last mail: Azure's own worker runs the app, and every service it leans on is real.

Microsoft's Python worker has the real function_app.py (tests/worker/behind), with settings as in Azure: blobs lie in an
account that the app enters as its managed identity, mails leave through a server that wants STARTTLS and a login. The
device is the module's own process. What is not here is SQL Server: the database is SQLite.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.outbox import outbox_container
from imagedelta_local.hub_service import HubService
from tests.e2e.cloud_process import CloudProcess, manifest_of
from tests.e2e.host_process import wait_for
from tests.e2e.parts import smtp_server
from tests.e2e.parts.azurite import Azurite
from tests.e2e.parts.device_process import REGISTRY, DeviceProcess
from tests.e2e.parts.smtp_server import SmtpServer
from tests.images import an_image, docker_save
from tests.worker.azure_worker import ROOT

pytestmark = pytest.mark.e2e
BEHIND = ROOT / "tests/worker/behind"
CODE = random.Random(12).randbytes(300_000)
OLD = an_image({"lib": b"library " * 20_000}, {"app/code": CODE}, references=["app:1"])
NEW = an_image({"lib": b"library " * 20_000}, {"app/code": CODE[:-900] + b"changed" * 100}, references=["app:2"])


@pytest.fixture(scope="module")
def cloud(
    tmp_path_factory: pytest.TempPathFactory,
    trust: dict[str, str],
    identity: dict[str, str],
    azurite: Azurite,
    smtp: SmtpServer,
) -> Iterator[CloudProcess]:
    cloud = CloudProcess(
        tmp_path_factory.mktemp("azure"),
        BEHIND,
        mail=smtp,
        **trust,
        **identity,
        IMAGEDELTA_STORAGE=azurite.url,
        IMAGEDELTA_SMTP_SECURITY="starttls",
        IMAGEDELTA_SMTP_USER=smtp_server.USER,
        IMAGEDELTA_SMTP_PASSWORD=smtp_server.PASSWORD,
        IMAGEDELTA_MAIL_FROM="fleet@example.org",
    )
    yield cloud
    cloud.stop()


@pytest.fixture
def device(cloud: CloudProcess, trust: dict[str, str], tmp_path: Path) -> Iterator[DeviceProcess]:
    """A ship that runs app:1; nobody ashore knows it yet."""
    with HubService(cloud.host.endpoint()["hubs"]["north"]) as hub:
        ship = DeviceProcess(tmp_path, hub, "ship-1", cloud.host.state / "seal.key.pub", **trust)
        ship.load(OLD)
        hub.apply_content("ship-1", manifest_of(f"{REGISTRY}/app:1")["modulesContent"])
        with ship:
            yield ship


def test_a_pushed_image_arrives_aboard_as_a_patch_and_starts_and_its_owner_is_told(
    cloud: CloudProcess, device: DeviceProcess, azurite: Azurite, smtp: SmtpServer
) -> None:
    for image in (OLD, NEW):
        assert cloud.register(docker_save(image))["state"] == "registered"
    cloud.call("PUT", "/api/devices/ship-1", 201, json={"hub": "north"})
    wait_for(lambda: cloud.items("/api/devices/ship-1/images"), 60, pause=0.2)

    path = cloud.start("ship-1", manifest=manifest_of("app:2"), owner={"name": "Ada", "email": "story@example.org"})
    done = cloud.settled(path, "completed", "completed_with_failures", "failed", seconds=120)
    wait_for(lambda: len(smtp.to("story@example.org")) == 2)

    assert done["state"] == "completed", done
    assert device.has(NEW)
    assert device.runs()["app"].startswith(f"{REGISTRY}/app")
    assert done["sentBytes"] < len(docker_save(NEW)) / 20
    assert [subject(mail) for mail in smtp.to("story@example.org")] == ["has arrived on 1 device", "is complete"]
    assert {(mail.login, mail.encrypted) for mail in smtp.received} == {(smtp_server.USER, True)}
    assert outboxes(azurite) == [outbox_container("ship-1")]
    assert transfers(cloud, path) == [("app:2", "succeeded", 1)]


def outboxes(azurite: Azurite) -> list[str]:
    return [container.name for container in azurite.service.list_containers("outbox-ship-1")]


def subject(mail: Any) -> str:
    return str(mail["Subject"]).removeprefix("a set ")


def transfers(cloud: CloudProcess, path: str) -> list[tuple[str, str, int]]:
    found = cloud.items(f"/api/transfers?set={path.rpartition('/')[2]}")
    return [(each["reference"], each["state"], each["attempt"]) for each in found]
