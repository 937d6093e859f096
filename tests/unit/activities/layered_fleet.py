"""Devices in a hub that deploys to them by target condition, and sets that are released to them step by step."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from activities.confirm_members import ConfirmMembers
from activities.due_work import Run
from activities.release_members import ReleaseMembers
from activities.tidy_layers import TidyLayers
from contracts.messages import Inventory, PresentImage
from contracts.records import Member, Release, ReleaseBy
from contracts.requests import DeviceSelection, EnrolDevice, Owner, StartDeployment
from contracts.states import ORCHESTRATOR
from imagedelta.delta import DEFAULT_PROFILE
from planning.manifest import resolve
from services.ports import Deployment
from services.store_port import Decisions, Origin, PlannedMember, PlannedTransfer
from store.kernel.schema import hub_layers
from tests.images import an_image
from tests.unit.activities.bench import MODULE, Bench

APP2 = an_image({"a": b"2"}, references=("fleet.example/app:2",))
APP3 = an_image({"a": b"3"}, references=("fleet.example/app:3",))
BASE = Deployment(
    "base",
    "tags.site = 'north'",
    10,
    {
        "$edgeAgent": {
            "properties.desired": {
                "schemaVersion": "1.1",
                "systemModules": {"edgeAgent": {"settings": {"image": "agent:1.5"}}},
                "modules": {"radar": {"settings": {"image": "mcr.example/radar:1"}}},
            }
        },
        "$edgeHub": {"properties.desired": {"routes": {"up": "FROM /* INTO $upstream"}}},
    },
)
BOATS = ("boat-1", "boat-2", "boat-3")
ALL_RELEASED = dict.fromkeys(BOATS, "released")


def manifest(image: str, name: str = "app", **more: Any) -> dict[str, Any]:
    modules = {name: {"settings": {"image": image}}}
    agent = {"properties.desired": {"modules": modules, "systemModules": {"edgeAgent": {"settings": {"image": "x:9"}}}}}
    return resolve({"modulesContent": {"$edgeAgent": agent, name: {"properties.desired": {"rate": 5}}, **more}}, {})


class Fleet:
    """Devices that have all images, in a hub that deploys to them by a condition they meet."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.hub = bench, bench.hub
        bench.register(APP2, APP3)
        for device_id in BOATS:
            self.enrol(device_id)
        self.hub.create_deployment(BASE)
        self.hub.calls.count.clear()

    def enrol(
        self, device_id: str, site: str = "north", registry: str = "localhost:5000", digest: str | None = None
    ) -> None:
        bench = self.bench
        self.hub.add_device(device_id, {"$edgeAgent": {"properties.desired": {"modules": {}}}}, MODULE)
        self.hub.tag(device_id, {"site": site})
        bench.store.devices.enrol(
            device_id, EnrolDevice(hub="north", registry_address=registry), "operator", bench.now()
        )
        images = [PresentImage(image_id=built.image_id, local_digest=digest) for built in (APP2, APP3)]
        inventory = Inventory(
            installation_id="disk-1",
            sequence=1,
            platform="linux/amd64",
            profiles=[DEFAULT_PROFILE.name],
            free_disk_bytes=10**9,
            images=images,
        )
        origin = Origin("north", device_id, MODULE, None, bench.now())
        assert bench.store.devices.record_inventory(origin, inventory).result == "applied"

    def order(
        self,
        image: Any,
        *,
        by: ReleaseBy = "auto",
        devices: tuple[str, ...] = BOATS,
        workstream: str = "default",
        given: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> str:
        """A set whose members are all ready. Returns its id."""
        bench, sets = self.bench, self.bench.store.sets
        (reference,) = image.image.references
        request = StartDeployment(
            name="March",
            workstream=workstream,
            owner=Owner(name="Olga", email="olga@example.com"),
            devices=DeviceSelection(ids=list(devices)),
            images=[reference],
            release_by=by,
            **options,
        )
        images = {reference: {"linux/amd64": image.image_id}}
        at = bench.now.forward(seconds=1)
        set_id = sets.create(request, images=images, manifest=given or manifest(reference), by="olga", at=at).set_id
        sets.begin_plan(set_id, timedelta(minutes=30), 100, at)
        members = []
        for device_id in devices:
            device, twin = bench.store.devices.device(device_id), self.hub.module_twin(device_id, "$edgeAgent")
            assert device is not None
            assert twin is not None
            planned = PlannedTransfer(
                device_id, image.image_id, reference, True, (), DEFAULT_PROFILE.name, 0, 1000, "normal"
            )
            members.append(PlannedMember(device_id, twin.version, device.last_inventory_at, (planned,)))
        sets.record_plan(set_id, Decisions(members), at)
        sets.move(set_id, "planning", "preparing", ORCHESTRATOR, at)
        sets.start(set_id, (min(devices), max(devices)), at, at)
        self.hub.calls.count.clear()
        return set_id

    def settle(self, set_id: str) -> None:
        for _ in range(3):
            self.bench.store.sets.settle(set_id, self.bench.now())

    def release(self, set_id: str) -> dict[str, str]:
        """Do what is due; device -> state afterwards."""
        self.settle(set_id)
        for due in self.bench.store.releases.due(self.bench.now(), 100):
            ReleaseMembers().do(Run(self.bench.deps), due)
        return self.states(set_id)

    def confirm(self, set_id: str) -> dict[str, str]:
        kind = ConfirmMembers()
        for batch in kind.due(self.bench.deps, self.bench.now(), 20):
            kind.do(Run(self.bench.deps), batch)
        self.settle(set_id)
        return self.states(set_id)

    def tidy(self) -> list[str]:
        """Do what is due; the deployments that are left."""
        kind = TidyLayers()
        for item in kind.due(self.bench.deps, self.bench.now(), 20):
            kind.do(Run(self.bench.deps), item)
        return [one.deployment_id for one in self.hub.deployments()]

    def run_it(self, device_id: str) -> None:
        """The device starts what it is told to, and reports so."""
        twin = self.hub.module_twin(device_id, "$edgeAgent")
        assert twin is not None
        modules = {name: {**one, "runtimeStatus": "running"} for name, one in twin.desired["modules"].items()}
        said = {"lastDesiredVersion": twin.version, "lastDesiredStatus": {"code": 200}, "modules": modules}
        self.hub.report(device_id, "$edgeAgent", said)

    def states(self, set_id: str) -> dict[str, str]:
        return {member.device_id: member.state for member in self.members(set_id)}

    def members(self, set_id: str) -> tuple[Member, ...]:
        return self.bench.store.sets.members(set_id)

    def member(self, set_id: str, device_id: str = "boat-1") -> Member:
        return self.bench.store.sets.member(set_id, device_id)

    def record(self, set_id: str, device_id: str = "boat-1") -> Release:
        found = self.bench.store.releases.release(set_id, device_id)
        assert found is not None
        return found

    def layers(self) -> list[Deployment]:
        return [one for one in self.hub.deployments() if one.deployment_id != "base"]

    def known(self) -> list[str]:
        """Layers that SQL knows of."""
        return list(
            self.bench.store._db.read(lambda c: c.execute(select(hub_layers.c.layer_id).order_by("layer_id")).scalars())
        )
