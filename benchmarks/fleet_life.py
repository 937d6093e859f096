"""What happens to a fleet, step by step, from enrolling to a set that fails everywhere; each step is measured.

Driven from outside, as in production: requests, hub messages, orchestrations and the timer. The database is a
file; blobs, hubs and mail are in memory, so that nothing but our own work is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from sqlalchemy import event

from benchmarks.fleet_meter import Cost, Meter
from contracts.messages import Inventory, PresentImage, Report, to_json
from imagedelta.delta import DEFAULT_PROFILE
from store.sql import SqlStore
from tests.simulators.fleet import OWNER, RECON, RUNTIME, FleetSimulator, a_manifest, run_modules
from tests.simulators.fleet_api import FleetApi, size_of
from tests.simulators.fleet_device import PLATFORM, local_digest
from triggers.http import deploy_set
from triggers.hub_events import HubMessage, ingest

IMAGES = 5
SAMPLE = 100
"""Devices that the steps about one device are measured on, while all others are on their way."""
BATCH = 100
"""Messages that a hub hands over at once."""
SINGLE = 20
"""Devices of the sample, at most a quarter of it, whose reports come one by one."""
_PATIENCE = 5_000
"""Ticks after which a step that never ends is an error."""

_PARTS = {"begin": "plan", "plan": "plan", "weigh": "plan", "start": "plan", "end": "plan", "deliver": "publish",
          "publish": "publish"}  # fmt: skip
"""First word of an activity's name -> the step it belongs to. Delivering builds a few small patches besides."""


class FleetLife:
    """One fleet of one size, in a database of its own."""

    def __init__(self, devices: int, folder: Path, report: Callable[[Cost], None]) -> None:
        store = SqlStore(f"sqlite:///{folder / 'imagedelta.db'}")
        # counted is our work, not how long this machine's disk takes to say that it has written
        event.listen(store._db.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
        store.migrate()
        self._file = folder / "imagedelta.db"
        self._store = store
        self._ids = [f"ship-{number:05}" for number in range(devices)]
        self._sample = self._ids[: min(SAMPLE, max(1, devices // 2))]
        self._meter = Meter(store._db.engine, devices)
        self._fleet = FleetSimulator(store)
        self._api = FleetApi(self._fleet.deps)
        self._fleet.watch = self._watch
        self._planning = "first plan"
        self._told = 0
        self._report = report
        for version in range(1, 5):
            self._fleet.register(*self._references(version))

    def live(self, until: str = "") -> None:
        """Go through the chapters, to the end or ``until`` one of them."""
        try:
            for name, chapter in CHAPTERS.items():
                chapter(self)
                self._tell()
                if name == until:
                    return
        finally:
            self._store.close()

    def _tell(self) -> None:
        """Report what is measured since the last time."""
        costs = self._meter.costs
        for cost in costs[self._told :]:
            self._report(cost)
        self._told = len(costs)

    # ------------------------------------------------------------ chapters

    def _enrol(self) -> None:
        hub = self._fleet.hubs["north"]
        for device_id in self._ids:
            hub.add_device(device_id, RUNTIME, RECON)
            with self._meter.step("enrol", 1):
                self._api.ask("PUT", f"devices/{device_id}", {"hub": "north", "tags": {"site": "a"}})
        present = [
            PresentImage(imageId=image, references=[reference], localDigest=local_digest(image))
            for reference in self._references(1)
            for image in [self._fleet.image_id(reference)]
        ]
        self._ingest(
            "inventory, in batches", [_inventory(one, present, self._fleet.sealer.key_id) for one in self._ids]
        )
        self._ticks("sync twin", lambda: self._written() >= len(self._ids))

    def _order(self) -> None:
        """The set goes until every bundle lies in its outbox."""
        self._set = self._create("create set", 2, release="device")
        self._drive(self._set, "first plan")

    def _look(self) -> None:
        self._calm()
        self._planning = "plan, nothing to plan"
        self._fleet.begin(deploy_set(self._set))
        for _ in range(5):
            with self._meter.step("tick, nothing due", 1):
                self._fleet.tick()
        for step, path, query in (
            ("GET set", f"deployment-sets/{self._set}", {}),
            ("GET members", f"deployment-sets/{self._set}/members", {}),
            ("GET events", f"deployment-sets/{self._set}/events", {}),
            ("GET transfers", "transfers", {"set": self._set}),
        ):
            with self._meter.step(step, 1) as cost:
                answer = self._api.ask("GET", path, query=query)
            cost.bytes = size_of(answer)

    def _arrive(self) -> None:
        """The sample's bundles arrive, and its devices are released and confirmed, all others being in transit."""
        transfers = {one: self._transfers_of(one) for one in self._sample}
        alone = min(SINGLE, len(self._sample) // 4 + 1)
        single = [transfer for one in self._sample[:alone] for transfer in transfers[one]]
        others = [transfer for one in self._sample[alone:] for transfer in transfers[one]]
        for sequence, state in enumerate(("receiving", "received", "applying", "succeeded"), 1):
            last = "arrival" if state == "succeeded" else "report"
            for transfer in single:
                self._ingest(f"{last}, alone", [self._reported(transfer, sequence, state)])
            self._ingest(f"{last}, in batches", [self._reported(transfer, sequence, state) for transfer in others])
        hub = self._fleet.hubs["north"]
        self._ticks("release", lambda: len(hub.applied) >= len(self._sample), len(self._sample))
        for device_id in self._sample:
            run_modules(hub, device_id, lambda _: True)
        self._fleet.now.forward(hours=1)
        self._ticks(
            "confirm", lambda: self._members(self._set).get("applied", 0) == len(self._sample), len(self._sample)
        )

    def _supersede(self) -> None:
        self._newer = self._create("create newer set", 3, release="device")
        self._drive(self._newer, "superseding plan")

    def _cancel(self) -> None:
        with self._meter.step("cancel, its answer", 1):
            answer = self._api.ask("POST", f"deployment-sets/{self._newer}/cancel")
        with self._meter.step("cancel, its parts", len(self._ids)):
            self._fleet.begin(*answer.start)
        self._ticks("cancel, its parts", lambda: not self._open_transfers(self._newer), 0)

    def _fail(self) -> None:
        """A set of one image fails on every device."""
        failing = self._create("create set of one image", 4, images=1, release="set")
        self._drive(failing, "plan of one image")
        transfers = list(self._api.every("transfers", set=failing))
        messages = [self._reported(one, 1, "failed", code="content.digest") for one in transfers]
        self._ingest("failure, in batches", messages)
        mails = self._fleet.mail.calls.count["send"]
        self._ticks("settle after all failed", lambda: self._state(failing) in _OVER)
        for _ in range(3):
            with self._meter.step("mails after all failed"):
                self._fleet.now.forward(hours=1)
                self._fleet.tick()
        self._meter.add("mails after all failed", self._fleet.mail.calls.count["send"] - mails)

    def _size(self) -> None:
        """Bytes of the database at the end of it all, for each device."""
        with self._meter.step("database", len(self._ids)) as cost:
            self._store._db.engine.dispose()
        cost.bytes = self._file.stat().st_size

    # ------------------------------------------------------------ what steps are made of

    def _watch(self, activity: str) -> AbstractContextManager[Any]:
        part = _PARTS.get(activity.partition("_")[0], "other steps")
        return self._meter.step(self._planning if part == "plan" else part)

    def _references(self, version: int) -> list[str]:
        return [f"app-{number}:{version}" for number in range(IMAGES)]

    def _create(self, step: str, version: int, *, images: int = IMAGES, release: str) -> str:
        body = {
            "name": step,
            "owner": {"name": "Olga", "email": OWNER},
            "devices": {"ids": self._ids},
            "manifest": a_manifest(self._references(version)[:images]),
            "release": release,
        }
        self._fleet.now.forward(seconds=1)
        with self._meter.step(step, 1):
            answer = self._api.ask("POST", "deployment-sets", body)
        return str(answer.headers["Location"].rpartition("/")[2])

    def _drive(self, set_id: str, planning: str) -> None:
        """Let the set's orchestration and the timer go on until everything is published."""
        self._planning = planning
        published = self._publications()
        self._fleet.begin(deploy_set(set_id))
        self._planning = f"{planning}, run again"
        for _ in range(_PATIENCE):
            if not self._has(set_id, "queued") and not self._has(set_id, "building"):
                break
            self._fleet.tick()
        self._meter.add(planning, len(self._ids))
        self._meter.add("publish", self._publications() - published)

    def _calm(self) -> None:
        """Let the timer fire until it has nothing more to tell the hubs."""
        before = -1
        while before != self._written():
            before = self._written()
            self._fleet.tick()

    def _written(self) -> int:
        return self._fleet.hubs["north"].calls.count["update_desired"]

    def _publications(self) -> int:
        """How many bundles were ever composed."""
        calls = self._fleet.blobs.calls.count
        return calls["compose"] + calls["compose_if_absent"]

    def _ticks(self, step: str, done: Callable[[], bool], items: int | None = None) -> None:
        for _ in range(_PATIENCE):
            if done():
                break
            with self._meter.step(step):
                self._fleet.tick()
        else:
            raise AssertionError(f"{step}: not done after {_PATIENCE} ticks")
        self._meter.add(step, len(self._ids) if items is None else items)

    def _ingest(self, step: str, messages: Sequence[HubMessage]) -> None:
        for some in (messages[at : at + BATCH] for at in range(0, len(messages), BATCH)):
            self._fleet.now.forward(seconds=1)
            with self._meter.step(step, len(some)):
                ingest("north", some, self._fleet.deps)

    # ------------------------------------------------------------ questions, which are not measured

    def _transfers_of(self, device_id: str) -> list[Any]:
        return list(self._api.every("transfers", set=self._set, device=device_id))

    def _has(self, set_id: str, state: str) -> bool:
        return bool(self._api.get("transfers", set=set_id, state=state, limit="1")["items"])

    def _open_transfers(self, set_id: str) -> bool:
        return any(self._has(set_id, state) for state in ("queued", "building", "in_transit"))

    def _members(self, set_id: str) -> dict[str, int]:
        states: dict[str, int] = self._api.get(f"deployment-sets/{set_id}")["memberStates"]
        return states

    def _state(self, set_id: str) -> str:
        return str(self._api.get(f"deployment-sets/{set_id}")["state"])

    def _reported(self, transfer: dict[str, Any], sequence: int, state: Any, code: str | None = None) -> HubMessage:
        done = state == "succeeded"
        report = Report(
            transferId=transfer["transferId"],
            attempt=transfer["attempt"],
            sequence=sequence,
            state=state,
            imageId=transfer["imageId"],
            code=code,
            localDigest=local_digest(transfer["imageId"]) if done else None,
            bytesFetched=1_000 if done else None,
            secondsOnLink=1.5 if done else None,
        )
        return _message(transfer["deviceId"], "report", to_json(report))


_OVER = ("completed", "completed_with_failures", "failed")

CHAPTERS: dict[str, Callable[[FleetLife], None]] = {
    "enrol": FleetLife._enrol,
    "order": FleetLife._order,
    "look": FleetLife._look,
    "arrive": FleetLife._arrive,
    "supersede": FleetLife._supersede,
    "cancel": FleetLife._cancel,
    "fail": FleetLife._fail,
    "size": FleetLife._size,
}
"""In the order in which they happen; each needs the ones before it."""


def _inventory(device_id: str, images: Iterable[PresentImage], key_id: str) -> HubMessage:
    inventory = Inventory(
        installationId="disk",
        sequence=1,
        platform=PLATFORM,
        profiles=[DEFAULT_PROFILE.name],
        trustedKeys=[key_id],
        freeDiskBytes=10**9,
        images=list(images),
    )
    return _message(device_id, "inventory", inventory.to_wire())


def _message(device_id: str, kind: str, body: bytes) -> HubMessage:
    system = {"iothub-connection-device-id": device_id, "iothub-connection-module-id": RECON}
    return HubMessage(system, {"kind": kind}, body)
