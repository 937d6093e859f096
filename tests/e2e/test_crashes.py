"""SIGKILL of host and worker at every boundary of every step: the set completes, and nothing happens twice.

Each run carries one small set from the registration of its image to the mail, over the real host; every boundary of
one step is armed (tests/e2e/crashing_app), and the host is started again whenever it has died.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from activities import STEPS
from activities.publish_batch import publish_batch
from tests.e2e.cloud_process import APP, CloudProcess, manifest_of, order_of
from tests.e2e.host_process import wait_for
from tests.e2e.mortal_cloud import Boat, MortalCloud
from tests.images import BuiltImage, an_image, docker_save

pytestmark = pytest.mark.e2e

CRASHING_APP = Path(__file__).parent / "crashing_app"
DEVICES = {"boat": "north", "ship": "south"}
EFFECTS = {"deliver_step": 4, "read_image": 3}
CALLS = {"attend": ("apply_content", "update_desired")}
"""Blobs, manifests and twins that a run of the step writes: after each one, before SQL knows it, is a boundary."""
OLD = an_image({"app/program": b"old " * 5000}, references=["app:1"])
NEW = an_image({"app/program": b"old " * 5000 + b"new"}, references=["app:2"])


def boundaries(step: str) -> list[str]:
    within = (f"within-{number}" for number in range(1, EFFECTS.get(step, 0) + 1))
    return ["before", *within, *CALLS.get(step, ()), "after"]


class CrashingCloud(MortalCloud):
    """It dies at armed boundaries."""

    def __init__(self, folder: Path) -> None:
        self.crashes = folder / "crashes"
        self.crashes.mkdir()
        super().__init__(
            folder,
            CRASHING_APP,
            CRASH_FOLDER=str(self.crashes),
            CRASH_STATE=str(folder / "state"),
            IMAGEDELTA_PRIORITIES=str(APP / "priorities.yaml"),
        )

    def arm(self, step: str, *boundaries: str) -> None:
        for when in boundaries:
            (self.crashes / f"{step}.{when}").touch()

    @property
    def waiting(self) -> list[str]:
        """Armed boundaries that no step has come to yet."""
        return [path.name for path in self.crashes.iterdir() if not path.name.endswith("-taken")]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state of a cloud that knows the old image, and two devices that have it."""
    cloud = CloudProcess(tmp_path_factory.mktemp("template"))
    try:
        assert cloud.register(docker_save(OLD))["state"] == "registered"
        for device_id, hub in DEVICES.items():
            cloud.device(device_id, hub).has(OLD.image_id)
        assert cloud.host.terminate() == 0
        return cloud.host.state
    finally:
        cloud.stop()


@pytest.fixture
def cloud(template: Path, tmp_path: Path) -> Iterator[CrashingCloud]:
    shutil.copytree(template, tmp_path / "state", symlinks=True)
    cloud = CrashingCloud(tmp_path)
    yield cloud
    cloud.stop()


def register(cloud: CrashingCloud, image: BuiltImage) -> None:
    upload = cloud.upload(docker_save(image))
    headers = {"Idempotency-Key": "the image"}
    accepted = cloud.ask("POST", "/api/images", json={"upload": upload}, headers=headers)
    assert accepted.status_code == 202, accepted.text
    assert cloud.settled(accepted.headers["location"], "registered", "failed")["state"] == "registered"


def order(cloud: CrashingCloud, owner: str) -> str:
    wanted = order_of(*DEVICES, manifest=manifest_of("app:2"), release="set", owner={"name": "Ada", "email": owner})
    accepted = cloud.ask("POST", "/api/deployment-sets", json=wanted, headers={"Idempotency-Key": "the set"})
    assert accepted.status_code == 202, accepted.text
    return str(accepted.headers["location"])


def carry(cloud: CrashingCloud, boats: list[Boat], path: str) -> dict[str, Any]:
    """From the order to the end: the devices rebuild the image, the manifest is set, their modules run."""
    transfers = wait_for(lambda: _all_in_transit(cloud, path), 60, pause=0.1)
    assert [len(cloud.bundles(boat.device_id)) for boat in boats] == [1, 1]
    for boat in boats:
        boat.succeeds(transfers[boat.device_id])
    cloud.settled(path, "released", "completed")
    for boat in boats:
        boat.runs_what_is_desired()
    return cloud.settled(path, "completed", "completed_with_failures", "failed")


def _all_in_transit(cloud: CrashingCloud, path: str) -> dict[str, dict[str, Any]] | None:
    found = cloud.items(f"/api/transfers?set={path.rpartition('/')[2]}&state=in_transit")
    return {each["deviceId"]: each for each in found} if len(found) == len(DEVICES) else None


def whole_job(cloud: CrashingCloud, owner: str) -> list[EmailMessage]:
    """From the image to the mail through every armed boundary; what must hold of all but the mails holds."""
    boats = [Boat(cloud, device_id, hub) for device_id, hub in DEVICES.items()]
    versions = [boat.desired()["$version"] for boat in boats]
    armed = len(list(cloud.crashes.iterdir()))  # struck or not: the timer may have come to one already

    register(cloud, NEW)
    done = carry(cloud, boats, order(cloud, owner))
    cloud.wait_for(lambda: not cloud.waiting)
    cloud.wait_for(lambda: cloud.deaths >= armed)  # a boundary is struck before its death is seen
    cloud.wait_for(lambda: not cloud.rows("select 1 from notifications where state <> 'sent'"))

    assert (done["state"], cloud.deaths) == ("completed", armed)
    assert [boat.desired()["$version"] for boat in boats] == [version + 1 for version in versions]
    assert cloud.rows("select device_id from releases order by device_id") == [("boat",), ("ship",)]
    assert cloud.rows("select state from patches") == [("verified",)]
    assert len(cloud.stored("patches")) == len(["the patch", "its chunk list"])
    assert cloud.rows("select state, attempt from transfers") == [("succeeded", 1)] * 2
    assert len(cloud.rows("select number from bundles")) == len(DEVICES)
    assert all(len(cloud.bundles(device_id)) <= 1 for device_id in DEVICES), "what was rebuilt may be gone"
    return cloud.mail.to(owner)


def told(mail: EmailMessage) -> str:
    return str(mail["Subject"]).removeprefix("a set ")


ALONE = [step.__name__ for step in STEPS if step is not publish_batch]
"""Publishing to two devices is part of ``deliver_step``: only what that leaves is a step of its own."""


@pytest.mark.parametrize("step", ALONE)
def test_a_set_completes_and_nothing_happens_twice_when_the_power_is_cut_around(
    step: str, cloud: CrashingCloud
) -> None:
    cloud.arm(step, *boundaries(step))

    mails = whole_job(cloud, "ada@example.org")

    assert [told(mail) for mail in mails] == ["has arrived on 2 devices", "is complete"]


def test_only_a_mail_whose_mark_was_lost_after_the_server_took_it_goes_out_twice_under_one_message_id(
    cloud: CrashingCloud,
) -> None:
    cloud.arm("attend", "send")

    mails = whole_job(cloud, "ada@example.org")

    assert [told(mail) for mail in mails] == ["has arrived on 2 devices"] * 2 + ["is complete"]
    assert len({mail["Message-ID"] for mail in mails[:2]}) == 1
