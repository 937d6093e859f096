"""From an upload to rebuilt images over an account without shared keys: user-delegation SAS all the way, through cuts.

The host knows the account by its managed identity alone; devices and the uploader know what their SAS says.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from imagedelta_local.hub_service import HubService
from tests.e2e.cloud.blob_accounts import blobs_of, trust
from tests.e2e.cloud_process import CloudProcess
from tests.e2e.host_process import wait_for
from tests.e2e.parts.azurite import ACCOUNT, Azurite
from tests.e2e.parts.certificates import Authority
from tests.e2e.parts.device_process import MODULE, DeviceProcess
from tests.e2e.parts.storage_identity import storage_token
from tests.images import an_image, docker_save
from tests.simulators.managed_identity import managed_identity
from tests.simulators.tcp_proxy import TcpProxy

pytestmark = pytest.mark.e2e
MIB = 1 << 20
CODE = random.Random(31).randbytes(MIB)
OLD = an_image({"app/code": CODE}, references=("azapp:1",))
NEW = an_image({"app/code": CODE}, {"app/more": random.Random(32).randbytes(4 * MIB)}, references=("azapp:2",))
CUT_AFTER = 700_000


@pytest.fixture
def link(azurite: Azurite) -> Iterator[TcpProxy]:
    with TcpProxy(("127.0.0.1", azurite.port)) as link:
        yield link


@pytest.fixture
def cloud(
    link: TcpProxy, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CloudProcess]:
    trust(monkeypatch, authority, tmp_path)
    with managed_identity() as identity:
        identity.tokens["https://storage.azure.com"] = storage_token()
        cloud = CloudProcess(tmp_path, IMAGEDELTA_STORAGE=f"https://{link.address}/{ACCOUNT}", **identity.environment)
        yield cloud
        cloud.stop()


def ships(cloud: CloudProcess, folder: Path, stack: ExitStack) -> dict[str, DeviceProcess]:
    """One that fetches shared bundles, one that does not."""
    hub = stack.enter_context(HubService(cloud.host.endpoint()["hubs"]["north"]))
    found = {}
    for name, shared in (("az-shared", "yes"), ("az-composed", "no")):
        keys = cloud.host.state / "seal.key.pub"
        ship = DeviceProcess(folder / name, hub, name, keys, IMAGEDELTA_SHARED_BUNDLES=shared)
        ship.load(OLD)
        cloud.call("PUT", f"/api/devices/{name}", 201, json={"hub": "north"})
        found[name] = stack.enter_context(ship)
    for name in found:
        wait_for(lambda name=name: cloud.items(f"/api/devices/{name}/images"), 60, pause=0.2)  # type: ignore[misc]
    return found


def transfers(cloud: CloudProcess, path: str) -> dict[str, dict[str, Any]]:
    found = cloud.items(f"/api/transfers?set={path.rpartition('/')[2]}")
    assert "failed" not in {each["state"] for each in found}, found
    return {each["deviceId"]: each for each in found}


def on_their_way(cloud: CloudProcess, path: str) -> list[str]:
    """The cloud has done its part: what is cut from now on is the devices' link."""
    return [name for name, each in transfers(cloud, path).items() if each["state"] not in ("queued", "building")]


def test_both_forms_of_a_bundle_arrive_by_user_delegation_through_a_link_that_is_cut(
    cloud: CloudProcess, azurite: Azurite, link: TcpProxy, tmp_path: Path
) -> None:
    for image in (OLD, NEW):
        assert cloud.register(docker_save(image))["state"] == "registered"
    with ExitStack() as stack:
        aboard = ships(cloud, tmp_path, stack)
        link.bytes_per_second = 2_000_000
        path = cloud.start(*aboard, images=["azapp:2"])
        wait_for(lambda: len(on_their_way(cloud, path)) == len(aboard), 60, pause=0.1)
        link.cut_after = CUT_AFTER
        wait_for(lambda: {each["state"] for each in transfers(cloud, path).values()} == {"succeeded"}, 150, pause=0.3)
        done = transfers(cloud, path)
        hub = stack.enter_context(HubService(cloud.host.endpoint()["hubs"]["north"]))
        twins = {name: hub.twin(name, MODULE).desired for name in aboard}
        assert all(ship.has(NEW) for ship in aboard.values())
    link.cut_after = None

    assert done["az-shared"]["bundle"].endswith(".shared")
    assert done["az-composed"]["bundle"].endswith(".bundle")
    for each in done.values():
        assert each["bundleBytes"] > 4 * MIB
        assert each["bytesFetched"] <= each["bundleBytes"] * 1.02, "no byte came twice"
    assert link.cuts >= 4
    for twin in twins.values():
        fields = parse_qs(twin["outbox"]["query"])
        assert fields.keys() >= {"skoid", "ske", "sig"}
    stored = blobs_of(azurite, by_key=False)
    boxes = [box.name for box in azurite.service.list_containers("outbox-az-")]
    assert len(boxes) == 2
    wait_for(lambda: [info.name for box in boxes for info in stored.list(box)] == [], 30, pause=0.3)
