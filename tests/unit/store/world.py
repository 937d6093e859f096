"""A small fleet for the store's tests: images, devices, and the moves that steps and devices make."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.messages import Inventory, LastResult, PresentImage, Report
from contracts.records import DeploymentSet, ImageRecord, LayerRecord, Member, Release, Transfer
from contracts.requests import DeviceSelection, EnrolDevice, Owner, StartDeployment
from contracts.states import ORCHESTRATOR, UNPUBLISHED
from services.store_port import (
    BundleResult,
    Confirmation,
    Decisions,
    MemberDue,
    Origin,
    Outcome,
    PlannedMember,
    PlannedTransfer,
)
from store.sql import SqlStore

START = datetime(2030, 1, 1, 12, 0, 0, 250_000, tzinfo=UTC)
MODULE = "imagereconstruction"
PLATFORM = "linux/amd64"
LEASE = timedelta(minutes=30)
MANIFEST = {"modulesContent": {"$edgeAgent": {}}}


def digest(name: str) -> str:
    return f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"


class World:
    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.now = START
        self._inventories: dict[tuple[str, str], int] = {}

    def later(self, seconds: float = 60) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now

    # ------------------------------------------------------------ images and devices

    def image(self, reference: str) -> str:
        image_id, diff_id = digest(reference), digest(f"layer of {reference}")
        self.store.images.add_layer(LayerRecord(diff_id, 1000, digest("index")))
        self.store.images.add_image(
            ImageRecord(image_id, PLATFORM, b"{}", (diff_id,), 1002, digest("signature"), (reference,), self.now)
        )
        return image_id

    def device(self, device_id: str, *images: str, hub: str = "north", **tags: str) -> str:
        """Enrolled; active and with these images when any is named (``-`` for an inventory of none)."""
        self.store.devices.enrol(device_id, EnrolDevice(hub=hub, tags=tags), "tester", self.now)
        if images:
            self.inventory(device_id, *[image for image in images if image != "-"], hub=hub)
        return device_id

    def inventory(
        self,
        device_id: str,
        *images: str,
        installation: str = "disk-1",
        hub: str = "north",
        module: str | None = MODULE,
        sequence: int | None = None,
        results: Sequence[LastResult] = (),
        forms: Sequence[str] = (),
        hub_device_id: str = "",
    ) -> Outcome:
        place = (device_id, installation)
        self._inventories[place] = sequence or self._inventories.get(place, 0) + 1
        inventory = Inventory(
            installation_id=installation,
            sequence=self._inventories[place],
            platform=PLATFORM,
            profiles=["v1-64m"],
            trusted_keys=["key-1"],
            bundle_forms=list(forms) or None,
            free_disk_bytes=10**9,
            images=[PresentImage(image_id=image, references=["app"], local_digest=digest("l")) for image in images],
            results=list(results),
        )
        return self.store.devices.record_inventory(self.origin(device_id, hub, module, hub_device_id), inventory)

    def origin(
        self, device_id: str, hub: str = "north", module: str | None = MODULE, hub_device_id: str = ""
    ) -> Origin:
        return Origin(hub, device_id, module, None, self.later(1), hub_device_id)

    # ------------------------------------------------------------ sets

    def order(self, devices: Sequence[str], *references: str, **options: Any) -> StartDeployment:
        return StartDeployment(
            name=options.pop("name", "March"),
            owner=Owner(name="Olga", email=options.pop("email", "olga@example.com")),
            devices=options.pop("selection", None) or DeviceSelection(ids=list(devices)),
            images=list(references),
            **options,
        )

    def set(self, devices: Sequence[str], *references: str, manifest: Any = None, **options: Any) -> DeploymentSet:
        """Planned, and started."""
        of = self.accepted(devices, *references, manifest=manifest, **options)
        self.plan(of)
        self.store.sets.move(of.set_id, "planning", "preparing", ORCHESTRATOR, self.now)
        self.start(of)
        return self.settled(of)

    def accepted(self, devices: Sequence[str], *references: str, manifest: Any = None, **options: Any) -> DeploymentSet:
        images = {reference: {PLATFORM: self.image(reference)} for reference in references}
        request = self.order(devices, *references, **options)
        return self.store.sets.create(request, images=images, manifest=manifest, by="tester", at=self.later())

    def plan(self, of: DeploymentSet, devices: Sequence[str] | None = None, sources: Sequence[str] = ()) -> None:
        """What a planning records for the members whose devices have spoken, and starts where the set is started."""
        claim = self.store.sets.begin_plan(of.set_id, LEASE, 100, self.now).claim
        chosen = devices or [m.device_id for m in self.store.sets.members(of.set_id) if self._active(m.device_id)]
        on = self.store.devices.images_on_many(chosen)
        self.record(
            of,
            *[
                [self.planned(device_id, reference, on[device_id], sources) for reference in of.images]
                for device_id in chosen
            ],
        )
        self.start(of)
        if claim is not None:
            self.store.sets.end_plan(of.set_id, claim, self.later(1))

    def record(self, of: DeploymentSet, *plans: Sequence[PlannedTransfer], version: int = 7) -> None:
        """Record a plan for each device that has one, from its present inventory."""
        self.store.sets.record_plan(of.set_id, Decisions([self._member(plan, version) for plan in plans]), self.later())

    def decided(self, *plans: Sequence[PlannedTransfer]) -> Decisions:
        """Plans made from the inventories of now."""
        return Decisions([self._member(plan, 7) for plan in plans])

    def _member(self, plan: Sequence[PlannedTransfer], version: int) -> PlannedMember:
        device = self.store.devices.device(plan[0].device_id)
        return PlannedMember(plan[0].device_id, version, device.last_inventory_at if device else None, tuple(plan))

    def start(self, of: DeploymentSet) -> None:
        """Members that are planned are started."""
        for within in self.store.sets.to_start(of.set_id, 100):
            self.store.sets.start(of.set_id, within, self.now, self.later(1))

    def planned(
        self, device_id: str, reference: str, on: Sequence[Any] = (), sources: Sequence[str] = (), **changes: Any
    ) -> PlannedTransfer:
        image_id = digest(reference)
        here = any(image.image_id == image_id for image in on)
        values = {
            "device_id": device_id,
            "image_id": image_id,
            "reference": reference,
            "already_present": here,
            "sources": tuple(sources),
            "profile": "v1-64m",
            "estimated_bytes": 0 if here else 100,
            "full_bytes": 1002,
            "priority": "normal",
        }
        return PlannedTransfer(**(values | changes))

    def _active(self, device_id: str) -> bool:
        device = self.store.devices.device(device_id)
        return device is not None and device.state == "active"

    def settled(self, of: DeploymentSet) -> DeploymentSet:
        """As far as it goes."""
        settled = self.store.sets.settle(of.set_id, self.later())
        while of.set_id in self.store.sets.to_settle(self.now, 100):
            settled = self.store.sets.settle(of.set_id, self.now)
        return settled

    def due_to_release(self, of: DeploymentSet) -> list[str]:
        return sorted(one.device_id for one in self.store.releases.due(self.now, 100) if one.set_id == of.set_id)

    def cancel(self, of: DeploymentSet) -> None:
        """And let its members go."""
        self.store.sets.cancel(of.set_id, "tester", self.later())
        while self.store.sets.withdraw_part(of.set_id, self.later()):
            pass

    def member(self, of: DeploymentSet, device_id: str) -> Member:
        return next(m for m in self.store.sets.members(of.set_id) if m.device_id == device_id)

    def transfer(self, of: DeploymentSet, device_id: str) -> Transfer:
        (transfer,) = self.store.transfers.of_member(of.set_id, device_id)
        return transfer

    def states(self, of: DeploymentSet) -> tuple[str, dict[str, str]]:
        """The set's state and its members'."""
        record = self.store.sets.deployment_set(of.set_id)
        assert record is not None
        return record.state, {m.device_id: m.state for m in self.store.sets.members(of.set_id)}

    # ------------------------------------------------------------ transfers

    def to_build(self, of: DeploymentSet) -> tuple[str, ...]:
        """Patches that the set waits for and that are due to be built."""
        return self._waited_for(of, self.store.patches.to_build(self.now, 1000))

    def to_publish(self, of: DeploymentSet) -> tuple[str, ...]:
        """Patches that the set waits for and that are due to be published."""
        return self._waited_for(of, self.store.patches.to_publish(self.now, 1000))

    def _waited_for(self, of: DeploymentSet, patch_ids: Collection[str]) -> tuple[str, ...]:
        waiting = [one for one in self.store.transfers.of_set(of.set_id) if one.state in UNPUBLISHED]
        return tuple(sorted({one.patch_id for one in waiting if one.patch_id in patch_ids if one.patch_id}))

    def publish(self, of: DeploymentSet) -> None:
        """Build every patch and publish every bundle the set waits for."""
        for patch_id in self.to_build(of):
            self.build(patch_id)
        for patch_id in self.to_publish(of):
            self.publish_patch(patch_id)

    def publish_patch(self, patch_id: str) -> int:
        """What publish_batch does, for as many as wait; returns how many became published."""
        claimed = self.store.publications.claim(patch_id, "", 1000, shared=True, at=self.later(1))
        return self.store.publications.finish(
            patch_id, [BundleResult(each.transfer, 120) for each in claimed], self.later(1), last=True
        )

    def build(self, patch_id: str) -> None:
        assert self.store.patches.begin_step(patch_id, "worker", timedelta(hours=1), self.now)
        self.store.patches.verified(
            patch_id,
            "worker",
            size=100,
            sha256="ab",
            crc32=4_000_000_000,
            chunks="cd",
            memory_bytes=1,
            bytes_read=1,
            seconds=0.5,
            at=self.now,
        )

    def report(self, transfer: Transfer, state: str, sequence: int = 1, **fields: Any) -> Outcome:
        origin = fields.pop("origin", None) or self.origin(transfer.device_id)
        values = {
            "transfer_id": transfer.transfer_id,
            "attempt": transfer.attempt,
            "sequence": sequence,
            "state": state,
            "image_id": transfer.image_id,
        }
        (outcome,) = self.store.transfers.record_reports([(origin, Report(**(values | fields)))], max_attempts=3)
        return outcome

    def deliver(self, of: DeploymentSet, *device_ids: str) -> DeploymentSet:
        """Publish, and let these devices succeed."""
        self.publish(of)
        for device_id in device_ids:
            for transfer in self.store.transfers.of_member(of.set_id, device_id):
                if transfer.state == "published":
                    self.report(transfer, "succeeded")
        return self.settled(of)

    # ------------------------------------------------------------ releases

    def release(
        self,
        of: DeploymentSet,
        device_id: str,
        version: int = 8,
        modules: Sequence[str] = ("app",),
        layer_id: str | None = None,
    ) -> bool:
        claimed = self.store.releases.claim(of.set_id, device_id, timedelta(minutes=2), self.later())
        return claimed is not None and self.record_release(of, device_id, version, modules, layer_id)

    def record_release(
        self,
        of: DeploymentSet,
        device_id: str,
        version: int = 8,
        modules: Sequence[str] = ("app",),
        layer_id: str | None = None,
    ) -> bool:
        release = Release(
            of.set_id,
            device_id,
            "north",
            of.workstream,
            tuple(modules),
            {"new": 1},
            {"old": 1},
            version,
            True,
            self.now,
            base_version=version - 1,
            layer_id=layer_id,
        )
        return self.store.releases.record(release, self.now)

    def twin_refused(self, device_id: str, code: str) -> None:
        claim = self.store.devices.claim_sync(device_id, timedelta(minutes=2), self.later())
        assert claim is not None
        self.store.devices.sync_failed(claim, code, self.now + timedelta(minutes=1))

    def confirm(self, of: DeploymentSet, device_id: str, state: str, code: str | None = None) -> int:
        """What is found of its released member now. How many moved."""
        self.later(3_600)
        due = [MemberDue(of.set_id, device_id, "north")]
        claims = self.store.releases.claim_confirmations(due, timedelta(minutes=2), self.now)
        again = None if state == "applied" else self.now + timedelta(hours=1)
        found = [Confirmation(claim, state, again, code=code) for claim in claims]
        return self.store.releases.confirm(found, self.now)

    def kinds(self, of: DeploymentSet) -> list[str]:
        return sorted(notification.kind for notification in self.store.notifications.of_set(of.set_id))
