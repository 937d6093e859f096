"""A cloud that is killed again and again, and devices that say what they are told to: for tests of the whole job."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx

from contracts.outbox import outbox_container
from demo.edge_agent import reported_properties
from tests.e2e.cloud_process import APP, MODULE, CloudProcess, DeviceStandIn
from tests.e2e.host_process import HubClient, hub_key, wait_for

_T = TypeVar("_T")


class MortalCloud(CloudProcess):
    """A cloud whose host may die at any moment; it is started again, as a service manager does."""

    def __init__(self, folder: Path, app: Path = APP, **options: Any) -> None:
        self.deaths = 0
        super().__init__(folder, app, **{"IMAGEDELTA_CLAIM_LEASE_SECONDS": "1", **options})

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """What may be asked twice; an answer that asks to come back is followed."""

        def once() -> httpx.Response:
            answer = super(MortalCloud, self).ask(method, path, **options)
            if answer.status_code == 503:
                raise OSError(answer.text)
            return answer

        return self.surely(once)

    def upload(self, archive: bytes) -> str:
        """A new upload for each try: the archive itself goes to the storage, past ``ask``."""
        return self.surely(lambda: super(MortalCloud, self).upload(archive))

    def surely(self, do: Callable[[], _T], seconds: float = 60) -> _T:
        """Do something that may be repeated, until a host that lives has answered."""
        deadline = time.monotonic() + seconds
        while True:
            self.revive()
            try:
                return do()
            except (httpx.TransportError, OSError, ValueError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def revive(self) -> None:
        process = self.host.process
        if process is not None and process.poll() is not None:
            self.deaths += 1
            with suppress(AssertionError):  # killed again while it started: the next look starts it again
                self.host.start()

    def wait_for(self, look: Callable[[], _T], seconds: float = 60) -> _T:
        """Look until something true comes back, while the host is kept alive."""

        def alive() -> _T:
            self.revive()
            return look()

        found: _T = wait_for(alive, seconds, pause=self.look_seconds)
        return found

    # What the world has at the end.

    def rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.host.state / "imagedelta.db")) as database:
            return database.execute(query, values).fetchall()

    def bundles(self, device_id: str) -> list[str]:
        return [name for name in self.stored(outbox_container(device_id)) if not name.endswith(".chunks")]

    def stored(self, container: str) -> list[str]:
        """Names of the blobs; hidden files are none (services/blobs/folder.py)."""
        folder = self.host.state / "blobs" / container
        return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


class Boat:
    """A device that reports what it is told to, and its edgeAgent."""

    def __init__(self, cloud: MortalCloud, device_id: str, hub: str) -> None:
        self._cloud = cloud
        self._hub = HubClient(cloud.host, hub, hub_key(cloud.host.state, hub))
        self.device_id = device_id
        self._speaker = DeviceStandIn(cloud, self._hub, device_id, self._key(MODULE))

    def _key(self, module: str) -> str:
        path = f"/devices/{self.device_id}/modules/{module}"
        answer = self._cloud.surely(lambda: self._hub.service("GET", path)).json()
        return str(answer["authentication"]["symmetricKey"]["primaryKey"])

    def succeeds(self, transfer: dict[str, Any]) -> None:
        self._cloud.surely(lambda: self._speaker.reports(transfer, "received", "applying", "succeeded"))

    def desired(self) -> dict[str, Any]:
        path = f"/twins/{self.device_id}/modules/$edgeAgent"
        twin = self._cloud.surely(lambda: self._hub.service("GET", path)).json()
        desired: dict[str, Any] = twin["properties"]["desired"]
        return desired

    def runs_what_is_desired(self) -> None:
        resource = f"/devices/{self.device_id}/modules/$edgeAgent"
        report = reported_properties(self.desired(), lambda image: True)
        key = self._key("$edgeAgent")
        path = f"{resource}/twin/properties/reported"
        answer = self._cloud.surely(lambda: self._hub.device("PATCH", path, key, resource, json=report))
        assert answer.is_success, answer.text
