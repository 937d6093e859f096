"""A fleet on one desk: the real store, steps and orchestrators between simulated blobs, hubs, mail and devices.

``tick`` is what the timer does, ``sail`` what all devices do while the link is up, ``run`` both until a set has
gone as far as it goes. Everything is done at once and in a fixed order; only the clock a test moves passes time.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from activities import STEPS
from activities.binding import Step, bind
from contracts.outbox import outbox_container
from contracts.records import DeploymentSet, Member, Notification, Release, Transfer, TransferEvent
from contracts.requests import DeviceSelection, EnrolDevice, Owner, RegisterImage, StartDeployment, StartRollback
from contracts.states import STARTED_SET
from demo.edge_agent import reported_properties
from imagedelta.bundles import BundleHead, Ed25519Sealer, read_bundle
from imagedelta.bundles.keys import generate_private_key
from orchestrators import ORCHESTRATORS
from services.deps import Deps
from services.settings import load_settings
from store.sql import SqlStore
from tests.images import BuiltImage, an_image, docker_save
from tests.simulators.blobs import BlobsSimulator
from tests.simulators.calls import Calls
from tests.simulators.clock import ClockSimulator
from tests.simulators.fleet_device import FleetDevice
from tests.simulators.hub import HubSimulator
from tests.simulators.mail import MailSimulator
from tests.simulators.workflows import Activity, Workflows
from triggers.due import due
from triggers.http import Start
from triggers.hub_events import HubMessage, ingest
from triggers.orders import read_order, rollback_order

RECON = "imagereconstruction"
OWNER = "olga@example.com"
_ROUNDS = 5
"""Ticks and sails in which any set that nothing holds up is through."""


NOTHING_AHEAD = {"IMAGEDELTA_PREPARE_PATCHES": "false"}
"""Patches are built when they are ordered: that is what is looked at."""


class FleetSimulator:
    def __init__(self, store: SqlStore) -> None:
        self.now = ClockSimulator()
        self.blobs = BlobsSimulator(self.now)
        self.mail = MailSimulator()
        self.hubs = {name: HubSimulator(name, self.now) for name in ("north", "south")}
        self.sealer = a_sealer()
        self.deps = Deps(
            settings=replace(load_settings(NOTHING_AHEAD), priorities_file=Path("no priorities"), attend_threads=1),
            store=store,
            blobs=self.blobs,
            hubs=self.hubs,
            registries={},
            mailer=self.mail,
            sealers={self.sealer.key_id: self.sealer},
            now=self.now,
        )
        self.devices: dict[str, FleetDevice] = {}
        self.steps = Calls()
        """Of the activities, by name: a fault after one is a result that the task hub never saw."""
        self.watch: Callable[[str], AbstractContextManager[Any]] = lambda _: nullcontext()
        """Entered around every activity, by its name."""
        self._images: dict[str, BuiltImage] = {}
        self._begun: set[str] = set()
        self._workflows = Workflows(
            {step.__name__: self._activity(step) for step in STEPS} | {"start_due": self._start_due},
            {orchestrator.__name__: orchestrator for orchestrator in ORCHESTRATORS},
        )

    def _activity(self, step: Step) -> Activity:
        run = bind(step, lambda: self.deps)

        def counted(payload: dict[str, Any]) -> dict[str, Any]:
            with self.steps.call(step.__name__), self.watch(step.__name__):
                return run(payload)

        return counted

    def _start_due(self, _payload: dict[str, Any]) -> dict[str, Any]:
        """What SQL says is due runs at once, but nothing twice before the next tick."""
        for start in due(self.deps):
            if start.instance not in self._begun:
                self._run(start)
        return {"ok": True, "value": {}}

    def _run(self, start: Start) -> None:
        self._begun.add(start.instance)
        self._workflows.run(start.orchestrator, start.instance, start.payload)

    # ------------------------------------------------------------ images and devices

    def register(self, *references: str) -> None:
        """Register images ``name:number`` through read_image; numbers of one name differ in little."""
        for reference in references:
            built = self._images[reference] = an_app(reference)
            archive = f"{reference.replace(':', '-')}.tar"
            self.blobs.put("intake", archive, [docker_save(built)])
            request = RegisterImage(blob=f"intake/{archive}", reference=reference)
            registration = self.deps.store.images.request_registration(request, "pipeline", self.now())
            self._workflows.run("register_image", "register", {"registrationId": registration.registration_id})

    def image_id(self, reference: str) -> str:
        return self._images[reference].image_id

    def enrol(self, device_id: str, *references: str, hub: str = "north", silent: bool = False) -> FleetDevice:
        """A device that has these images; a ``silent`` one has not sent its inventory yet."""
        self.hubs[hub].add_device(device_id, RUNTIME, RECON)
        trusted = {self.sealer.key_id: self.sealer.public_key}
        device = self.devices[device_id] = FleetDevice(device_id, hub, RECON, trusted)
        for reference in references:
            device.keep(self._images[reference], reference)
        self.deps.store.devices.enrol(device_id, EnrolDevice(hub=hub), "operator", self.now())
        if not silent:
            self.deliver(device, device.inventory())
        return device

    # ------------------------------------------------------------ orders

    def start(
        self,
        *references: str,
        devices: Sequence[str] = (),
        manifest: bool = True,
        trace: str | None = None,
        **options: Any,
    ) -> str:
        """Order a set for these devices, or all, with a manifest made of the references or for these images
        alone. Returns its id."""
        request = StartDeployment(
            name=options.pop("name", "March"),
            owner=Owner(name="Olga", email=OWNER),
            devices=DeviceSelection(ids=list(devices) or sorted(self.devices)),
            manifest=a_manifest(references) if manifest else None,
            images=None if manifest else list(references),
            **options,
        )
        order = read_order(request, self.deps)
        created = self.deps.store.sets.create(
            order.request,
            images=order.images,
            manifest=order.manifest,
            by="olga",
            at=self.now.forward(seconds=1),
            trace=trace,
        )
        return created.set_id

    def roll_back(self, set_id: str) -> str:
        """Order what the devices of the set ran before it. Returns the new set's id."""
        order = rollback_order(self.set(set_id), StartRollback(), self.deps)
        created = self.deps.store.sets.create(
            order.request,
            images=order.images,
            manifest=order.manifest,
            by="olga",
            at=self.now.forward(seconds=1),
            rollback_of=set_id,
        )
        return created.set_id

    # ------------------------------------------------------------ time passes

    def tick(self) -> None:
        """What the timer starts, one after the other."""
        self.now.forward(seconds=15)
        self._begun.clear()
        self._start_due({})
        self.attend()

    def attend(self) -> None:
        """Do what is due now, until nothing is."""
        self.step("attend", seconds=600)

    def begin(self, *starts: Start) -> None:
        """Run orchestrations to their end, one after the other."""
        self._begun.clear()
        for start in starts:
            self._run(start)

    def step(self, name: str, **payload: Any) -> Any:
        """One activity alone."""
        return self._workflows.activities[name](payload)

    def sail(self, *device_ids: str) -> None:
        """The link is up: these devices, or all, fetch, apply, report, and see their deployment."""
        for device_id in device_ids or sorted(self.devices):
            device = self.devices[device_id]
            reports = device.fetch(self.blobs)
            self.deliver(device, *reports)
            if reports:
                self.deliver(device, device.inventory())
            self.run_modules(device)

    def run(self) -> None:
        """Tick and sail until no set is open any more, or as often as one that nothing holds up needs."""
        for _ in range(_ROUNDS):
            self.tick()
            self.sail()
            self.tick()
            sets = self.deps.store.sets.list_sets(owner=None, state=None, workstream=None, limit=500, after=None).items
            if not any(of.state in STARTED_SET for of in sets):
                break

    def deliver(self, device: FleetDevice, *messages: HubMessage) -> None:
        """The hub hands a batch of the device's messages to the function."""
        self.now.forward(seconds=1)
        ingest(device.hub, messages, self.deps)

    def run_modules(self, device: FleetDevice) -> None:
        """The device's edgeAgent starts what its twin names and reports what runs."""
        run_modules(self.hubs[device.hub], device.device_id, device.runs)

    # ------------------------------------------------------------ what is so

    def set(self, set_id: str) -> DeploymentSet:
        found = self.deps.store.sets.deployment_set(set_id)
        if found is None:
            raise AssertionError(f"there is no set {set_id}")
        return found

    def members(self, set_id: str) -> dict[str, str]:
        """device -> state."""
        return {member.device_id: member.state for member in self.deps.store.sets.members(set_id)}

    def member(self, set_id: str, device_id: str) -> Member:
        return next(one for one in self.deps.store.sets.members(set_id) if one.device_id == device_id)

    def transfers(self, set_id: str) -> tuple[Transfer, ...]:
        return self.deps.store.transfers.of_set(set_id)

    def transfer(self, set_id: str, device_id: str) -> Transfer:
        (found,) = self.deps.store.transfers.of_member(set_id, device_id)
        return found

    def history(self, set_id: str, device_id: str) -> tuple[TransferEvent, ...]:
        return self.deps.store.transfers.history(self.transfer(set_id, device_id).transfer_id)

    def patches(self) -> list[Any]:
        return list(self.deps.store.patches.list_patches(state=None, target=None, limit=500, after=None).items)

    def releases(self, set_id: str) -> tuple[Release, ...]:
        return self.deps.store.releases.list_of_set(set_id, limit=1000, after=None).items

    def notifications(self, set_id: str) -> tuple[Notification, ...]:
        return self.deps.store.notifications.of_set(set_id)

    def quarantine(self) -> list[Any]:
        return list(self.deps.store.quarantine.entries(limit=500, after=None).items)

    def head_of(self, transfer: Transfer) -> BundleHead:
        """Of the bundle of the transfer's attempt, as it lies in the outbox."""
        container = self.blobs.containers[outbox_container(transfer.device_id)]
        return read_bundle(io.BytesIO(container[transfer.bundle or ""]), None).head

    def outbox(self, device_id: str) -> list[str]:
        names = self.blobs.containers.get(outbox_container(device_id), {})
        return sorted(name for name in names if name.endswith(".bundle"))


def run_modules(hub: HubSimulator, device_id: str, has_image: Callable[[str], bool]) -> None:
    """The device's edgeAgent starts what its twin names and reports what runs."""
    twin = hub.module_twin(device_id, "$edgeAgent")
    if twin is not None:
        desired = {**twin.desired, "$version": twin.version}
        hub.report(device_id, "$edgeAgent", reported_properties(desired, has_image))


@cache
def a_sealer() -> Ed25519Sealer:
    return Ed25519Sealer(generate_private_key())


@cache
def an_app(reference: str) -> BuiltImage:
    """``name:number``: a common base, the name's own library, and a little that each number changes."""
    name, _, number = reference.partition(":")
    program = bytearray(random.Random(name).randbytes(6_000))
    program[100:140] = random.Random(reference).randbytes(40)
    base = {"usr/lib/libc.so": random.Random("base").randbytes(12_000)}
    return an_image(base, {f"app/{name}": bytes(program), "app/version": number.encode()}, references=(reference,))


def a_manifest(references: Iterable[str]) -> dict[str, Any]:
    """One module for each reference, named as its repository."""
    modules = {reference.partition(":")[0]: _module(reference) for reference in references}
    return {"modulesContent": {"$edgeAgent": _agent(modules), "$edgeHub": RUNTIME["$edgeHub"]}}


def _module(image: str) -> dict[str, Any]:
    return {
        "version": "1.0",
        "type": "docker",
        "status": "running",
        "restartPolicy": "always",
        "settings": {"image": image, "createOptions": "{}"},
    }


def _agent(modules: Mapping[str, Any]) -> dict[str, Any]:
    system = {name: _module(f"mcr.example/{name}:1.5") for name in ("edgeAgent", "edgeHub")}
    runtime = {"type": "docker", "settings": {"minDockerVersion": "v1.25"}}
    return {
        "properties.desired": {
            "schemaVersion": "1.1",
            "runtime": runtime,
            "systemModules": system,
            "modules": dict(modules),
        }
    }


RUNTIME: Mapping[str, Any] = {
    "$edgeAgent": _agent({}),
    "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {}}},
}
"""What a device runs before anything is released to it."""
