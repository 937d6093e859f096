"""From a build's push to the last mail: Azure's own worker runs the app, and every service it leans on is real.

Microsoft's Python worker has the real function_app.py (tests/worker/behind), with settings as in Azure. Images come
from a registry that wants a login. Blobs lie in an account that the app enters as its managed identity; what lets a
device in is signed by a user delegation. Azure's own library sets the manifest at a hub behind TLS that has IoT Hub's
limits. Mails leave through a server that wants STARTTLS and a login. The device is the module's own process. What is
not here is SQL Server: the database is SQLite.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.outbox import outbox_container
from imagedelta_local.hub_service import HubService
from imagedelta_local.iothub.store import HubStore
from tests.e2e.archive_tools import skopeo_copy
from tests.e2e.cloud_process import CloudProcess, manifest_of
from tests.e2e.host_process import wait_for
from tests.e2e.parts import registry_logins, smtp_server
from tests.e2e.parts.azurite import Azurite
from tests.e2e.parts.certificates import Authority
from tests.e2e.parts.device_process import REGISTRY, DeviceProcess
from tests.e2e.parts.registry_process import RegistryProcess
from tests.e2e.parts.smtp_server import SmtpServer
from tests.hubs.cloud import HubCloud
from tests.images import BuiltImage, an_image, docker_save
from tests.worker.azure_worker import ROOT

pytestmark = pytest.mark.e2e
BEHIND = ROOT / "tests/worker/behind"
CODE = random.Random(12).randbytes(300_000)
OLD = an_image({"lib": b"library " * 20_000}, {"app/code": CODE}, references=["app:1"])
NEW = an_image({"lib": b"library " * 20_000}, {"app/code": CODE[:-900] + b"changed" * 100}, references=["app:2"])


@pytest.fixture(scope="module")
def hub(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubCloud]:
    folder = tmp_path_factory.mktemp("hub")
    hub = HubCloud(folder, authority.issue(folder, "127.0.0.1"))
    yield hub
    hub.close()


@pytest.fixture(scope="module")
def cloud(
    tmp_path_factory: pytest.TempPathFactory,
    trust: dict[str, str],
    identity: dict[str, str],
    azurite: Azurite,
    registry: RegistryProcess,
    hub: HubCloud,
    smtp: SmtpServer,
) -> Iterator[CloudProcess]:
    folder = tmp_path_factory.mktemp("azure")
    cloud = CloudProcess(
        folder,
        BEHIND,
        mail=smtp,
        **trust,
        **identity,
        **behind_tls(hub, folder / "state"),
        IMAGEDELTA_STORAGE=azurite.url,
        IMAGEDELTA_REGISTRIES="builds",
        IMAGEDELTA_REGISTRY_BUILDS_HOST=registry.address,
        IMAGEDELTA_REGISTRY_BUILDS_USER=registry_logins.USER,
        IMAGEDELTA_REGISTRY_BUILDS_PASSWORD=registry_logins.PASSWORD,
        IMAGEDELTA_SMTP_SECURITY="starttls",
        IMAGEDELTA_SMTP_USER=smtp_server.USER,
        IMAGEDELTA_SMTP_PASSWORD=smtp_server.PASSWORD,
        IMAGEDELTA_MAIL_FROM="fleet@example.org",
    )
    hub.url = f"{cloud.host.url}/iothub/north"
    yield cloud
    cloud.stop()


def behind_tls(hub: HubCloud, state: Path) -> dict[str, str]:
    """The host's hub north, where the device is and events come from, has its service side behind ``hub`` alone."""
    state.mkdir()
    store = HubStore(state / "iothub.sqlite")
    hub.key = store.ensure_hub("north")
    store.close()
    connection = f"HostName={hub.host};SharedAccessKeyName=iothubowner;SharedAccessKey={hub.key}"
    return {"LOCAL_IOTHUB_NORTH_SERVICE": connection}


@pytest.fixture
def device(cloud: CloudProcess, trust: dict[str, str], tmp_path: Path) -> Iterator[DeviceProcess]:
    """A ship that runs app:1; nobody ashore knows it yet."""
    with HubService(cloud.host.endpoint()["hubs"]["north"]) as service:
        ship = DeviceProcess(tmp_path, service, "ship-1", cloud.host.state / "seal.key.pub", **trust)
        ship.load(OLD)
        service.apply_content("ship-1", manifest_of(f"{REGISTRY}/app:1")["modulesContent"])
        with ship:
            yield ship


def push(registry: RegistryProcess, image: BuiltImage, folder: Path) -> str:
    """As a build does; how the registry names the image."""
    archive, [reference] = folder / "image.tar", image.image.references
    archive.write_bytes(docker_save(image))
    name = f"{registry.address}/{reference}"
    login = f"--dest-creds={registry_logins.USER}:{registry_logins.PASSWORD}"
    skopeo_copy(f"docker-archive:{archive}", f"docker://{name}", "--dest-tls-verify=false", login)
    return name


def register(cloud: CloudProcess, name: str) -> str:
    accepted = cloud.ask("POST", "/api/images", json={"registry": name})
    assert accepted.status_code == 202, accepted.text
    return str(cloud.settled(accepted.headers["location"], "registered", "failed")["state"])


def test_a_pushed_image_arrives_aboard_as_a_patch_and_starts_and_its_owner_is_told(
    cloud: CloudProcess,
    device: DeviceProcess,
    registry: RegistryProcess,
    azurite: Azurite,
    hub: HubCloud,
    smtp: SmtpServer,
    tmp_path: Path,
) -> None:
    names = [push(registry, image, tmp_path) for image in (OLD, NEW)]
    assert [register(cloud, name) for name in names] == ["registered", "registered"]
    cloud.call("PUT", "/api/devices/ship-1", 201, json={"hub": "north"})
    wait_for(lambda: cloud.items("/api/devices/ship-1/images"), 60, pause=0.2)

    manifest = manifest_of(names[-1])
    path = cloud.start("ship-1", manifest=manifest, owner={"name": "Ada", "email": "story@example.org"})
    done = cloud.settled(path, "completed", "completed_with_failures", "failed", seconds=120)
    wait_for(lambda: len(smtp.to("story@example.org")) == 2)

    assert done["state"] == "completed", done
    assert device.has(NEW)
    assert device.runs()["app"].startswith(f"{REGISTRY}/app")
    assert done["sentBytes"] < len(docker_save(NEW)) / 20
    assert outboxes(azurite) == [outbox_container("ship-1")]
    assert [subject(mail) for mail in smtp.to("story@example.org")] == ["has arrived on 1 device", "is complete"]
    assert {(mail.login, mail.encrypted) for mail in smtp.received} == {(smtp_server.USER, True)}
    assert {200, 204} & {asked.status for asked in hub.asked}, "the manifest was set at the hub behind TLS"
    assert transfers(cloud, path) == [(names[-1], "succeeded", 1)]


def outboxes(azurite: Azurite) -> list[str]:
    return [container.name for container in azurite.service.list_containers("outbox-ship-1")]


def subject(mail: Any) -> str:
    return str(mail["Subject"]).removeprefix("a set ")


def transfers(cloud: CloudProcess, path: str) -> list[tuple[str, str, int]]:
    found = cloud.items(f"/api/transfers?set={path.rpartition('/')[2]}")
    return [(each["reference"], each["state"], each["attempt"]) for each in found]
