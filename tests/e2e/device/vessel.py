"""The module as a real process that talks to IoT Hub by MQTT: its folder, its settings, its life and death."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from tests.e2e.parts.broker import Broker
from tests.e2e.parts.children import children
from tests.images import BuiltImage, oci_archive
from tests.unit.edge.world import SEALER, MadeBundle

DEVICE, MODULE = "ship-1", "imagereconstruction"


class Vessel:
    def __init__(self, folder: Path, broker: Broker, **environment: str) -> None:
        self.root = folder / "data"
        self._log = folder / "module.log"
        keys, authority = folder / "keys", folder / "hub.pem"
        keys.mkdir()
        (keys / "fleet.pub").write_text(SEALER.public_key.to_text() + "\n")
        authority.write_text(broker.authority.pem)
        self.environment = {
            **os.environ,
            "IMAGEDELTA_ROOT": str(self.root),
            "IMAGEDELTA_HUB": f"HostName={broker.address};DeviceId={DEVICE};ModuleId={MODULE};SharedAccessKey=a2V5",
            "IMAGEDELTA_HUB_CA": str(authority),
            "IMAGEDELTA_KEYS": str(keys),
            "IMAGEDELTA_PLATFORM": "linux/amd64",
            "IMAGEDELTA_ENGINE": "layout",
            "IMAGEDELTA_RESERVE_BYTES": "0",
            "IMAGEDELTA_STABLE_SECONDS": "0.2",
            "IMAGEDELTA_SILENCE_SECONDS": "8",
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def load(self, image: BuiltImage) -> None:
        archive = self.root.parent / "image.tar"
        archive.write_bytes(oci_archive(image))
        self.command("load", str(archive))

    def command(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "edge_module", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *arguments: str) -> Vessel:
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "edge_module", "run", *arguments]
            self.process = subprocess.Popen(command, env=self.environment, stderr=log, stdout=log)
        return self

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout=30)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def set_clock_back(self) -> None:
        """From the next start on it is 1970 aboard."""
        folder = self.root.parent / "clock"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text("import time\n_now = time.time\ntime.time = lambda: _now() % 86_400\n")
        self.environment["PYTHONPATH"] = str(folder)

    def carry_in(self, bundle: MadeBundle) -> None:
        """Put a bundle into the inbox as another tool does."""
        inbox = self.root / "inbox"
        inbox.mkdir(parents=True, exist_ok=True)
        (inbox / f"{bundle.name}.tmp").write_bytes(bundle.data)
        (inbox / f"{bundle.name}.tmp").rename(inbox / bundle.name)

    def state_of(self, transfer_id: str) -> str | None:
        """What the journal says of a transfer."""
        jobs = [_read(path) for path in (self.root / "journal").glob("*.json")]
        return next((job["state"] for job in jobs if job.get("transfer_id") == transfer_id), None)

    def fetched(self) -> int:
        """Bytes of bundles that are on the way."""
        return sum(_size(path) for path in [*(self.root / "downloads").glob("*.part")])

    def waiting(self) -> int:
        """Messages on the disk that the hub has not acknowledged."""
        return sum(path.suffix == ".json" for path in (self.root / "outbox").iterdir())

    def talkers(self) -> list[psutil.Process]:
        """Processes that talk to the hub for it."""
        return self._children("edge_module.hub_talker")

    def rebuilders(self) -> list[psutil.Process]:
        """Processes that rebuild an image for it."""
        return self._children("rebuild")

    def _children(self, word: str) -> list[psutil.Process]:
        assert self.process is not None
        return children(psutil.Process(self.process.pid), word)

    def log(self) -> str:
        return self._log.read_text(errors="replace")[-6000:]


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError):  # it is being replaced
        return {}
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # it has just become a bundle
        return 0
