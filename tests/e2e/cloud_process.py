"""The project's own function app in the embedded host, called over HTTP; every answer fits the OpenAPI document."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from contracts.messages import Inventory, Report, to_json
from imagedelta.bundles.keys import read_trusted_keys
from imagedelta.delta import DEFAULT_PROFILE
from tests.e2e.host_process import HostProcess, HubClient, hub_key, wait_for
from tests.e2e.parts.smtp_server import SmtpServer
from tests.openapi import check_answer

APP = Path(__file__).parents[2]
MODULE = "imagereconstruction"
_UNLESS_SET = {"IMAGEDELTA_PREPARE_PATCHES": "false"}


class CloudProcess:
    """A host with two hubs, a mail server, and a timer that ticks every second."""

    checks_answers = True
    """Against the OpenAPI document: a tenth of a second each, in the test's own process."""
    look_seconds = 0.1

    def __init__(self, folder: Path, app: Path = APP, *, mail: SmtpServer | None = None, **environment: str) -> None:
        """Args:
        mail: Instead of a server of its own; it is left running.
        """
        self.mail = mail or SmtpServer()
        self._own_mail = mail is None
        self._believed = ssl.create_default_context(cafile=environment.get("SSL_CERT_FILE"))
        self.host = HostProcess(
            folder / "state",
            app,
            **{**_UNLESS_SET, "IMAGEDELTA_SMTP_PORT": str(self.mail.port), **environment},
            LOCAL_IOTHUBS="north,south",
            TIMER_SCHEDULE="* * * * * *",
        ).start()
        self.document = self.call("GET", "/api/openapi.json", 200)

    def stop(self) -> None:
        self.host.stop()
        if self._own_mail:
            self.mail.stop()

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Call an endpoint; the answer is held against the document that this host serves."""
        answer = self.host.request(method, path, **options)
        if method != "HEAD" and self.checks_answers:
            check_answer(method, path, answer.status_code, answer.content, getattr(self, "document", None))
        return answer

    def call(self, method: str, path: str, status: int, **options: Any) -> Any:
        answer = self.ask(method, path, **options)
        assert answer.status_code == status, answer.text
        return answer.json()

    def refused(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        """Status and code of a problem."""
        answer = self.ask(method, path, **options)
        assert answer.headers["content-type"] == "application/problem+json", answer.text
        return answer.status_code, str(answer.json()["code"])

    def items(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("GET", path, 200)["items"]
        return found

    def upload(self, archive: bytes) -> str:
        given = self.call("POST", "/api/uploads", 201)
        options: dict[str, Any] = {"headers": given["headers"], "content": archive, "verify": self._believed}
        sent = httpx.request(given["method"], given["url"], **options)
        assert sent.status_code == 201, sent.text
        return str(given["uploadId"])

    def register(self, archive: bytes, reference: str | None = None) -> dict[str, Any]:
        """Register an archive; the finished registration."""
        order = {"upload": self.upload(archive)} | ({"reference": reference} if reference else {})
        accepted = self.ask("POST", "/api/images", json=order)
        assert accepted.status_code == 202, accepted.text
        return self.settled(accepted.headers["location"], "registered", "failed")

    def settled(self, path: str, *states: str, seconds: float = 60) -> dict[str, Any]:
        """Look at a resource until it is in one of ``states``."""

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.call("GET", path, 200)
            return found if found["state"] in states else None

        settled: dict[str, Any] = wait_for(look, seconds, pause=self.look_seconds)
        return settled

    def device(self, device_id: str, hub: str = "north", **change: Any) -> DeviceStandIn:
        """Create a device in its hub and enrol it."""
        client = HubClient(self.host, hub, hub_key(self.host.state, hub))
        key = client.enrol(device_id, MODULE)
        self.call("PUT", f"/api/devices/{device_id}", 201, json={"hub": hub, **change})
        return DeviceStandIn(self, client, device_id, key)

    def start(self, *devices: str, **order: Any) -> str:
        """Start a set; the path to look at."""
        accepted = self.ask("POST", "/api/deployment-sets", json=order_of(*devices, **order))
        assert accepted.status_code == 202, accepted.text
        return str(accepted.headers["location"])


class DeviceStandIn:
    """A device that says whatever a test wants it to say."""

    def __init__(self, cloud: CloudProcess, hub: HubClient, device_id: str, key: str) -> None:
        self._cloud = cloud
        self._hub = hub
        self.device_id = device_id
        self._key = key
        self._sequence = 0

    def say(self, kind: str, body: bytes) -> None:
        headers = {"iothub-app-kind": kind}
        assert self._hub.send(self.device_id, MODULE, self._key, body, **headers).status_code == 204

    def has(self, *image_ids: str) -> None:
        """Send an inventory and wait until it is believed."""
        self._sequence += 1
        inventory = {
            "installationId": f"installation of {self.device_id}",
            "sequence": self._sequence,
            "platform": "linux/amd64",
            "profiles": [DEFAULT_PROFILE.name, "v1-16m"],
            "trustedKeys": list(self._cloud_keys()),
            "freeDiskBytes": 10**9,
            "images": [{"imageId": image_id} for image_id in image_ids],
        }
        self.say("inventory", Inventory.model_validate(inventory).to_wire())
        wait_for(lambda: self._images() == sorted(image_ids), 30, pause=0.1)

    def reports(self, transfer: dict[str, Any], *states: str, code: str | None = None) -> None:
        for sequence, state in enumerate(states, start=1):
            report = {
                "transferId": transfer["transferId"],
                "attempt": transfer["attempt"],
                "sequence": sequence,
                "state": state,
                "imageId": transfer["imageId"],
                "code": code,
            }
            self.say("report", to_json(Report.model_validate(report)))

    def modules(self) -> dict[str, Any]:
        """The modules that the hub wants on the device."""
        twin = self._hub.service("GET", f"/twins/{self.device_id}/modules/$edgeAgent").json()
        modules: dict[str, Any] = twin["properties"]["desired"]["modules"]
        return modules

    def _images(self) -> list[str]:
        return sorted(item["imageId"] for item in self._cloud.items(f"/api/devices/{self.device_id}/images"))

    def _cloud_keys(self) -> Sequence[str]:
        public = self._cloud.host.state / "seal.key.pub"
        return tuple(read_trusted_keys(public))


def order_of(*devices: str, **change: Any) -> dict[str, Any]:
    return {
        "name": "a set",
        "owner": {"name": "Ada", "email": "ada@example.org"},
        "devices": {"ids": list(devices)},
        **change,
    }


def manifest_of(image: str) -> dict[str, Any]:
    """One module, app, beside the system's own."""

    def module(name: str) -> dict[str, Any]:
        return {"type": "docker", "settings": {"image": name, "createOptions": "{}"}}

    agent = {
        "schemaVersion": "1.1",
        "runtime": {"type": "docker", "settings": {"minDockerVersion": "v1.25"}},
        "systemModules": {"edgeAgent": module("agent:1.5"), "edgeHub": module("hub:1.5")},
        "modules": {"app": {**module(image), "status": "running", "restartPolicy": "always"}},
    }
    hub = {"schemaVersion": "1.1", "routes": {}}
    return {"modulesContent": {"$edgeAgent": {"properties.desired": agent}, "$edgeHub": {"properties.desired": hub}}}
