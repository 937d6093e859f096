"""A device: the Image Reconstruction module as a real process on the layout engine, with a stand-in for edgeAgent."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from demo.device_store import holds, stored_images
from demo.edge_agent import EdgeAgent
from imagedelta.names import parse_name
from imagedelta_local.hub_service import HubService
from tests.e2e.process_logs import forget, show_on_failure
from tests.images import BuiltImage, docker_save

MODULE = "imagereconstruction"
REGISTRY = "localhost:5000"


class DeviceProcess:
    """A context manager: the module runs within it; a module whose image is here is reported as running."""

    def __init__(self, folder: Path, hub: HubService, device_id: str, trusted: Path, **environment: str) -> None:
        """Args:
        trusted: The file with the public keys by which bundles are believed.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.device_id = device_id
        self.log = folder / "module.log"
        self._layout = folder / "data" / "images"
        self._environment = {
            **os.environ,
            "IMAGEDELTA_ROOT": str(folder / "data"),
            "IMAGEDELTA_HUB": hub.ensure_module(device_id, MODULE),
            "IMAGEDELTA_KEYS": str(trusted),
            "IMAGEDELTA_ENGINE": "layout",
            "IMAGEDELTA_PLATFORM": "linux/amd64",
            "IMAGEDELTA_POLL_SECONDS": "1",
            "IMAGEDELTA_RESERVE_BYTES": "0",
            "IMAGEDELTA_SILENCE_SECONDS": "10",
            **environment,
        }
        has_image = partial(_is_here, self._layout)
        self._agent = EdgeAgent(hub.module_connection(device_id, "$edgeAgent"), has_image, time.time, poll_seconds=0.5)
        self._hub = hub
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> DeviceProcess:
        self._agent.__enter__()
        show_on_failure(f"device {self.device_id}", self.log)
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "edge_module", "run"]
            self._process = subprocess.Popen(command, env=self._environment, stderr=log, stdout=log)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._agent.__exit__(None, None, None)
        forget(f"device {self.device_id}")

    def load(self, image: BuiltImage) -> None:
        """Before it starts: an image that is there from the beginning."""
        archive = self.log.with_name("image.tar")
        archive.write_bytes(docker_save(image))
        command = [sys.executable, "-m", "edge_module", "load", str(archive)]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

    def has(self, image: BuiltImage) -> bool:
        """Every byte of it, held against its hashes without the device's own code."""
        return holds(self._layout, image.image_id)

    def runs(self) -> dict[str, str]:
        """Image by module, as its manifest wants it now."""
        modules: Mapping[str, Any] = self._hub.twin(self.device_id, "$edgeAgent").desired.get("modules", {})
        return {name: module["settings"]["image"] for name, module in modules.items()}


def _is_here(layout: Path, image: str) -> bool:
    """As the device's registry would answer: by path and digest or tag, whatever host the image once came from."""
    wanted = parse_name(image)
    for stored in stored_images(layout):
        name = parse_name(stored.reference)
        if name.path == wanted.path and (stored.digest == wanted.digest or name.tag == wanted.tag != ""):
            return True
    return False
