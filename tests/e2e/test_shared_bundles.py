"""Real processes, a cloud and modules behind thin links that are cut: composed and shared bundles all the way."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.link import LinkProfile, LinkRoom, ThinLink
from tests.e2e.cloud_process import CloudProcess
from tests.e2e.host_process import wait_for
from tests.e2e.real_ship import RealShip
from tests.images import an_image, docker_save

pytestmark = pytest.mark.e2e
MIB = 1024 * 1024


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


OLD = an_image({"app/code": noise(MIB, 1)}, references=("app:1",))
NEW = an_image({"app/code": noise(MIB, 1)}, {"app/more": noise(5 * MIB, 2)}, references=("app:2",))


class LinkedShip(RealShip):
    """It is behind a link of its own."""

    def __init__(self, cloud: CloudProcess, device_id: str, folder: Path, link: ThinLink, **environment: str) -> None:
        self.link = link
        proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy"), f"http://127.0.0.1:{link.port}")
        direct = dict.fromkeys(("NO_PROXY", "no_proxy"), "")
        super().__init__(cloud, device_id, folder, OLD, **proxies, **direct, **environment)


@pytest.fixture
def links() -> Iterator[LinkRoom]:
    with LinkRoom() as room:
        yield room


def a_cloud(folder: Path, **environment: str) -> CloudProcess:
    cloud = CloudProcess(folder, **environment)
    for image in (OLD, NEW):
        assert cloud.register(docker_save(image))["state"] == "registered"
    return cloud


def came_once(transfer: dict[str, Any]) -> bool:
    """What comes after a patch is not fetched, its chunk list is: both are a few hundred bytes."""
    return transfer["bundleBytes"] > 5 * MIB and abs(transfer["bytesFetched"] - transfer["bundleBytes"]) < 1024


def test_both_forms_arrive_through_cut_links_and_no_byte_of_them_comes_twice(tmp_path: Path, links: LinkRoom) -> None:
    cloud = a_cloud(tmp_path)
    thin = LinkProfile(2_000_000, 0.01, cut_after_bytes=1_500_000)
    own_way = {"shared": "yes", "composed": "no"}
    ships = {
        form: LinkedShip(cloud, form, tmp_path, links.open(thin, _port(cloud)), IMAGEDELTA_SHARED_BUNDLES=own_way[form])
        for form in own_way
    }
    try:
        path = cloud.start(*ships, images=["app:2"])
        done = {form: ship.arrived(path) for form, ship in ships.items()}
    finally:
        for ship in ships.values():
            ship.stop()
        cloud.stop()

    assert done["shared"]["bundle"].endswith(".shared")
    assert done["composed"]["bundle"].endswith(".bundle")
    for form, transfer in done.items():
        assert came_once(transfer)
        assert len(ships[form].link.traffic.cuts) >= 3


def test_a_grant_that_ends_in_the_middle_is_waited_for_and_the_rest_is_fetched_once(
    tmp_path: Path, links: LinkRoom
) -> None:
    cloud = a_cloud(tmp_path, IMAGEDELTA_PATCH_GRANT_SECONDS="4")
    link = links.open(LinkProfile(500_000, 0.01, cut_after_bytes=700_000), _port(cloud))
    ship = LinkedShip(cloud, "ship", tmp_path, link, IMAGEDELTA_POLL_SECONDS="9")
    try:
        path = cloud.start("ship", images=["app:2"])
        wait_for(lambda: ship.desired().get("patches"), 60, pause=0.1)
        foreign = _opens_anything_else(cloud, ship.desired()["patches"])
        done = ship.arrived(path)
    finally:
        ship.stop()
        cloud.stop()

    assert foreign == []
    assert "(patch.denied)" in ship.log.read_text()
    assert came_once(done)


def _port(cloud: CloudProcess) -> int:
    return int(cloud.host.url.rpartition(":")[2])


def _opens_anything_else(cloud: CloudProcess, patches: dict[str, Any]) -> list[str]:
    """What a device's grant opens besides its own patch; that opens."""
    (grant,) = patches["grants"]
    query = "&".join(part for part in (patches["query"], grant["query"]) if part)
    own = f"{patches['url']}/{grant['patch']}"
    assert httpx.head(f"{own}?{query}").status_code == 200
    others = [f"{own}.chunks?{query}", f"{patches['url']}?restype=container&comp=list&{query}"]
    others += [f"{cloud.host.url}/blobs/layers/{each.removeprefix('sha256:')}?{query}" for each in NEW.image.diff_ids]
    return [url for url in others if httpx.get(url).status_code != 403]
