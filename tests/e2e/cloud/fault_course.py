"""A cloud with one dependency behind a link that a test controls; whole jobs go through it, one after the other."""

from __future__ import annotations

import hashlib
import io
import random
import smtplib
import time
import zipfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.outbox import outbox_container
from imagedelta_local.iothub.store import HubStore
from tests.e2e.cloud.faults import BLOBS, HUB, MAIL, Fault, Surroundings, injected
from tests.e2e.cloud_process import APP, manifest_of, order_of
from tests.e2e.host_process import wait_for
from tests.e2e.mortal_cloud import Boat, MortalCloud
from tests.e2e.parts.azurite import ACCOUNT, KEY, Azurite
from tests.e2e.parts.smtp_server import SmtpServer
from tests.images import BuiltImage, an_image, docker_save
from tests.simulators.tcp_proxy import TcpProxy

HASTY_APP = Path(__file__).parents[1] / "hasty_app"
DEVICES = ("boat", "ship")
OLD = an_image({"app/program": b"old " * 5000}, references=["app:old"])
_JOB_SECONDS = 150
_TWINS = "select target from patches group by target, sources_key, profile having count(*) > 1"
NOWHERE = ("127.0.0.1", 9)


@dataclass(frozen=True)
class Outcome:
    """What became of one job, and what is wrong with the world after it."""

    injected: int
    deaths: int
    state: str
    wrong: Sequence[str]
    seconds: float


class FaultCourse:
    """A context manager."""

    def __init__(self, folder: Path, dependency: str, azurite: Azurite) -> None:
        self._stack = ExitStack()
        self._azurite = azurite if dependency == BLOBS else None
        self._mail = SmtpServer()
        self._stack.callback(self._mail.stop)
        self.link = self._stack.enter_context(TcpProxy(NOWHERE))
        self._cloud = _Cloud(folder, self.link, dependency, azurite, self._mail)
        self._stack.callback(self._cloud.stop)
        self._dependency = dependency
        self._jobs = 0

    def __enter__(self) -> FaultCourse:
        self._register(OLD)
        for device_id in DEVICES:
            self._cloud.device(device_id).has(OLD.image_id)
        self._boats = [Boat(self._cloud, device_id, "north") for device_id in DEVICES]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, fault: Fault, *, kill: bool) -> Outcome:
        """One job with the fault at work from its first request to its last mail."""
        self._jobs += 1
        start, deaths = time.monotonic(), self._cloud.deaths
        versions = [boat.desired()["$version"] for boat in self._boats]
        to = Surroundings(self.link, self._mail, self._cloud.host.state / "imagedelta.db", unheard_after(self._mail))
        with injected(fault, to, self._cloud.host.kill if kill else lambda: None):
            done = self._job(self._image())
        wrong = [*self._wrong_at_hubs(versions), *self._wrong_in_sql(), *self._wrong_mails(), *self._half_visible()]
        return Outcome(to.count, self._cloud.deaths - deaths, done, wrong, time.monotonic() - start)

    # One job.

    @property
    def _name(self) -> str:
        return f"app:{self._jobs}"

    @property
    def _owner(self) -> str:
        return f"job{self._jobs}@example.org"

    def _image(self) -> BuiltImage:
        changed = random.Random(f"{self._dependency} {self._jobs}").randbytes(60_000)
        return an_image({"app/program": b"old " * 5000 + changed}, references=[self._name])

    def _job(self, image: BuiltImage) -> str:
        self._register(image)
        path = self._accepted("/api/deployment-sets", self._order())
        transfers = self._cloud.wait_for(lambda: self._all_in_transit(path), _JOB_SECONDS) or {}
        self._see_whole_bundles()
        for boat in self._boats:
            boat.succeeds(transfers[boat.device_id])
        self._cloud.settled(path, "released", "completed", seconds=_JOB_SECONDS)
        for boat in self._boats:
            boat.runs_what_is_desired()
        done = self._cloud.settled(path, "completed", "completed_with_failures", "failed", seconds=_JOB_SECONDS)
        unsent = "select 1 from notifications where state <> 'sent'"
        self._cloud.wait_for(lambda: not self._cloud.rows(unsent), _JOB_SECONDS)
        return str(done["state"])

    def _see_whole_bundles(self) -> None:
        """What a device would fetch now: one bundle, no byte of it wrong, with its chunk list."""
        for device_id in DEVICES:
            stored = self._stored(outbox_container(device_id))
            [bundle] = [name for name in stored if not name.endswith(".chunks")]
            assert f"{bundle}.chunks" in stored, sorted(stored)
            with zipfile.ZipFile(io.BytesIO(stored[bundle])) as parts:
                assert parts.testzip() is None

    def _register(self, image: BuiltImage) -> None:
        upload = self._cloud.surely(lambda: self._cloud.upload(docker_save(image)), _JOB_SECONDS)
        path = self._accepted("/api/images", {"upload": upload})
        done = self._cloud.settled(path, "registered", "failed", seconds=_JOB_SECONDS)
        assert done["state"] == "registered", done

    def _order(self) -> dict[str, Any]:
        owner = {"name": "Ada", "email": self._owner}
        return order_of(*DEVICES, manifest=manifest_of(self._name), owner=owner, name=f"job {self._jobs}")

    def _accepted(self, path: str, body: dict[str, Any]) -> str:
        headers = {"Idempotency-Key": f"job {self._jobs} {path}"}
        accepted = self._cloud.ask("POST", path, json=body, headers=headers)
        assert accepted.status_code == 202, accepted.text
        return str(accepted.headers["location"])

    def _all_in_transit(self, path: str) -> dict[str, dict[str, Any]] | None:
        found = self._cloud.items(f"/api/transfers?set={path.rpartition('/')[2]}&state=in_transit")
        if len(found) < len(DEVICES):
            return None
        return {each["deviceId"]: each for each in found}

    # What must hold afterwards.

    def _wrong_at_hubs(self, versions: Sequence[int]) -> list[str]:
        now = [boat.desired()["$version"] for boat in self._boats]
        wanted = [version + 1 for version in versions]
        return [] if now == wanted else [f"deployments written: {versions} became {now}, not {wanted}"]

    def _wrong_in_sql(self) -> list[str]:
        transfers = self._cloud.rows("select state, attempt from transfers where reference = ?", self._name)
        found = {
            "transfers": (transfers, [("succeeded", 1)] * len(DEVICES)),
            "patches built twice": (self._cloud.rows(_TWINS), []),
            "releases": (self._cloud.rows("select count(*) from releases"), [(self._jobs * len(DEVICES),)]),
            "bundles": (self._cloud.rows("select count(*) from bundles"), [(self._jobs * len(DEVICES),)]),
        }
        return [f"{what}: {got}, not {wanted}" for what, (got, wanted) in found.items() if got != wanted]

    def _wrong_mails(self) -> list[str]:
        """Each once; a repetition, whose first answer was lost, has the same Message-ID and the same words."""
        wait_for(lambda: len(self._mail.to(self._owner)) >= 2)
        found = Counter((str(mail["Message-ID"]), str(mail["Subject"])) for mail in self._mail.to(self._owner))
        subjects = sorted(subject.removeprefix(f"job {self._jobs} ") for _, subject in found)
        return [] if subjects == ["has arrived on 2 devices", "is complete"] else [f"mails: {dict(found)}"]

    def _half_visible(self) -> list[str]:
        """Names say the content of what is addressed by it."""
        wrong = []
        for container in ("layers", "patches"):
            for name, data in self._stored(container).items():
                if len(name) == 64 and hashlib.sha256(data).hexdigest() != name:
                    wrong.append(f"{container}/{name} is not what its name says")
        return wrong

    def _stored(self, container: str) -> dict[str, bytes]:
        if self._azurite is None:
            folder = self._cloud.host.state / "blobs" / container
            names = [path.name for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []
            return {name: (folder / name).read_bytes() for name in names}
        client = self._azurite.service.get_container_client(container)
        if not client.exists():
            return {}
        return {name: client.download_blob(name).readall() for name in client.list_blob_names()}


class _Cloud(MortalCloud):
    checks_answers = False
    look_seconds = 0.3

    def __init__(self, folder: Path, link: TcpProxy, dependency: str, azurite: Azurite, mail: SmtpServer) -> None:
        self._link_to_hub = link if dependency == HUB else None
        settings = {"IMAGEDELTA_PRIORITIES": str(APP / "priorities.yaml"), "IMAGEDELTA_CLAIM_LEASE_SECONDS": "10"}
        if dependency == BLOBS:
            link.target = ("127.0.0.1", azurite.port)
            address = f"http://{link.address}/{ACCOUNT}"
            settings["IMAGEDELTA_STORAGE"] = f"AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={address}"
        elif dependency == MAIL:
            link.target = ("127.0.0.1", mail.port)
            settings["IMAGEDELTA_SMTP_PORT"] = str(link.port)
        elif dependency == HUB:
            (folder / "state").mkdir()
            store = HubStore(folder / "state" / "iothub.sqlite")
            key = store.ensure_hub("north")
            store.close()
            settings["LOCAL_IOTHUB_NORTH_SERVICE"] = (
                f"HostName=http://{link.address}/iothub/north;SharedAccessKeyName=iothubowner;SharedAccessKey={key}"
            )
        super().__init__(folder, HASTY_APP, mail=mail, **settings)
        self._follow()

    def revive(self) -> None:
        super().revive()
        self._follow()

    def _follow(self) -> None:
        """The host's own hub has another port after each start."""
        if self._link_to_hub is not None:
            with suppress(OSError, ValueError):
                self._link_to_hub.target = ("127.0.0.1", int(self.host.url.rpartition(":")[2]))


def unheard_after(server: SmtpServer) -> int:
    """Bytes that a mail server answers until a client has sent a whole message and heard one byte of what it says."""
    taken = b"250 kept\r\n"
    with TcpProxy((server.host, server.port)) as link, smtplib.SMTP("127.0.0.1", link.port) as client:
        client.sendmail("a@example.org", ["nobody@example.org"], "Subject: hello\r\n\r\nhello\r\n")
        time.sleep(0.2)  # what was carried is counted after it has arrived
        return link.carried_down - len(taken) + 1
