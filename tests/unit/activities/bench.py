"""One step at a time between the real store, blobs in a folder, a simulated hub and mail server."""

from __future__ import annotations

import base64
import io
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import event

from activities.begin_plan import begin_plan
from activities.plan_batch import plan_batch
from activities.read_image import read_image
from contracts.messages import Inventory, Report, ReportedState
from contracts.records import Patch, Registration, Transfer
from contracts.requests import DeviceSelection, EnrolDevice, Owner, RegisterImage, StartDeployment
from contracts.states import ORCHESTRATOR
from imagedelta.bundles import Ed25519Sealer
from imagedelta.bundles.keys import generate_private_key
from imagedelta.delta import DEFAULT_PROFILE
from services.blobs.folder import FolderBlobs
from services.deps import Deps
from services.ports import BlobInfo
from services.settings import load_settings
from services.store_port import Decisions, Origin, PlannedMember, PlannedTransfer
from store.sql import SqlStore
from tests.images import BuiltImage, docker_save
from tests.simulators.calls import Calls, Crash
from tests.simulators.clock import ClockSimulator
from tests.simulators.hub import HubSimulator
from tests.simulators.mail import MailSimulator
from tests.simulators.registry import RegistrySimulator

DEVICE = "ship-1"
MODULE = "imagereconstruction"
_KEY = base64.b64encode(b"key of the test").decode()


REGISTRIES = {"IMAGEDELTA_REGISTRIES": "main", "IMAGEDELTA_REGISTRY_MAIN_HOST": "fleet.example"}


def noise(seed: int, size: int = 20_000) -> bytes:
    return random.Random(seed).randbytes(size)


class CountingReader(io.RawIOBase):
    """Counts the bytes that are asked of a blob."""

    def __init__(self, stream: BinaryIO, count: Any) -> None:
        super().__init__()
        self._stream, self._count = stream, count

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readinto(self, buffer: Any, /) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._count(len(data))
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


class WatchedBlobs(FolderBlobs):
    """The folder adapter, its writes failing on demand and the bytes read of each container counted."""

    def __init__(self, root: Path, now: ClockSimulator) -> None:
        super().__init__(root, url="http://blobs.example", key=_KEY, now=now)
        self.root = root
        self.calls = Calls()
        self.bytes_read: dict[str, int] = {}

    def open(self, container: str, name: str) -> BinaryIO:
        self.calls.count[f"open {container}"] += 1

        def count(read: int) -> None:
            self.bytes_read[container] = self.bytes_read.get(container, 0) + read

        reader: Any = CountingReader(super().open(container, name), count)
        return io.BufferedReader(reader, 1)

    def put(self, container: str, name: str, chunks: Iterable[bytes]) -> BlobInfo:
        with self.calls.call(f"put {container}"):
            return super().put(container, name, chunks)

    def put_if_absent(self, container: str, name: str, chunks: Iterable[bytes]) -> BlobInfo:
        with self.calls.call(f"put_if_absent {container}"):
            return super().put_if_absent(container, name, chunks)

    def names(self, container: str) -> list[str]:
        """Of everything in the folder, also what is hidden."""
        folder = self.root / container
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


class Bench:
    def __init__(self, store: SqlStore, root: Path) -> None:
        self.now = ClockSimulator()
        self.store = store
        self.blobs = WatchedBlobs(root, self.now)
        self.hub = HubSimulator("north", self.now)
        self.registry = RegistrySimulator()
        self.mail = MailSimulator()
        self._inventories: Counter[str] = Counter()
        self.sealer = Ed25519Sealer(generate_private_key())
        self.deps = Deps(
            settings=load_settings(REGISTRIES),
            store=store,
            blobs=self.blobs,
            hubs={"north": self.hub},
            registries={"main": self.registry},
            mailer=self.mail,
            sealers={self.sealer.key_id: self.sealer},
            now=self.now,
        )

    def with_deps(self, **changes: Any) -> None:
        self.deps = replace(self.deps, **changes)

    # ------------------------------------------------------------ images

    def request(
        self, archive: bytes, reference: str | None = None, name: str = "archive.tar", platform: str | None = None
    ) -> str:
        """An archive in intake, and a registration of it. Returns the registration's id."""
        self.blobs.put("intake", name, [archive])
        request = RegisterImage(blob=f"intake/{name}", reference=reference, platform=platform)
        return self.store.images.request_registration(request, "pipeline", self.now()).registration_id

    def request_pushed(self, pushed: str, event: str | None = None, **more: str) -> str:
        """A registration of what lies in the registry. Returns its id."""
        request = RegisterImage(registry=pushed, **more)
        return self.store.images.request_registration(request, "pipeline", self.now(), event).registration_id

    def set_up(self, **environment: str) -> None:
        """Other settings."""
        self.with_deps(settings=load_settings({**REGISTRIES, **environment}))

    def registration(self, registration_id: str) -> Registration:
        found = self.store.images.registration(registration_id)
        assert found is not None
        return found

    def read(self, registration_id: str) -> dict[str, Any]:
        return read_image(self.deps, {"registrationId": registration_id})

    def register(self, *images: BuiltImage) -> None:
        for built in images:
            answer = self.read(self.request(docker_save(built)))
            assert answer["code"] is None, answer

    # ------------------------------------------------------------ a device, a set, a transfer

    def enrol(
        self,
        *images: BuiltImage,
        device_id: str = DEVICE,
        keys: Sequence[str] | None = None,
        forms: Sequence[str] = (),
        hub: str = "north",
        **stated: Any,
    ) -> None:
        """An active device that has these images and trusts these keys, the cloud's when none are named."""
        self.hub.add_device(device_id, {"$edgeAgent": {"properties.desired": {"modules": {}}}}, MODULE)
        self.store.devices.enrol(device_id, EnrolDevice(hub=hub), "operator", self.now())
        self.speak(*images, device_id=device_id, keys=keys, forms=forms, hub=hub, **stated)

    def speak(
        self,
        *images: BuiltImage,
        device_id: str = DEVICE,
        keys: Sequence[str] | None = None,
        forms: Sequence[str] = (),
        hub: str = "north",
        **stated: Any,
    ) -> None:
        """The next inventory of the device; ``stated``: more of its fields, or others."""
        self._inventories[device_id] += 1
        inventory = Inventory.model_validate(
            {
                "installationId": "disk-1",
                "sequence": self._inventories[device_id],
                "platform": "linux/amd64",
                "profiles": [DEFAULT_PROFILE.name],
                "trustedKeys": [self.sealer.key_id] if keys is None else list(keys),
                "bundleForms": list(forms),
                "freeDiskBytes": 10**9,
                "images": [{"imageId": built.image_id} for built in images],
                **stated,
            }
        )
        origin = Origin(hub, device_id, MODULE, None, self.now())
        assert self.store.devices.record_inventory(origin, inventory).result == "applied"

    def transfer(
        self, target: BuiltImage, *sources: BuiltImage, device_id: str = DEVICE, workstream: str = "default"
    ) -> Transfer:
        """A queued transfer of a set, waiting for its patch."""
        reference = target.image.references[0]
        request = StartDeployment(
            name="March",
            workstream=workstream,
            owner=Owner(name="Olga", email="olga@example.com"),
            devices=DeviceSelection(ids=[device_id]),
            images=[reference],
        )
        images: Mapping[str, Mapping[str, str]] = {reference: {"linux/amd64": target.image_id}}
        sets = self.store.sets
        of = sets.create(request, images=images, manifest=None, by="olga", at=self.now.forward(seconds=1))
        planned = PlannedTransfer(
            device_id=device_id,
            image_id=target.image_id,
            reference=reference,
            already_present=False,
            sources=tuple(built.image_id for built in sources),
            profile=DEFAULT_PROFILE.name,
            estimated_bytes=100,
            full_bytes=1000,
            priority="normal",
        )
        self._start(of.set_id, planned)
        (transfer,) = self.store.transfers.of_set(of.set_id)
        assert transfer.patch_id is not None
        return transfer

    def ordered(self, target: BuiltImage, device_id: str = DEVICE) -> Transfer:
        """A queued transfer of a set, planned as an order is."""
        reference = target.image.references[0]
        request = StartDeployment(
            name="March",
            owner=Owner(name="Olga", email="olga@example.com"),
            devices=DeviceSelection(ids=[device_id]),
            images=[reference],
        )
        images, sets = self.store.images.resolve([reference]), self.store.sets
        of = sets.create(request, images=images, manifest=None, by="olga", at=self.now.forward(seconds=1))
        self.plan(of.set_id, device_id, device_id)
        sets.move(of.set_id, "planning", "preparing", ORCHESTRATOR, self.now())
        sets.start(of.set_id, (device_id, device_id), self.now(), self.now())
        (transfer,) = self.store.transfers.of_set(of.set_id)
        return transfer

    def plan(self, set_id: str, first: str, last: str) -> None:
        """Members from the first to the last device."""
        begin_plan(self.deps, {"setId": set_id})
        plan_batch(self.deps, {"setId": set_id, "range": [first, last]})

    def report(self, transfer: Transfer, state: ReportedState) -> None:
        report = Report(
            transferId=transfer.transfer_id,
            attempt=transfer.attempt,
            sequence=transfer.sequence + 1,
            state=state,
            imageId=transfer.image_id,
        )
        origin = Origin("north", transfer.device_id, MODULE, None, self.now())
        (outcome,) = self.store.transfers.record_reports([(origin, report)], max_attempts=4)
        assert outcome.result == "applied", outcome

    def ready(self, target: BuiltImage, manifest: Mapping[str, Any]) -> str:
        """A set for a device that has the image already, ready to be released. Returns the set's id."""
        self.register(target)
        self.enrol(target)
        (reference,) = target.image.references
        request = StartDeployment(
            name="March",
            owner=Owner(name="Olga", email="olga@example.com"),
            devices=DeviceSelection(ids=[DEVICE]),
            images=[reference],
        )
        sets, images = self.store.sets, {reference: {"linux/amd64": target.image_id}}
        set_id = sets.create(request, images=images, manifest=manifest, by="olga", at=self.now()).set_id
        planned = PlannedTransfer(DEVICE, target.image_id, reference, True, (), DEFAULT_PROFILE.name, 0, 1000, "normal")
        twin = self.hub.module_twin(DEVICE, "$edgeAgent")
        assert twin is not None
        self._start(set_id, planned, twin.version)
        for _ in range(3):
            sets.settle(set_id, self.now())
        return set_id

    def cancel(self, transfer: Transfer) -> None:
        """Every set of the transfer's device."""
        for of in self.store.sets.list_sets(owner=None, state=None, workstream=None, limit=10, after=None).items:
            if any(member.device_id == transfer.device_id for member in self.store.sets.members(of.set_id)):
                self.store.sets.cancel(of.set_id, "olga", self.now())
                while self.store.sets.withdraw_part(of.set_id, self.now()):
                    pass

    @contextmanager
    def dying_at_statement(self, nth: int) -> Iterator[None]:
        """The process dies before the ``nth`` statement from now on that is given to SQL."""
        left = [nth]

        def count(*given: Any) -> None:
            left[0] -= 1
            if not left[0]:
                raise Crash

        engine = self.store._db.engine
        event.listen(engine, "before_cursor_execute", count)
        try:
            yield
        finally:
            event.remove(engine, "before_cursor_execute", count)

    def verify_elsewhere(self, transfer: Transfer, worker: str) -> None:
        """Another process takes the patch over and builds it."""
        patch_id, patches = transfer.patch_id or "", self.store.patches
        assert patches.begin_step(patch_id, worker, timedelta(hours=1), self.now())
        figures: dict[str, Any] = {"size": 1, "sha256": "ab", "crc32": 1, "chunks": "cd", "memory_bytes": 1}
        assert patches.verified(patch_id, worker, **figures, bytes_read=1, seconds=1, at=self.now())

    def _start(self, set_id: str, planned: PlannedTransfer, version: int = 0) -> None:
        sets, device = self.store.sets, self.store.devices.device(planned.device_id)
        assert device is not None
        sets.begin_plan(set_id, timedelta(minutes=30), 100, self.now())
        member = PlannedMember(planned.device_id, version, device.last_inventory_at, (planned,))
        sets.record_plan(set_id, Decisions([member]), self.now())
        sets.move(set_id, "planning", "preparing", ORCHESTRATOR, self.now())
        sets.start(set_id, (planned.device_id, planned.device_id), self.now(), self.now())

    def current(self, transfer: Transfer) -> Transfer:
        found = self.store.transfers.transfer(transfer.transfer_id)
        assert found is not None
        return found

    def patch_of(self, transfer: Transfer) -> Patch:
        found = self.store.patches.patch(transfer.patch_id or "")
        assert found is not None
        return found
