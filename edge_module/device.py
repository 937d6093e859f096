"""The module's parts put together: they share the journal, the outbox and what the cloud wants, and little else."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress

from edge_module.admission import Rules
from edge_module.allowance import Allowance
from edge_module.apply import Applier
from edge_module.apply_part import ApplyPart
from edge_module.backoff import Backoff
from edge_module.beside_docker import BesideDocker
from edge_module.brake import Brake
from edge_module.bundle_source import FORMS
from edge_module.carried import Carried
from edge_module.damage import DamageLog
from edge_module.downloader import Downloader
from edge_module.fetching import Fetching
from edge_module.housekeeping import Housekeeper, Surroundings
from edge_module.hub_part import HubPart
from edge_module.inbox import Inbox, Patience
from edge_module.intake import Intake
from edge_module.inventory import Inventories
from edge_module.journal import Journal
from edge_module.judge import Judge, LostDownloads
from edge_module.link_part import LinkPart
from edge_module.outbox import Outbox
from edge_module.parts import Part, PartThread
from edge_module.ports import Ports
from edge_module.refused import RefusedFiles
from edge_module.reporting import Reporter
from edge_module.settings import Settings
from edge_module.state import ModuleState
from edge_module.troubles import Troubles
from edge_module.twin import DesiredState
from imagedelta.errors import DependencyError

_STOP_SECONDS = 5.0
_WATCH_SECONDS = 0.5
log = logging.getLogger("imagedelta.device")


class Device:
    def __init__(self, settings: Settings, ports: Ports) -> None:
        files, engine, monotonic = ports.files, ports.engine, ports.monotonic
        self._rebuilds = ports.rebuilds
        self._alive = ports.alive
        self._close_hub = ports.hub.close
        damage = ports.damage or DamageLog(files)
        self._desired = desired = DesiredState(files, damage)
        self._outbox = Outbox(files, Backoff(), monotonic, damage)
        self._brake = brake = Brake(files, desired)
        troubles = Troubles(ports.now)
        journal = Journal(files, damage)
        reporter = Reporter(journal, self._outbox)
        rules = Rules(ports.hub.device_id, settings.platforms, settings.memory_bytes)
        forms = FORMS if settings.shared_bundles else ()
        self._inventories = Inventories(journal, reporter, engine, rules, ports.trusted, forms, monotonic)
        changed = self._inventories.make_due
        intake = Intake(journal, reporter, engine, rules, ports.trusted, changed)
        refused = RefusedFiles(files)
        fetching = Fetching(files, intake, reporter, Allowance(settings.link, monotonic, ports.now), monotonic)
        downloader = Downloader(files, journal, intake, refused, fetching, troubles, settings.reserve_bytes)
        applier = Applier(ports.rebuilds, engine, rules)
        carried = Carried(engine, intake, rules, changed)
        judge = Judge(files, intake, carried, applier, LostDownloads(monotonic), reporter)
        patience = Patience(monotonic, settings.stable_seconds, settings.incomplete_seconds)
        inbox = Inbox(files, journal, judge, refused, troubles, patience)
        state = ModuleState(
            files,
            engine,
            desired,
            brake,
            downloader,
            inbox,
            intake,
            troubles,
            damage,
            settings.reserve_bytes,
            monotonic,
        )
        poll = settings.poll_seconds
        self._link = link = LinkPart(downloader, desired, brake, ports.open_container, troubles, poll, monotonic)
        around = Surroundings(link.images_named, changed, monotonic)
        housekeeper = Housekeeper(files, engine, journal, desired, around, remove_images=settings.remove_images)
        chores = {"housekeeping": housekeeper.step}
        if ports.docker is not None:
            chores["docker store"] = BesideDocker(ports.docker, reporter.images_made, changed, monotonic).step
        self._apply = ApplyPart(engine, intake, inbox, chores, desired, brake, troubles, monotonic)
        self._hub = HubPart(
            ports.hub, desired, reporter, self._outbox, self._inventories, state.now, troubles, poll, monotonic
        )
        self._parts: tuple[Part, ...] = (self._apply, self._link, self._hub)
        with suppress(DependencyError):  # the disk is full: it is tried again with every step of the hub part
            reporter.announce_pending()

    def turn(self) -> float:
        """One step of every part, one after the other; how many seconds may pass before the next turn."""
        return min([part.step() for part in self._parts])

    def run(self, stop: threading.Event, *, until_idle: bool = False) -> None:
        """A thread for each part, until ``stop`` is set or, if asked for, everything is done and told."""
        threads = [PartThread(part, stop, self._alive) for part in self._parts]
        try:
            for thread in threads:
                thread.start()
            while not stop.wait(_WATCH_SECONDS):
                if self._brake.is_on:
                    self._rebuilds.stop()
                if until_idle and self.is_idle():
                    break
        finally:
            stop.set()
            self._end(threads)

    def stop(self) -> None:
        """After turns: keep what the link has brought so far; anything else is on disk already."""
        for part in self._parts:
            part.stop()

    def is_idle(self) -> bool:
        """Everything the cloud has asked for so far is done and told.

        Asked in the order in which a bundle moves on, so that none slips through between two questions.
        """
        try:
            return (
                self._desired.fetched
                and self._link.is_idle
                and self._apply.is_idle
                and not self._inventories.is_due(self._desired.current)
                and len(self._outbox) == 0
            )
        except DependencyError:  # the disk does not say what is there
            return False

    def _end(self, threads: list[PartThread]) -> None:
        deadline = time.monotonic() + _STOP_SECONDS
        self._close_hub()  # an answer may be long in coming, and what has to be said is on the disk
        for thread in threads:
            while not thread.join(min(deadline, time.monotonic() + _WATCH_SECONDS)) and time.monotonic() < deadline:
                self._rebuilds.stop()  # one may have begun a moment ago
        hanging = [thread.name for thread in threads if thread.is_alive]
        if hanging:
            log.warning("%s did not end in %.0f s", " and ".join(hanging), _STOP_SECONDS)
