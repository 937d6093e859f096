"""A device of a cloud process whose module is a real process, with the images of its own layout folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.cloud_process import MODULE, CloudProcess
from tests.e2e.host_process import HubClient, hub_key, wait_for
from tests.images import BuiltImage, docker_save


class RealShip:
    """It has one image, and has said so."""

    program: tuple[str, ...] = ("-m", "edge_module")
    """The module, as an argument of Python."""

    def __init__(
        self, cloud: CloudProcess, device_id: str, folder: Path, image: BuiltImage, **environment: str
    ) -> None:
        self.device_id = device_id
        self.log = folder / f"{device_id}.log"
        self._cloud = cloud
        self._hub = HubClient(cloud.host, "north", hub_key(cloud.host.state, "north"))
        key = self._hub.enrol(device_id, MODULE)
        cloud.call("PUT", f"/api/devices/{device_id}", 201, json={"hub": "north"})
        connection = f"HostName={self._hub.base};DeviceId={device_id};ModuleId={MODULE};SharedAccessKey={key}"
        self.environment = {
            **os.environ,
            "IMAGEDELTA_ROOT": str(folder / device_id),
            "IMAGEDELTA_HUB": connection,
            "IMAGEDELTA_KEYS": str(cloud.host.state / "seal.key.pub"),
            "IMAGEDELTA_PLATFORM": "linux/amd64",
            "IMAGEDELTA_POLL_SECONDS": "1",
            "IMAGEDELTA_RESERVE_BYTES": "0",
            **environment,
        }
        archive = folder / f"{device_id}.tar"
        archive.write_bytes(docker_save(image))
        subprocess.run(self._command("load", str(archive)), env=self.environment, check=True, capture_output=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(self._command("run"), env=self.environment, stdout=log, stderr=log)
        wait_for(lambda: cloud.call("GET", f"/api/devices/{device_id}", 200)["state"] == "active", 60, pause=0.2)

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, *self.program, *arguments]

    def desired(self) -> dict[str, Any]:
        twin = self._hub.service("GET", f"/twins/{self.device_id}/modules/{MODULE}").json()
        found: dict[str, Any] = twin["properties"]["desired"]
        return found

    def arrived(self, path: str, seconds: float = 120) -> dict[str, Any]:
        """The device's transfer of the set, once its image is there."""

        def look() -> dict[str, Any] | None:
            for transfer in self._cloud.items(f"/api/transfers?set={path.rpartition('/')[2]}"):
                if transfer["deviceId"] == self.device_id:
                    assert transfer["state"] != "failed", transfer
                    return transfer if transfer["state"] == "succeeded" else None
            return None

        return wait_for(look, seconds, pause=0.3) or {}

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)
