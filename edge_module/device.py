"""The module's parts put together, and the one loop they take turns in.

A turn is short: the twin and the outbox container when they are due, waiting messages, at most one bundle of
the inbox, about a second of download. Nothing transient ends the loop; each part says what it waits for and
is asked again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from contracts.messages import DesiredProperties, OutboxAccess, PatchAccess
from edge_module.admission import Rules
from edge_module.apply import Applier
from edge_module.backoff import Backoff
from edge_module.bundle_source import FORMS, OpenContainer, Shore
from edge_module.carried import Carried
from edge_module.downloader import Downloader
from edge_module.engines import Engine
from edge_module.files import Files
from edge_module.hub import Envelope, Hub
from edge_module.inbox import Inbox, Patience
from edge_module.intake import Intake
from edge_module.inventory import MAX_RESULTS, make_inventory
from edge_module.journal import Journal
from edge_module.outbox import Outbox
from edge_module.rebuild import Rebuilder
from edge_module.refused import RefusedFiles
from edge_module.reporting import Reporter
from edge_module.settings import Settings
from edge_module.twin import DesiredState
from imagedelta.bundles import PublicKey
from imagedelta.errors import ImageDeltaError

PROGRESS_SECONDS = 15.0
"""Progress in the reported properties is news at most this often: it shares the link with the bundles."""
log = logging.getLogger("imagedelta.device")


class Device:
    def __init__(
        self,
        settings: Settings,
        files: Files,
        engine: Engine,
        hub: Hub,
        trusted: Mapping[str, PublicKey],
        open_container: OpenContainer,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._hub = hub
        self._trusted = trusted
        self._open_container = open_container
        self._monotonic = monotonic
        engine.clean()
        self._desired = DesiredState(files)
        self._journal = Journal(files)
        self._outbox = Outbox(files, Backoff(), monotonic)
        self._reporter = Reporter(self._journal, self._outbox)
        rules = Rules(hub.device_id, settings.platforms, settings.memory_bytes)
        self._intake = Intake(self._journal, self._reporter, engine, rules, trusted, self._images_changed)
        refused = RefusedFiles(files)
        rebuilder = Rebuilder(files, engine, refused, settings.memory_bytes, settings.reserve_bytes)
        self._downloader = Downloader(
            files, self._journal, self._reporter, self._intake, refused, monotonic, settings.reserve_bytes
        )
        self._inbox = Inbox(
            files,
            self._journal,
            self._reporter,
            self._intake,
            Applier(rebuilder, engine, self._reporter, self._intake),
            Carried(engine, rebuilder, self._intake, rules, self._images_changed),
            refused,
            Patience(monotonic, settings.stable_seconds, settings.incomplete_seconds),
        )
        self._next_poll = 0.0
        self._poll_failures = Backoff(1.0, 60.0)
        self._listed = False
        self._access: tuple[OutboxAccess, PatchAccess | None] | None = None
        self._shore: Shore | None = None
        self._inventory_due = 0.0
        self._progress: dict[str, object] = {}
        self._next_progress = 0.0
        self._reporter.announce_pending()

    def turn(self) -> bool:
        """One turn of everything; returns whether there was anything to do, so that the next may follow at once."""
        desired = self._desired.current
        self._attempt(self._poll)
        busy = False
        if desired.paused:
            self._attempt(self._pause)
        else:
            busy = self._attempt(lambda: self._inbox.step(desired)) or busy
            shore = self._shore
            if shore is not None:
                busy = self._attempt(lambda: self._downloader.step(shore, desired)) or busy
        self._attempt(self._send_inventory)
        self._attempt(self._flush)
        self._attempt(self._send_progress)
        return busy

    def is_idle(self) -> bool:
        """Everything the cloud has asked for so far is done and told."""
        waiting = 0 if self._desired.current.paused else self._downloader.waiting + self._inbox.waiting
        return self._desired.fetched and self._listed and waiting == 0 and len(self._outbox) == 0

    def stop(self) -> None:
        """Keep what the link has brought so far; anything else is on disk already."""
        self._attempt(self._pause)

    def _attempt(self, part: Callable[[], bool]) -> bool:
        """A part that fails waits for its next turn; the others go on."""
        try:
            return part()
        except ImageDeltaError as error:
            log.warning("%s (%s)", error, error.code)
        except Exception:
            log.exception("a part of the module failed in a way nobody foresaw")
        return False

    def _poll(self) -> bool:
        """Twin and outbox container, every pollEverySeconds; sooner after a failure."""
        if self._monotonic() < self._next_poll:
            return False
        # Each on its own: the outbox may answer while the hub does not, and its access is kept on disk.
        fetched = self._attempt(self._fetch_desired)
        answered = self._attempt(self._list_outbox) and fetched
        pause = self._poll_seconds(self._desired.current)
        if answered:
            self._poll_failures.succeeded()
        else:
            pause = min(pause, self._poll_failures.failed())
        self._next_poll = self._monotonic() + pause
        return True

    def _fetch_desired(self) -> bool:
        self._desired.fetch(self._hub)
        return True

    def _poll_seconds(self, desired: DesiredProperties) -> float:
        given = self._settings.poll_seconds
        return float(desired.poll_every_seconds) if given is None else given

    def _list_outbox(self) -> bool:
        desired = self._desired.current
        if desired.outbox is None:
            self._shore, self._access = None, None
        else:
            access = (desired.outbox, desired.patches)
            if access != self._access or self._shore is None:
                self._shore, self._access = Shore(self._open_container, *access), access
            if not desired.paused:
                self._downloader.refresh(self._shore)
        self._listed = True
        return True

    def _images_changed(self) -> None:
        self._inventory_due = self._monotonic()

    def _send_inventory(self) -> bool:
        desired = self._desired.current
        resync = desired.resync != self._journal.counters.resync
        if self._monotonic() < self._inventory_due and not resync:
            return False
        self._outbox.put(self._inventory(desired))
        self._inventory_due = self._monotonic() + desired.inventory_every_seconds
        if resync:
            self._journal.see_resync(desired.resync)
        return True

    def _inventory(self, desired: DesiredProperties) -> Envelope:
        memory_bytes = min(self._settings.memory_bytes, desired.memory_bytes)
        forms = FORMS if self._settings.shared_bundles else ()
        results = self._reporter.last_results(MAX_RESULTS)
        sequence = self._journal.next_inventory()
        return make_inventory(
            self._engine, sequence, self._settings.platforms, memory_bytes, self._trusted, forms, results
        )

    def _flush(self) -> bool:
        return self._outbox.flush(self._hub)

    def _send_progress(self) -> bool:
        progress = self._progress_now()
        urgent = any(progress[key] != self._progress.get(key) for key in ("refusals", "paused"))
        if progress == self._progress or (self._monotonic() < self._next_progress and not urgent):
            return False
        self._next_progress = self._monotonic() + PROGRESS_SECONDS
        self._hub.report_properties(progress)
        self._progress = progress
        return True

    def _progress_now(self) -> dict[str, object]:
        """A key that has nothing to say is None, which deletes it in the twin."""
        return {
            "engine": self._engine.name,
            "paused": self._desired.current.paused,
            "download": self._downloader.progress(),
            "waiting": {"outbox": self._downloader.waiting, "inbox": self._inbox.waiting},
            "refusals": self._intake.refusals,
        }

    def _pause(self) -> bool:
        self._downloader.pause()
        return True
