"""From an uploaded image to a finished set, step by step; what it made is taken away again as far as can be.

It needs nothing of the host but its URL and a key: the same on the embedded host, on Core Tools and in Azure.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from imagedelta_local.hub_service import HubService
from tests.e2e.parts.device_process import DeviceProcess
from tests.images import BuiltImage, an_image, docker_save

_SECONDS = 300
_PAUSE = 0.5
_OWNER = {"name": "make test-host", "email": "test-host@example.org"}
_ENDS = ("completed", "completed_with_failures", "failed", "cancelled")
Tell = Callable[[str], None]


class CheckFailed(Exception):
    """A step did not end as it should; the message says how."""


@dataclass(frozen=True)
class Devices:
    """What is known of devices; nothing is needed."""

    hub: str = ""
    """A hub that the app knows."""
    device: str = ""
    """One that runs, at whatever hub."""
    hub_connection: str = ""
    """Of a local hub."""
    trusted: Path | None = None
    """Public key of the app, for a device that is played."""


class HostCheck:
    def __init__(self, url: str, key: str, devices: Devices, tell: Tell) -> None:
        self._devices = devices
        self._tell = tell
        self._run = secrets.token_hex(4)
        headers = {"x-functions-key": key} if key else {}
        self._web = httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=60)
        self._afterwards = ExitStack()

    def run(self) -> bool:
        """Whether everything that could be tried passed."""
        with self._web:
            try:
                with self._afterwards:
                    self._steps()
            except (CheckFailed, httpx.HTTPError) as error:
                self._tell(f"failed:    {error}")
                return False
        self._tell("All that could be tried has passed.")
        return True

    def _steps(self) -> None:
        self._answers()
        self._lets_nobody_in_without_a_key()
        old, new = self._images()
        for image in (old, new):
            self._registers(image)
        if device := self._device(old):
            self._a_set_goes_through(device, new)
        elif hub := self._hub():
            self._a_set_is_planned_and_cancelled(hub, new)
        else:
            self._skip("planning and all that follows: name a hub (HUB=…) or a device that runs (DEVICE=…)")

    # Steps.

    def _answers(self) -> None:
        found = self._call("GET", "/api/health", 200)
        if found["status"] == "unavailable":
            raise CheckFailed(f"the app is not well: {found['remedies']}")
        self._pass(f"the app answers (version {found['version']}), its database and its blobs do, too")

    def _lets_nobody_in_without_a_key(self) -> None:
        answer = httpx.get(str(self._web.base_url.join("/api/devices")), timeout=60)
        if answer.status_code in (401, 403):
            self._pass("nobody is let in without a key")
        elif answer.is_success:
            self._skip("that a key is needed: this host lets everybody in (Core Tools does)")
        else:
            raise CheckFailed(f"without a key it answers {answer.status_code}")

    def _images(self) -> tuple[BuiltImage, BuiltImage]:
        """Of this run alone: nothing that is there is taken for them."""
        name, code = f"imagedelta-check/{self._run}", secrets.token_bytes(40_000)
        old = an_image({"app/code": code}, references=[f"{name}:1"])
        return old, an_image({"app/code": code[:20_000] + b"changed" + code[20_000:]}, references=[f"{name}:2"])

    def _registers(self, image: BuiltImage) -> None:
        [reference] = image.image.references
        given = self._call("POST", "/api/uploads", 201)
        sent = httpx.request(given["method"], given["url"], headers=given["headers"], content=docker_save(image))
        if sent.status_code != 201:
            raise CheckFailed(f"the upload of {reference} was answered {sent.status_code}")
        self._afterwards.callback(
            self._skip, f"deleting {reference} (40 KB): images stay until nobody wants their layers"
        )
        path = self._accepted("/api/images", {"upload": given["uploadId"]})
        done = self._until(path, "registered", "failed")
        if done["state"] != "registered":
            raise CheckFailed(f"{reference} was not registered: {done}")
        self._pass(f"{reference} is uploaded and registered, {len(docker_save(image)):,} bytes")

    def _device(self, image: BuiltImage) -> str:
        """A device that can rebuild images; "" when there is none."""
        if self._devices.device:
            return self._devices.device
        if not self._devices.hub_connection or self._devices.trusted is None:
            return ""
        device = f"check-{self._run}"
        folder = Path(self._afterwards.enter_context(tempfile.TemporaryDirectory()))
        hub = self._afterwards.enter_context(HubService(self._devices.hub_connection))
        process = DeviceProcess(folder, hub, device, self._devices.trusted)
        process.load(image)
        self._enrol(device, self._devices.hub)
        self._afterwards.enter_context(process)
        self._wait(
            f"{device} to say what it has", lambda: self._call("GET", f"/api/devices/{device}/images", 200)["items"]
        )
        self._pass(f"{device} is enrolled and has told which images it has")
        return device

    def _enrol(self, device: str, hub: str) -> None:
        self._call("PUT", f"/api/devices/{device}", 201, {"hub": hub})
        self._afterwards.callback(self._retire, device)

    def _retire(self, device: str) -> None:
        self._web.post(f"/api/devices/{device}/retire")
        self._tell(f"cleaned:   {device} is retired")

    def _hub(self) -> str:
        known = self._call("GET", "/api/devices", 200)["items"]
        return self._devices.hub or str(known[0]["hub"] if known else "")

    def _a_set_goes_through(self, device: str, image: BuiltImage) -> None:
        [reference] = image.image.references
        path = self._order(device, reference)
        done = self._until(path, *_ENDS)
        if done["state"] != "completed":
            raise CheckFailed(f"the set ended as {done['state']}: {done}")
        whole = done["wholeBytes"]
        self._pass(f"{reference} was built, fetched and rebuilt by {device}: {done['sentBytes']:,} of {whole:,} bytes")
        self._skip(f"that the mail to {_OWNER['email']} has arrived: only its reader knows")

    def _a_set_is_planned_and_cancelled(self, hub: str, image: BuiltImage) -> None:
        device, [reference] = f"check-{self._run}", image.image.references
        self._enrol(device, hub)
        self._pass(f"{device} is enrolled at hub {hub}, which need not know it")
        path = self._order(device, reference)
        self._until(path, "planning", "in_transit", "preparing")
        self._pass("a set is ordered, and waits for what the device has to say")
        self._call("POST", f"{path}/cancel", 200)
        self._until(path, "cancelled")
        self._pass("the set is cancelled")
        self._skip("building, fetching and rebuilding: name a device that runs (DEVICE=…)")

    def _order(self, device: str, reference: str) -> str:
        order = {"name": f"test-host {self._run}", "owner": _OWNER, "devices": {"ids": [device]}, "images": [reference]}
        plan = self._call("POST", "/api/deployment-sets?dryRun=true", 200, order)
        self._pass(f"a plan says what it would cost: {plan['totalBytes']:,} bytes")
        path = self._accepted("/api/deployment-sets", order)
        self._afterwards.callback(self._web.post, f"{path}/cancel")  # refused where there is nothing left to cancel
        return path

    # How a step talks.

    def _accepted(self, path: str, body: dict[str, Any]) -> str:
        headers = {"Idempotency-Key": f"test-host {self._run} {secrets.token_hex(4)}"}
        answer = self._web.post(path, json=body, headers=headers)
        if answer.status_code != 202:
            raise CheckFailed(f"POST {path} was answered {answer.status_code}: {answer.text[:300]}")
        return str(httpx.URL(answer.headers["location"]).raw_path.decode())

    def _call(self, method: str, path: str, status: int, body: dict[str, Any] | None = None) -> Any:
        answer = self._web.request(method, path, json=body)
        if answer.status_code != status:
            raise CheckFailed(f"{method} {path} was answered {answer.status_code}: {answer.text[:300]}")
        return answer.json()

    def _until(self, path: str, *states: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self._call("GET", path, 200)
            return found if found["state"] in states else None

        found: dict[str, Any] = self._wait(f"{path} to be {' or '.join(states)}", look)
        return found

    def _wait(self, what: str, look: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            if found := look():
                return found
            time.sleep(_PAUSE)
        raise CheckFailed(f"waited {_SECONDS} s for {what}")

    def _pass(self, what: str) -> None:
        self._tell(f"passed:    {what}")

    def _skip(self, what: str) -> None:
        self._tell(f"not tried: {what}")
