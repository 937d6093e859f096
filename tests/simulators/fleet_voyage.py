"""A fleet's deployment from order to last mail, with one device in a hundred in each kind of trouble.

The host dies again and again, each hub is down for an hour, people exclude, rebase and skip; the clock is simulated,
so that days pass. ``Voyage.sail`` plays it, tests.simulators.fleet_landfall looks at what came of it.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import event

from contracts.requests import RegisterImage
from imagedelta.errors import DependencyError
from services.blobs.folder import FolderBlobs
from services.deps import Deps
from services.settings import load_settings
from store.sql import SqlStore
from tests.images import docker_save
from tests.simulators.calls import Crash
from tests.simulators.clock import ClockSimulator
from tests.simulators.fleet import NOTHING_AHEAD, OWNER, RUNTIME, a_manifest, a_sealer, an_app, run_modules
from tests.simulators.fleet_api import document
from tests.simulators.fleet_boat import RECON, FleetBoat
from tests.simulators.fleet_host import UNSYNCED, Fate, FleetHost
from tests.simulators.hub import HubSimulator
from tests.simulators.mail import MailSimulator
from triggers.http import register_image
from triggers.hub_events import HubMessage

IMAGES = 5
TROUBLES = ("offline", "gone", "failing", "replaced", "lost source", "full disk", "rebased", "skipped")
"""Of one device in a hundred each; ``offline`` comes back after days, ``gone`` is excluded by a person, the
deployments of ``rebased`` and ``skipped`` are changed by somebody else, and a person decides so."""
DEATHS = 20
_FOREIGN = "other:1"
"""The image that somebody else has devices run."""
_BATCH = 100
_TICK = timedelta(minutes=5)
_QUIET = timedelta(hours=6)
"""From one round to the next when nothing moves."""
_ROUNDS = 600
_TOLD_EACH = 10
_BACK_AFTER = timedelta(days=3)
_DECIDED_AFTER = timedelta(days=4)
_OUTAGES = {"south": (timedelta(minutes=20), timedelta(minutes=80)), "north": (timedelta(hours=2), timedelta(hours=3))}
"""When each hub does not answer, counted from the order."""
_OVER = ("completed", "completed_with_failures", "failed", "cancelled", "superseded")


@dataclass
class Log:
    """What is told in the end, besides what the cloud says itself."""

    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    cpu_seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    rounds: int = 0
    messages: int = 0
    redone: Counter[str] = field(default_factory=Counter)
    """What was under way when the host died."""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - wall
            self.cpu_seconds[name] += time.process_time() - cpu


class Outage:
    """A hub's port that does not answer from one moment to another."""

    def __init__(self, hub: HubSimulator, now: Callable[[], datetime]) -> None:
        self._hub, self._now = hub, now
        self.span: tuple[datetime, datetime] | None = None
        self.refused = 0

    def __getattr__(self, name: str) -> Any:
        asks = name != "room"  # that is reckoned by ourselves
        if asks and self.span and self.span[0] <= self._now() < self.span[1]:
            self.refused += 1
            raise DependencyError(f"hub {self._hub.name} does not answer")
        return getattr(self._hub, name)


class Voyage:
    def __init__(self, devices: int, folder: Path, *, seed: int = 1, deaths: int = DEATHS) -> None:
        self.log = Log()
        self.now = ClockSimulator()
        self.fate = Fate()
        self.mail = MailSimulator()
        self.hubs = {name: HubSimulator(name) for name in ("north", "south")}
        self.outages = {name: Outage(hub, self.now) for name, hub in self.hubs.items()}
        self.store = SqlStore(f"sqlite:///{folder / 'imagedelta.db'}")
        # processes die here, the machine never loses power: nothing waits for the disk
        event.listen(self.store._db.engine, "connect", lambda connection, _: connection.execute(UNSYNCED))
        self.store.migrate()
        self.fate.rule_sql(self.store._db.engine)
        self.blobs = FolderBlobs(folder / "blobs", url="http://blobs", key="a2V5", now=self.now)
        self.host = FleetHost(folder, self._deps(), self.fate)
        self.chance = random.Random(seed)
        self.boats = {one: self._boat(number, one) for number, one in enumerate(_names(devices))}
        self.deaths = deaths
        self.set_id = ""
        self.ordered_at = self.now()
        self._applied: Counter[str] = Counter()

    def _deps(self) -> Deps:
        sealer = a_sealer()
        rule = self.fate.rule
        return Deps(
            settings=replace(load_settings(NOTHING_AHEAD), priorities_file=Path("no priorities")),
            store=self.store,
            blobs=rule(self.blobs),
            hubs={name: rule(outage) for name, outage in self.outages.items()},
            registries={},
            mailer=rule(self.mail),
            sealers={sealer.key_id: sealer},
            now=self.now,
        )

    def _boat(self, number: int, device_id: str) -> FleetBoat:
        """The first of each hundred are in trouble; every tenth is in hub south and some are a version behind."""
        hub, version = ("south" if number % 10 == 3 else "north"), (0 if number % 10 == 7 else 1)
        place = number % max(100, len(TROUBLES))
        trouble = TROUBLES[place] if place < len(TROUBLES) else ""
        images = {an_app(name).image_id: name for name in _references(version)}
        return FleetBoat(device_id, hub, {a_sealer().key_id: a_sealer().public_key}, images, trouble)

    # ------------------------------------------------------------ the voyage

    def sail(self, tell: Callable[[str], None] = lambda _: None) -> None:
        """Args:
            tell: Is told how far the voyage is, now and then.

        Raises: Twice; AssertionError when the set does not end.
        """
        with self.log.phase("register, enrol"):
            self._enrol()
        tell(f"{len(self.boats):,} devices are enrolled")
        with self.log.phase("order"):
            self._order()
        tell("ordered, planned and built")
        while not self._is_over():
            self.log.rounds += 1
            if self.log.rounds > _ROUNDS:
                raise AssertionError(f"the set is {self.the_set()['state']} after {_ROUNDS} rounds")
            self._round()
            if self.log.rounds % _TOLD_EACH == 0:
                tell(f"round {self.log.rounds}, {self._since()}: {self.the_set()['memberStates']}")
        for _ in range(12):  # the last mails, and the last twins
            self.now.forward(hours=1)
            with self.log.phase("timer"):
                self._through_deaths("tick", self.host.tick)

    # ------------------------------------------------------------ what is so

    def the_set(self) -> Any:
        return self.get(f"deployment-sets/{self.set_id}")

    def members(self) -> dict[str, Any]:
        return {one["deviceId"]: one for one in self.every(f"deployment-sets/{self.set_id}/members")}

    def events(self) -> int:
        """How many things have happened to the set so far."""
        return len(self.every(f"deployment-sets/{self.set_id}/events"))

    def get(self, path: str) -> Any:
        with self.fate.spared():
            return self.host.api.get(path)

    def every(self, path: str, **query: str) -> list[Any]:
        with self.fate.spared():
            return list(self.host.api.every(path, **query))

    def close(self) -> None:
        self.host.close()
        self.store.close()

    def _enrol(self) -> None:
        for version in (0, 1, 2):
            for reference in _references(version):
                self._register(reference)
        for device_id, boat in self.boats.items():
            self.hubs[boat.hub].add_device(device_id, RUNTIME, RECON)
            self.host.api.ask("PUT", f"devices/{device_id}", {"hub": boat.hub})
        self._deliver(boat.inventory() for boat in self.boats.values())

    def _register(self, reference: str) -> None:
        self.blobs.put("intake", reference.replace(":", "-"), [docker_save(an_app(reference))])
        request = RegisterImage(blob=f"intake/{reference.replace(':', '-')}", reference=reference)
        made = self.store.images.request_registration(request, "pipeline", self.now())
        self.host.begin(register_image(made.registration_id))

    def _order(self) -> None:
        body = {
            "name": "March",
            "owner": {"name": "Olga", "email": OWNER},
            "devices": {"ids": list(self.boats)},
            "manifest": a_manifest(_references(2)),
            "release": "device",
            "deadline": (self.now() + timedelta(days=2)).isoformat(),
        }
        self._threaten()
        answer = self._through_deaths(
            "order", lambda: self.host.ask("POST", "deployment-sets", body, **{"idempotency-key": "march"})
        )
        self.set_id = document(answer)["setId"]
        self.ordered_at = self.now()
        for name, (start, end) in _OUTAGES.items():
            self.outages[name].span = (self.ordered_at + start, self.ordered_at + end)
        for device_id, boat in self.boats.items():
            if boat.trouble in ("rebased", "skipped"):
                self._somebody_else_changes(device_id)

    def _somebody_else_changes(self, device_id: str) -> None:
        boat = self.boats[device_id]
        other = a_manifest([_FOREIGN])["modulesContent"]["$edgeAgent"]["properties.desired"]["modules"]
        self.hubs[boat.hub].change_by_somebody_else(device_id, other)

    def _round(self) -> None:
        """The timer fires, some devices have their link, people decide."""
        before = self._moved()
        self._threaten()
        with self.log.phase("timer"):
            self._through_deaths("tick", self.host.tick)
        with self.log.phase("devices"):
            messages = [message for boat in self._afloat() for message in self._of(boat)]
            self.log.messages += len(messages)
        with self.log.phase("messages"):
            self._deliver(messages)
        with self.log.phase("people"):
            self._decide()
        with self.log.phase("devices"):
            self._start_modules()
        self.now.forward(seconds=(_TICK if self._moved() != before or self._is_soon() else _QUIET).total_seconds())

    def _moved(self) -> tuple[int, ...]:
        return (self.log.messages, *(len(hub.applied) for hub in self.hubs.values()), len(self.mail.taken))

    def _is_soon(self) -> bool:
        return self.now() < self.ordered_at + timedelta(hours=4)

    def _afloat(self) -> list[FleetBoat]:
        """The devices whose link is up: a third of those that are not lost at sea."""
        away = {"gone"} if self._since() >= _BACK_AFTER else {"gone", "offline"}
        return [boat for boat in self.boats.values() if boat.trouble not in away and self.chance.random() < 1 / 3]

    def _of(self, boat: FleetBoat) -> list[HubMessage]:
        messages = boat.sail(self.blobs)
        if boat.held and self._since() > timedelta(hours=6):
            messages += boat.make_room()
            boat.trouble = "full disk, room made"
        if boat.trouble == "replaced" and len(boat.done) >= 2:
            messages.append(boat.be_replaced())
            boat.trouble = "replaced, new disk"
        return messages

    def _start_modules(self) -> None:
        """The devices whose deployment was written start it, when their link is up."""
        for hub in self.hubs.values():
            for device_id, _ in hub.applied[self._applied[hub.name] :]:
                boat = self.boats[device_id]
                run_modules(hub, device_id, lambda name, boat=boat: name == _FOREIGN or boat.runs(name))  # type: ignore[misc]
            self._applied[hub.name] = len(hub.applied)

    def _decide(self) -> None:
        """After some days an operator looks at what is left."""
        if self._since() < _DECIDED_AFTER:
            return
        for device_id, member in self.members().items():
            act = {"rebased": "rebase", "skipped": "skip", "gone": "exclude"}.get(self.boats[device_id].trouble)
            if act and member["state"] == ("conflict" if act != "exclude" else "in_transit"):
                path = f"deployment-sets/{self.set_id}/members/{device_id}/{act}"
                self._through_deaths("person", lambda path=path: self._ask_again(path))  # type: ignore[misc]

    def _ask_again(self, path: str) -> None:
        self.host.ask("POST", path, **{"idempotency-key": path})

    def _since(self) -> timedelta:
        return self.now() - self.ordered_at

    def _is_over(self) -> bool:
        return self.the_set()["state"] in _OVER

    # ------------------------------------------------------------ a host that dies

    def _threaten(self) -> None:
        """Let the host die somewhere in what comes."""
        if self.fate.deaths < self.deaths and not self.fate.is_doomed:
            self.fate.die_in(self.chance.randrange(1, len(self.boats) + 100))

    def _through_deaths(self, what: str, act: Callable[[], Any]) -> Any:
        """Do it again after each death, as clients, hubs and timers do."""
        while True:
            try:
                return act()
            except Crash:
                self.log.redone[what] += 1
                self.now.forward(minutes=3)
                self._revive()

    def _revive(self) -> None:
        while True:
            if self.chance.random() < 3 / 4:
                self._threaten()
            try:
                return self.host.revive()
            except Crash:
                self.log.redone["start"] += 1
                self.now.forward(minutes=3)

    def _deliver(self, messages: Iterable[HubMessage]) -> None:
        by_hub: dict[str, list[HubMessage]] = {name: [] for name in self.hubs}
        for message in messages:
            by_hub[self.boats[message.device_id or ""].hub].append(message)
        for hub, all_of_it in by_hub.items():
            for at in range(0, len(all_of_it), _BATCH):
                batch: Sequence[HubMessage] = all_of_it[at : at + _BATCH]
                self._through_deaths("messages", lambda hub=hub, batch=batch: self.host.deliver(hub, batch))  # type: ignore[misc]
        self._through_deaths("orchestrations", self.host.work)


def _names(devices: int) -> list[str]:
    return [f"ship-{number:05}" for number in range(devices)]


def _references(version: int) -> list[str]:
    return [f"app-{number}:{version}" for number in range(IMAGES)]
