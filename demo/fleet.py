"""The demo's devices: registered at their hub, behind their link, each a process with a folder of its own."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

from demo.device_store import answers_to
from demo.edge_agent import EdgeAgent
from demo.images import BuiltImage, put_into_layout
from demo.link import LinkRoom, ThinLink
from demo.processes import Process, ProcessRoom
from demo.scenario import MODULE, REGISTRY, Ship, content_before
from demo.workspace import Workspace
from imagedelta_local.hub_service import HubService

LAYOUT = "images"
"""Folder of the OCI layout inside a device's folder."""
_JOURNAL, _DOWNLOADS = "journal", "downloads"


@dataclass(frozen=True)
class Device:
    """One running device."""

    ship: Ship
    folder: Path
    link: ThinLink
    process: Process
    agent_version_before: int
    """``$version`` of $edgeAgent's desired properties before anything was ordered."""

    @property
    def layout(self) -> Path:
        return self.folder / LAYOUT

    def fetched(self, bundle: str) -> int:
        """Bytes of a bundle that have arrived and are kept, whatever becomes of the link."""
        try:
            whole = bundle.rpartition(".")[0]  # what lies in the outbox may be the file of a shared bundle
            return (self.folder / _DOWNLOADS / f"{whole}.bundle.part").stat().st_size
        except FileNotFoundError:
            return 0

    def applying(self) -> list[str]:
        """Image IDs of the bundles it is applying now, as its own journal says."""
        found = []
        for path in sorted((self.folder / _JOURNAL).glob("*.json")):
            try:
                job = json.loads(path.read_bytes())
            except (FileNotFoundError, ValueError):
                continue  # replaced while we looked
            if job.get("state") == "applying":
                found.append(str(job["image_id"]))
        return found


class Fleet:
    """All devices. A context manager; their processes end with the room that holds them."""

    def __init__(
        self,
        room: ProcessRoom,
        links: LinkRoom,
        hubs: Mapping[str, HubService],
        workspace: Workspace,
        cloud_port: int,
        public_keys: Path,
    ) -> None:
        self._room = room
        self._links = links
        self._hubs = hubs
        self._workspace = workspace
        self._cloud_port = cloud_port
        self._public_keys = public_keys
        self._agents = ExitStack()
        self.devices: dict[str, Device] = {}

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._agents.close()

    def add(self, ship: Ship, images: Mapping[str, BuiltImage]) -> Device:
        """Register the device at its hub, give it the images it has, and start it behind its link."""
        hub = self._hubs[ship.hub]
        hub.register_device(ship.device, {"ship": ship.device})
        hub.apply_content(ship.device, content_before())
        folder = self._workspace.device(ship.device)
        for reference in ship.images:
            put_into_layout(images[reference], folder / LAYOUT)
        link = self._links.open(ship.link, self._cloud_port)
        process = self._start(ship, folder, link, hub.module_connection(ship.device, MODULE))
        agent = EdgeAgent(
            hub.module_connection(ship.device, "$edgeAgent"),
            partial(answers_to, folder / LAYOUT, REGISTRY),
            time.time,
            proxy=_url(link),
        )
        self._agents.enter_context(agent)
        version = hub.twin(ship.device, "$edgeAgent").version
        device = Device(ship, folder, link, process, version)
        self.devices[ship.device] = device
        return device

    def _start(self, ship: Ship, folder: Path, link: ThinLink, connection: str) -> Process:
        folder.mkdir(parents=True, exist_ok=True)
        connection_file = folder / "hub.connection"
        connection_file.touch(mode=0o600)
        connection_file.write_text(connection)
        environment = {
            "IMAGEDELTA_ROOT": str(folder),
            "IMAGEDELTA_HUB": str(connection_file),
            "IMAGEDELTA_KEYS": str(self._public_keys),
            "IMAGEDELTA_ENGINE": "layout",
            "IMAGEDELTA_PLATFORM": "linux/amd64",
            "IMAGEDELTA_POLL_SECONDS": "2",
            "IMAGEDELTA_SILENCE_SECONDS": "10",
            "HTTP_PROXY": _url(link),
            "http_proxy": _url(link),
            "NO_PROXY": "",
            "no_proxy": "",
        }
        return self._room.start(ship.device, [sys.executable, "-m", "edge_module", "run"], environment)


def _url(link: ThinLink) -> str:
    return f"http://127.0.0.1:{link.port}"
