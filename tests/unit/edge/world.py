"""A device in memory: real module, simulated disk, hub and outbox; images and bundles to play with."""

from __future__ import annotations

import hashlib
import io
import random
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_module.damage import DamageLog
from edge_module.device import Device
from edge_module.engines import PresentImage
from edge_module.engines.layout import LayoutEngine
from edge_module.loading import load_archive
from edge_module.ports import Ports
from edge_module.rebuild import Rebuilder
from edge_module.rebuilds import Rebuilds, RebuildTask
from edge_module.refused import RefusedFiles
from edge_module.settings import Settings
from imagedelta.bundles import BundleHead, Ed25519Sealer, Sealer, chunk_list, compose, share
from services.blobs.http import BlobContainer
from tests.images import BuiltImage, an_image, oci_archive
from tests.simulators.files import FileSystemSimulator
from tests.simulators.hub_device import HubSimulator
from tests.simulators.outbox_http import PATCHES_URL, QUERY, URL, OutboxSimulator
from tests.unit.delta.patches import a_patch

SEALER = Ed25519Sealer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
STRANGER = Ed25519Sealer(Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
TRUSTED = {SEALER.key_id: SEALER.public_key}
CHUNK = 16 * 1024
WALL_CLOCK = 1_790_000_000.0
MIB = 1024 * 1024


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


BASE = {"lib/base": noise(30_000, 1)}
APP_1 = an_image(BASE, {"app/code": noise(60_000, 2), "app/version": b"1"}, references=("app:1",))
APP_2 = an_image(
    BASE,
    {"app/code": noise(60_000, 2)[:30_000] + noise(25_000, 3), "app/version": b"2", "new": noise(70_000, 4)},
    {"etc/settings": noise(20_000, 5)},
    references=("app:2",),
)
OTHER = an_image({"other": noise(20_000, 6)}, references=("other:1",))


@cache
def patch_of(target: int, *sources: int) -> tuple[bytes, int]:
    images = {1: APP_1, 2: APP_2, 3: OTHER}
    with tempfile.TemporaryDirectory() as scratch:
        patch, summary = a_patch(images[target], *(images[each] for each in sources), scratch=Path(scratch))
    return patch, summary.memory_bytes


@dataclass(frozen=True)
class MadeBundle:
    head: BundleHead
    data: bytes
    chunks: bytes
    before: bytes
    patch: bytes

    @property
    def name(self) -> str:
        head = self.head
        return f"{head.priority or 2}-{head.number:012d}-{head.transfer_id}-{head.attempt}.bundle"

    @property
    def paid_bytes(self) -> int:
        """Of the composed bundle, what has to cross the link: what is after the patch follows from what is before."""
        return len(self.before) + len(self.patch)


def make_bundle(sealer: Sealer | None = SEALER, patch: bytes | None = None, **changes: Any) -> MadeBundle:
    """The bundle that brings app:2 to a device that has app:1, unless ``changes`` say otherwise."""
    real, memory = patch_of(2, 1)
    patch = real if patch is None else patch
    chunk_bytes = changes.get("chunk_bytes", CHUNK)
    chunks = chunk_list(io.BytesIO(patch), chunk_bytes)
    fields: dict[str, Any] = {
        "bundle_id": "bundle-1",
        "device_id": "ship-1",
        "transfer_id": "transfer-1",
        "attempt": 1,
        "number": 7,
        "floor": 1,
        "target_image_id": APP_2.image_id,
        "source_image_ids": (APP_1.image_id,),
        "reference": "app:2",
        "platform": "linux/amd64",
        "patch_sha256": hashlib.sha256(patch).hexdigest(),
        "patch_bytes": len(patch),
        "chunk_bytes": chunk_bytes,
        "chunks_sha256": hashlib.sha256(chunks).hexdigest(),
        "memory_bytes": memory,
        "full_bytes": 210_000,
        "priority": 2,
    }
    head = BundleHead(**{**fields, **changes})
    before, after = compose(head, sealer, zlib.crc32(patch), len(patch))
    return MadeBundle(head, before + patch + after, chunks, before, patch)


class OddRebuilds:
    """Stands for a child process in which something else happens than a rebuild."""

    def __init__(self, happens: Callable[..., PresentImage | None], stop: Callable[[], None]) -> None:
        self._happens = happens
        self.stop = stop
        self.begun = 0

    def rebuild(self, task: RebuildTask, begun: Callable[[], None]) -> PresentImage:
        self.begun += 1
        image = self._happens(task, begun)
        assert image is not None
        return image


class Clock:
    """Monotonic seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class World:
    """One ship with its disk, and what is ashore. ``boot`` starts the module on the disk as it is."""

    def __init__(self, *images: BuiltImage, keep_disk: FileSystemSimulator | None = None) -> None:
        self.disk = keep_disk or FileSystemSimulator()
        self.hub = HubSimulator()
        self.outbox = OutboxSimulator()
        self.clock = Clock()
        self.hub.desired_now = {"outbox": {"url": URL, "query": QUERY, "renewAfter": "2027-01-01T00:00:00Z"}}
        self.settings = Settings(
            root=Path("/unused"),
            engine="layout",
            platforms=("linux/amd64",),
            memory_bytes=128 * MIB,
            reserve_bytes=0,
            poll_seconds=None,
            stable_seconds=5.0,
            incomplete_seconds=3600.0,
            silence_seconds=60.0,
            remove_images=False,
            shared_bundles=True,
        )
        self.trusted = dict(TRUSTED)
        self.cuts = 0
        self.wall_clock: float = WALL_CLOCK
        self._rebuilds: Rebuilds | None = None
        for image in images:
            self.load(image)

    def rebuild_with(
        self, happens: Callable[..., PresentImage | None], stop: Callable[[], None] = lambda: None
    ) -> OddRebuilds:
        """From the next boot on, ``happens`` is called instead of a rebuild, with its arguments."""
        self._rebuilds = odd = OddRebuilds(happens, stop)
        return odd

    def rebuilder(self, engine: LayoutEngine) -> Rebuilder:
        return Rebuilder(self.disk, engine, RefusedFiles(self.disk), self.settings.reserve_bytes)

    def rebuild_really(self) -> None:
        self._rebuilds = None

    def load(self, image: BuiltImage) -> None:
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder, "image.tar")
            archive.write_bytes(oci_archive(image))
            load_archive(archive, self.engine())

    def engine(self, damage: DamageLog | None = None) -> LayoutEngine:
        return LayoutEngine(self.disk, new_id=lambda: "installation-1", damage=damage)

    def publish(self, bundle: MadeBundle, name: str | None = None) -> None:
        name = name or bundle.name
        self.outbox.put(f"{name}.chunks", bundle.chunks)
        self.outbox.put(name, bundle.data)

    def share(self, bundle: MadeBundle, query: str = "sp=r&sig=1", *, granted: bool = True) -> str:
        """Put the file of the shared bundle into the outbox, and its patch where many devices read it."""
        name = bundle.name.removesuffix(".bundle") + ".shared"
        self.outbox.put(bundle.head.patch_sha256, bundle.patch)
        self.outbox.opened_by[bundle.head.patch_sha256] = query
        self.outbox.put(name, share(bundle.before, bundle.chunks))
        if granted:
            self.grant(bundle, query)
        return name

    def grant(self, bundle: MadeBundle, query: str) -> None:
        """Write the grant into the twin; what all grants have in common is written once."""
        common, _, own = query.rpartition("&")
        grants = self.hub.desired_now.get("patches", {}).get("grants", [])
        kept = [each for each in grants if each["patch"] != bundle.head.patch_sha256]
        grants = [*kept, {"patch": bundle.head.patch_sha256, "query": own}]
        self.hub.desired_now["patches"] = {"url": PATCHES_URL, "query": common, "grants": grants}

    def drop_into_inbox(self, bundle: MadeBundle, name: str | None = None, *, chunks: bool = False) -> None:
        """As a foreign tool does, in one go; ``chunks``: with the chunk list from beside it."""
        self.disk.make_folders("inbox")
        self.disk.put(f"inbox/{name or bundle.name}", bundle.data)
        if chunks:
            self.disk.put(f"inbox/{name or bundle.name}.chunks", bundle.chunks)

    def boot(self) -> Device:
        client = httpx.Client(transport=self.outbox)
        damage = DamageLog(self.disk)
        engine = self.engine(damage)
        ports = Ports(
            self.disk,
            engine,
            self.hub,
            self._rebuilds or self.rebuilder(engine),
            lambda url, query: BlobContainer(client, url, query),
            self.trusted,
            monotonic=self.clock,
            now=lambda: self.wall_clock,
            damage=damage,
        )
        return Device(self.settings, ports)

    def run(self, device: Device | None = None, turns: int = 400) -> Device:
        """Turn until everything asked for is done and told."""
        device = device or self.boot()
        for _ in range(turns):
            pause = device.turn()
            if device.is_idle():
                return device
            self.clock.now += 3.0 if pause else 0.01
        raise AssertionError(f"not idle after {turns} turns: {sorted(self.disk.files())}")

    def turn(self, device: Device, turns: int, seconds: float = 1.0) -> None:
        for _ in range(turns):
            device.turn()
            self.clock.now += seconds

    # What is asserted on.

    def references(self) -> dict[str, str]:
        """name:tag -> image ID of every image that is whole on the disk, bytes checked."""
        return {name: image.image_id for image in self.whole_images() for name in image.references}

    def image_ids(self) -> set[str]:
        return {image.image_id for image in self.whole_images()}

    def whole_images(self) -> list[PresentImage]:
        engine = self.engine()
        images = engine.images()
        for image in images:
            assert engine.drop_damaged(image.diff_ids) == (), f"{image.references} is listed with wrong bytes"
        return images

    def states(self, transfer_id: str = "transfer-1") -> list[str]:
        return [report.state for report in self.hub.reports if report.transfer_id == transfer_id]

    def final_report(self, transfer_id: str = "transfer-1") -> tuple[str, str | None]:
        report = [each for each in self.hub.reports if each.transfer_id == transfer_id][-1]
        return report.state, report.code

    def leftovers(self) -> list[str]:
        """Files that nothing needs any more."""
        return [
            name
            for name in sorted(self.disk.files())
            if name.startswith(("inbox/", "downloads/", "scratch/", "outbox/", "images/ingest/"))
            or (name.endswith((".tmp", ".part")) and not name.startswith("damaged/"))
        ]
