"""One of ten thousand devices: takes what lies in its outbox and reports, without applying a single byte.

It reads the sealed head of each bundle as the device does; that patches come out right is tested elsewhere. Its
``trouble`` is what goes wrong on it, and the state that its member must end in follows from that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from contracts.messages import Inventory, PresentImage, Report, to_json
from contracts.outbox import outbox_container
from imagedelta.bundles import BundleHead, PublicKey, parse_head
from imagedelta.bundles.bundle import HEAD_BYTES
from imagedelta.delta import DEFAULT_PROFILE
from services.ports import BlobInfo, Blobs
from tests.simulators.fleet_device import PLATFORM, local_digest
from triggers.hub_events import HubMessage

RECON = "imagereconstruction"


class Twice(AssertionError):
    """Something happened a second time that may happen once."""


@dataclass
class FleetBoat:
    device_id: str
    hub: str
    trusted: dict[str, PublicKey]
    images: dict[str, str]
    """image ID -> reference."""
    trouble: str = ""
    installation: str = "disk-1"
    inventories: int = 0
    seen: dict[str, str] = field(default_factory=dict)
    """Bundle -> its ETag when it was first seen in the outbox."""
    done: set[str] = field(default_factory=set)
    numbers: dict[int, str] = field(default_factory=dict)
    held: dict[str, BundleHead] = field(default_factory=dict)
    """Bundles that wait for room on the disk."""
    lost: str | None = None
    bytes_fetched: int = 0

    def sail(self, blobs: Blobs) -> list[HubMessage]:
        """The link is up: every new bundle is fetched; returns what the device says of them.

        Raises: Twice when a bundle that it saw was replaced, or a number was given to two of them.
        """
        messages = []
        for blob in list(blobs.list(outbox_container(self.device_id))):
            if blob.name.endswith(".bundle"):
                self._look_at(blob)
                if blob.name not in self.done:
                    messages += self._take(blobs, blob)
        if messages and not self.held:
            messages.append(self.inventory())
        return messages

    def make_room(self) -> list[HubMessage]:
        """The disk has room again: go on with what waited for it."""
        messages = [message for head in self.held.values() for message in self._apply(head, 3)]
        self.held.clear()
        return [*messages, self.inventory()]

    def be_replaced(self) -> HubMessage:
        """Other hardware with nothing on it takes the device's place."""
        self.images.clear()
        self.seen.clear()
        self.done.clear()
        self.installation, self.inventories = "disk-2", 0
        return self.inventory()

    def inventory(self) -> HubMessage:
        self.inventories += 1
        inventory = Inventory(
            installationId=self.installation,
            sequence=self.inventories,
            platform=PLATFORM,
            profiles=[DEFAULT_PROFILE.name],
            trustedKeys=sorted(self.trusted),
            freeDiskBytes=10**9,
            images=[
                PresentImage(imageId=image_id, references=[reference], localDigest=local_digest(image_id))
                for image_id, reference in self.images.items()
            ],
        )
        return self._message("inventory", inventory.to_wire())

    def runs(self, name: str) -> bool:
        """Whether the device holds an image as a manifest names it: ``host/app:2`` or ``host/app@sha256:…``."""
        path, at, digest = name.partition("@")
        if at:
            return any(local_digest(image_id) == digest for image_id in self.images)
        return any(path.endswith(reference) for reference in self.images.values())

    def _look_at(self, blob: BlobInfo) -> None:
        if self.seen.setdefault(blob.name, blob.etag) != blob.etag:
            raise Twice(f"{self.device_id}: {blob.name} was replaced after it had been seen")

    def _take(self, blobs: Blobs, blob: BlobInfo) -> list[HubMessage]:
        head, _ = parse_head(blobs.read(outbox_container(self.device_id), blob.name, 0, HEAD_BYTES), self.trusted)
        if self.numbers.setdefault(head.number, blob.name) != blob.name:
            raise Twice(f"{self.device_id}: number {head.number} is of {self.numbers[head.number]} and {blob.name}")
        self.done.add(blob.name)
        self.bytes_fetched += blob.size
        messages = [self._report(head, 1, "receiving")]
        if self.trouble == "failing":
            return [*messages, self._report(head, 2, "failed", code="content.digest")]
        if self.trouble == "lost source" and self.lost is None and head.source_image_ids:
            self.lost = head.source_image_ids[0]
            self.images.pop(self.lost, None)
            return [*messages, self._report(head, 2, "source_missing", code="source.missing", missing_source=self.lost)]
        if self.trouble == "full disk":
            self.held[blob.name] = head
            return [*messages, self._report(head, 2, "blocked", code="disk.full")]
        return [*messages, *self._apply(head, 2)]

    def _apply(self, head: BundleHead, sequence: int) -> list[HubMessage]:
        self.images[head.target_image_id] = head.reference
        result = self._report(
            head,
            sequence + 1,
            "succeeded",
            local_digest=local_digest(head.target_image_id),
            bytes_fetched=head.patch_bytes,
            seconds_on_link=1.5,
        )
        return [self._report(head, sequence, "received"), result]

    def _report(self, head: BundleHead, sequence: int, state: Any, **more: Any) -> HubMessage:
        report = Report(
            transferId=head.transfer_id,
            attempt=head.attempt,
            sequence=sequence,
            state=state,
            imageId=head.target_image_id,
            **more,
        )
        return self._message("report", to_json(report))

    def _message(self, kind: str, body: bytes) -> HubMessage:
        system = {"iothub-connection-device-id": self.device_id, "iothub-connection-module-id": RECON}
        return HubMessage(system, {"kind": kind}, body)
