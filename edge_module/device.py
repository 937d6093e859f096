"""The module's parts put together: they share the journal, the outbox and what the cloud wants, and little else."""

from __future__ import annotations

import logging
import threading
import time

from edge_module.admission import Rules
from edge_module.apply import Applier
from edge_module.apply_part import ApplyPart
from edge_module.backoff import Backoff
from edge_module.bundle_source import FORMS
from edge_module.carried import Carried
from edge_module.damage import DamageLog
from edge_module.downloader import Downloader
from edge_module.hub_part import HubPart
from edge_module.inbox import Inbox, Patience
from edge_module.intake import Intake
from edge_module.inventory import Inventories
from edge_module.journal import Journal
from edge_module.link_part import LinkPart
from edge_module.outbox import Outbox
from edge_module.parts import Part, PartThread
from edge_module.ports import Ports
from edge_module.refused import RefusedFiles
from edge_module.reporting import Reporter
from edge_module.settings import Settings
from edge_module.twin import DesiredState

_STOP_SECONDS = 5.0
_WATCH_SECONDS = 0.5
log = logging.getLogger("imagedelta.device")


class Device:
    def __init__(self, settings: Settings, ports: Ports) -> None:
        files, engine, monotonic = ports.files, ports.engine, ports.monotonic
        engine.clean()
        self._engine = engine
        self._rebuilds = ports.rebuilds
        self._damage = damage = DamageLog(files)
        self._desired = DesiredState(files, damage)
        journal = Journal(files, damage)
        self._outbox = Outbox(files, Backoff(), monotonic, damage)
        reporter = Reporter(journal, self._outbox)
        rules = Rules(ports.hub.device_id, settings.platforms, settings.memory_bytes)
        forms = FORMS if settings.shared_bundles else ()
        self._inventories = Inventories(journal, reporter, engine, rules, ports.trusted, forms, monotonic)
        changed = self._inventories.make_due
        self._intake = Intake(journal, reporter, engine, rules, ports.trusted, changed)
        refused = RefusedFiles(files)
        self._downloader = Downloader(
            files, journal, reporter, self._intake, refused, monotonic, settings.reserve_bytes
        )
        self._inbox = Inbox(
            files,
            journal,
            reporter,
            self._intake,
            Applier(ports.rebuilds, engine, reporter, self._intake, rules),
            Carried(ports.rebuilds, engine, self._intake, rules, changed),
            refused,
            Patience(monotonic, settings.stable_seconds, settings.incomplete_seconds),
        )
        poll = settings.poll_seconds
        self._hub_part = HubPart(
            ports.hub, self._desired, self._outbox, self._inventories, self._progress, poll, monotonic
        )
        self._link_part = LinkPart(self._downloader, self._desired, ports.open_container, poll, monotonic)
        self._apply_part = ApplyPart(self._inbox, self._desired, monotonic)
        self._parts: tuple[Part, ...] = (self._apply_part, self._link_part, self._hub_part)
        reporter.announce_pending()

    def turn(self) -> float:
        """One step of every part, one after the other; how many seconds may pass before the next turn."""
        return min([part.step() for part in self._parts])

    def run(self, stop: threading.Event, *, until_idle: bool = False) -> None:
        """A thread for each part, until ``stop`` is set or, if asked for, everything is done and told."""
        threads = [PartThread(part, stop) for part in self._parts]
        try:
            for thread in threads:
                thread.start()
            while not stop.wait(_WATCH_SECONDS):
                if until_idle and self.is_idle():
                    break
        finally:
            stop.set()
            self._rebuilds.stop()
            deadline = time.monotonic() + _STOP_SECONDS
            hanging = [thread.name for thread in threads if not thread.join(deadline)]
            if hanging:
                log.warning("%s did not end in %.0f s", " and ".join(hanging), _STOP_SECONDS)

    def stop(self) -> None:
        """After turns: keep what the link has brought so far; anything else is on disk already."""
        for part in self._parts:
            part.stop()

    def is_idle(self) -> bool:
        """Everything the cloud has asked for so far is done and told.

        Asked in the order in which a bundle moves on, so that none slips through between two questions.
        """
        return (
            self._desired.fetched
            and self._link_part.is_idle
            and self._apply_part.is_idle
            and not self._inventories.is_due(self._desired.current)
            and len(self._outbox) == 0
        )

    def _progress(self) -> dict[str, object]:
        """A key that has nothing to say is None, which deletes it in the twin."""
        return {
            "engine": self._engine.name,
            "paused": self._desired.current.paused,
            "download": self._downloader.progress(),
            "waiting": {"outbox": self._downloader.waiting, "inbox": self._inbox.waiting},
            "refusals": self._intake.refusals,
            "damage": self._damage.told() or None,
            "disk": self._damage.disk,
        }
