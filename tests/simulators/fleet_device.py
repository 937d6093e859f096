"""A device of the fleet in memory: takes bundles from its outbox, applies them with the real engine, reports.

It keeps layers and images as dicts. The edge module's own code is tested elsewhere; this one does what that does
as seen from the cloud, and can misbehave on request.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts.messages import Inventory, LastResult, PresentImage, Report, to_json
from contracts.outbox import outbox_container
from imagedelta.archives import sha256_id
from imagedelta.bundles import BundleHead, OpenedBundle, PublicKey, read_bundle
from imagedelta.delta import DEFAULT_PROFILE, AppliedImage, BytesReader, LayerReader, apply_patch
from imagedelta.errors import ContentError, ImageDeltaError, SourceMissing
from services.ports import Blobs
from tests.images import BuiltImage
from triggers.hub_events import HubMessage

PLATFORM = "linux/amd64"


@dataclass(frozen=True)
class Here:
    """An image in the device's store."""

    diff_ids: tuple[str, ...]
    reference: str

    def named(self, image_id: str) -> PresentImage:
        return PresentImage(imageId=image_id, references=[self.reference], localDigest=local_digest(image_id))


def local_digest(image_id: str) -> str:
    """The manifest digest in the device's registry: some digest of its own, the same on every device."""
    return sha256_id(f"manifest of {image_id}".encode())


@dataclass
class FleetDevice:
    device_id: str
    hub: str
    module_id: str
    trusted: dict[str, PublicKey]
    images: dict[str, Here] = field(default_factory=dict)
    layers: dict[str, bytes] = field(default_factory=dict)
    _configs: dict[str, bytes] = field(default_factory=dict)
    installation: str = "disk-1"
    inventories: int = 0
    breaks_with: str | None = None
    """Code with which every bundle fails, e.g. a disk that writes wrong bytes."""
    fetched: list[str] = field(default_factory=list)
    """Names of the bundles that crossed the link, in order."""
    bytes_fetched: int = 0
    results: list[LastResult] = field(default_factory=list)

    def keep(self, built: BuiltImage, reference: str) -> None:
        """Put an image into the device's store, as its maker did."""
        self._add(built.image_id, built.image.diff_ids, reference, built.image.config)
        self.layers |= dict(zip(built.image.diff_ids, built.layers, strict=True))

    def drop(self, image_id: str) -> None:
        """Lose an image and the layers that no other image here has."""
        del self.images[image_id], self._configs[image_id]
        used = {diff_id for image in self.images.values() for diff_id in image.diff_ids}
        self.layers = {diff_id: data for diff_id, data in self.layers.items() if diff_id in used}

    def fetch(self, blobs: Blobs) -> list[HubMessage]:
        """Fetch every new bundle of the outbox, in the order of the names; returns the reports."""
        container = outbox_container(self.device_id)
        reports: list[HubMessage] = []
        for blob in blobs.list(container):
            if blob.name.endswith(".bundle") and blob.name not in self.fetched:
                self.fetched.append(blob.name)
                self.bytes_fetched += blob.size
                reports += self._take(blobs.read(container, blob.name))
        return reports

    def inventory(self, *, results: bool = True) -> HubMessage:
        self.inventories += 1
        inventory = Inventory(
            installationId=self.installation,
            sequence=self.inventories,
            platform=PLATFORM,
            profiles=[DEFAULT_PROFILE.name],
            trustedKeys=sorted(self.trusted),
            freeDiskBytes=10**9,
            images=[image.named(image_id) for image_id, image in self.images.items()],
            results=self.results if results else [],
        )
        return self.message("inventory", inventory.to_wire())

    def message(self, kind: str, body: bytes) -> HubMessage:
        """As the hub delivers it, with its own word on who sent it."""
        system = {
            "iothub-connection-device-id": self.device_id,
            "iothub-connection-module-id": self.module_id,
        }
        return HubMessage(system, {"kind": kind}, body)

    def report(self, head: BundleHead, sequence: int, state: Any, **more: Any) -> HubMessage:
        return self.message("report", to_json(self._report(head, sequence, state, **more)))

    def runs(self, name: str) -> bool:
        """Whether the store holds an image as a manifest names it: ``host/app:2`` or ``host/app@sha256:…``."""
        path, at, digest = name.partition("@")
        if at:
            return any(local_digest(image_id) == digest for image_id in self.images)
        return any(path.endswith(image.reference) for image in self.images.values())

    def _take(self, bundle: bytes) -> list[HubMessage]:
        opened = read_bundle(io.BytesIO(bundle), self.trusted)
        head = opened.head
        steps = [self.report(head, number, state) for number, state in enumerate(("receiving", "received"), 1)]
        result = self._apply(opened, len(steps) + 2)
        self.results.append(LastResult.model_validate(result.model_dump()))
        return [*steps, self.report(head, len(steps) + 1, "applying"), self.message("report", to_json(result))]

    def _apply(self, opened: OpenedBundle, sequence: int) -> Report:
        head = opened.head
        try:
            if self.breaks_with:
                raise ContentError("layer 1 came out wrong", code=self.breaks_with)
            opened.verify_patch_digest()
            image = apply_patch(opened.patch, self._find_layer, self._configs.__getitem__, _Sink(self.layers))
        except SourceMissing as error:
            lost = next(source for source in head.source_image_ids if source not in self.images)
            return self._report(head, sequence, "source_missing", code=error.code, missing_source=lost)
        except ImageDeltaError as error:
            return self._report(head, sequence, "failed", code=error.code, detail=str(error))
        self._keep_rebuilt(image, head)
        return self._report(
            head,
            sequence,
            "succeeded",
            local_digest=local_digest(head.target_image_id),
            bytes_fetched=head.patch_bytes,
            seconds_on_link=1.5,
        )

    def _report(self, head: BundleHead, sequence: int, state: Any, **more: Any) -> Report:
        return Report(
            transferId=head.transfer_id,
            attempt=head.attempt,
            sequence=sequence,
            state=state,
            imageId=head.target_image_id,
            **more,
        )

    def _find_layer(self, diff_id: str) -> LayerReader:
        return BytesReader(self.layers[diff_id])

    def _keep_rebuilt(self, image: AppliedImage, head: BundleHead) -> None:
        if image.image_id != head.target_image_id:
            raise AssertionError(f"{image.image_id} came out of a bundle for {head.target_image_id}")
        self._add(image.image_id, image.diff_ids, head.reference, image.config)

    def _add(self, image_id: str, diff_ids: tuple[str, ...], reference: str, config: bytes) -> None:
        self.images[image_id] = Here(tuple(diff_ids), reference)
        self._configs[image_id] = config


class _Sink:
    """Rebuilt layers into a dict, each once it is whole."""

    def __init__(self, layers: dict[str, bytes]) -> None:
        self._layers = layers
        self._begun: Mapping[str, io.BytesIO] = {}

    def has(self, diff_id: str) -> bool:
        return diff_id in self._layers

    def begin(self, diff_id: str, size: int) -> io.BytesIO:
        self._begun = {diff_id: io.BytesIO()}
        return self._begun[diff_id]

    def commit(self, diff_id: str) -> None:
        self._layers[diff_id] = self._begun[diff_id].getvalue()

    def abort(self, diff_id: str) -> None:
        self._begun = {}
