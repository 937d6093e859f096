"""One real device process beside a real host: its folder, its hub identity, its outbox container."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from imagedelta.bundles import BundleHead, Ed25519Sealer, chunk_list, compose
from imagedelta.delta.encode import PatchSummary
from imagedelta_local.blobs.access import sign
from tests.e2e.host_process import HostProcess, HubClient, hub_key, lines
from tests.images import BuiltImage

MODULE = "imagereconstruction"
SEALER = Ed25519Sealer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


def sealed_bundle(head: BundleHead, patch: bytes) -> bytes:
    before, after = compose(head, SEALER, zlib.crc32(patch), len(patch))
    return before + patch + after


class Ship:
    def __init__(self, host: HostProcess, device: str, folder: Path, **environment: str) -> None:
        self.device = device
        self.root = folder / device
        self.log = folder / f"{device}.log"
        self._host = host
        self._hub = HubClient(host, "north", hub_key(host.state, "north"))
        self._container = f"outbox-{device}"
        key = self._hub.enrol(device, MODULE)
        keys = folder / f"{device}-keys"
        keys.mkdir()
        (keys / "fleet.pub").write_text(SEALER.public_key.to_text() + "\n")
        self.environment = {
            **os.environ,
            "IMAGEDELTA_ROOT": str(self.root),
            "IMAGEDELTA_HUB": f"HostName={self._hub.base};DeviceId={device};ModuleId={MODULE};SharedAccessKey={key}",
            "IMAGEDELTA_KEYS": str(keys),
            "IMAGEDELTA_PLATFORM": "linux/amd64",
            "IMAGEDELTA_POLL_SECONDS": "1",
            "IMAGEDELTA_RESERVE_BYTES": "0",
            **environment,
        }

    # Ashore.

    def publish(self, patch: bytes, summary: PatchSummary, number: int = 1, **changes: Any) -> str:
        """Put a sealed bundle into the outbox; returns its name."""
        chunks = chunk_list(io.BytesIO(patch))
        fields: dict[str, Any] = {
            "bundle_id": f"bundle-{number}",
            "device_id": self.device,
            "transfer_id": f"transfer-{number}",
            "attempt": 1,
            "number": number,
            "target_image_id": summary.target_image_id,
            "source_image_ids": summary.source_image_ids,
            "platform": "linux/amd64",
            "patch_sha256": summary.sha256,
            "patch_bytes": len(patch),
            "chunks_sha256": hashlib.sha256(chunks).hexdigest(),
            "memory_bytes": summary.memory_bytes,
            "full_bytes": summary.full_bytes,
            "priority": 2,
        }
        head = BundleHead(**{**fields, **changes})
        name = f"2-{number:012d}-{head.transfer_id}-1.bundle"
        self._put(f"{name}.chunks", chunks)
        self._put(name, sealed_bundle(head, patch))
        return name

    def desire(self, **properties: Any) -> None:
        """Write desired properties of the module, the outbox's access among them."""
        outbox = {"url": f"{self._host.url}/blobs/{self._container}", "query": str(httpx.QueryParams(self._access()))}
        desired = {"outbox": outbox | {"renewAfter": "2027-01-01T00:00:00Z"}, **properties}
        path = f"/twins/{self.device}/modules/{MODULE}"
        answer = self._hub.service("PATCH", path, json={"properties": {"desired": desired}})
        assert answer.is_success, answer.text

    def messages(self, kind: str) -> list[dict[str, Any]]:
        """Events of this device that the function got, repetitions included."""
        events = lines(Path(self._host.environment["LOG"]), "event")
        mine = [event for event in events if event["iothub"]["connection-device-id"] == self.device]
        return [event for event in mine if event["properties"].get("kind") == kind]

    def reports(self) -> list[dict[str, Any]]:
        return [json.loads(event["body"]) for event in self.messages("report")]

    def reported(self) -> dict[str, Any]:
        answer = self._hub.service("GET", f"/twins/{self.device}/modules/{MODULE}")
        properties: dict[str, Any] = answer.json()["properties"]["reported"]
        return properties

    # Aboard.

    def load(self, archive: Path) -> None:
        self.command("load", str(archive))

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "edge_module", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "edge_module", "run", *arguments]
            return subprocess.Popen(command, env=self.environment, stderr=log, stdout=log)

    def journal(self) -> dict[str, dict[str, Any]]:
        """Every job by transfer, as the device has it on disk."""
        jobs = [json.loads(path.read_bytes()) for path in (self.root / "journal").glob("transfer-*.json")]
        return {job["transfer_id"]: job for job in jobs}

    def layer(self, diff_id: str) -> Path:
        return self.root / "images/blobs/sha256" / diff_id.removeprefix("sha256:")

    def has_whole(self, image: BuiltImage) -> bool:
        """The image is listed, and every byte of it is right."""
        listed = self.command("images").stdout
        digests = [hashlib.sha256(self.layer(each).read_bytes()).hexdigest() for each in image.image.diff_ids]
        return image.image_id in listed and [f"sha256:{each}" for each in digests] == list(image.image.diff_ids)

    def leftovers(self) -> list[str]:
        folders = ("inbox", "downloads", "scratch", "outbox", "images/ingest")
        return [str(path) for folder in folders for path in (self.root / folder).iterdir()]

    def _access(self, permissions: str = "rlcw") -> dict[str, str]:
        expiry = (datetime.now(UTC) + timedelta(minutes=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
        key = json.loads((self._host.state / "keys.json").read_text())["blobs"]
        signature = sign(key, permissions, expiry, "c", self._container, "")
        return {"sp": permissions, "se": expiry, "sr": "c", "sig": signature}

    def _put(self, name: str, data: bytes) -> None:
        url = f"{self._host.url}/blobs/{self._container}/{name}"
        headers = {"x-ms-blob-type": "BlockBlob"}
        answer = httpx.put(url, params=self._access(), content=data, headers=headers, timeout=60)
        assert answer.is_success, answer.text
