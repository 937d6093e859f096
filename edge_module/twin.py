"""The last desired properties the cloud gave, kept on disk: a device that starts offline goes on by them.

They hold as soon as they are here. A disk that takes no writes gets them later: it must not keep a device from being
paused, or from a fresh grant.
"""

from __future__ import annotations

import logging
import threading

from pydantic import TypeAdapter

from contracts.messages import DesiredProperties
from edge_module.damage import DamageLog
from edge_module.files import Files
from edge_module.hub import Hub
from edge_module.state_files import StateFiles
from imagedelta.errors import ContentError, DependencyError

FOLDER = "state"
_NAME = "desired.json"
_MAX_BYTES = 1024 * 1024
log = logging.getLogger("imagedelta.twin")


class DesiredState:
    def __init__(self, files: Files, damage: DamageLog) -> None:
        self._lock = threading.Lock()
        self._kept = StateFiles(files, FOLDER, TypeAdapter(DesiredProperties), _MAX_BYTES, damage)
        self.current = self._load()
        """Of the hub's last answer, in this run or an earlier one. Replaced whole, so every thread may read it."""
        self._saved: DesiredProperties | None = self.current
        self.fetches = 0
        """How often the hub has answered since the module started."""

    @property
    def fetched(self) -> bool:
        return self.fetches > 0

    def fetch(self, hub: Hub) -> None:
        """Raises: DependencyError; ContentError when they break the contract (the old ones stay)."""
        fresh = hub.desired()
        with self._lock:
            if fresh != self.current:
                log.info("desired properties changed")
            self.current = fresh
            self.fetches += 1
            self._save()

    def _save(self) -> None:
        if self._saved == self.current:
            return
        try:
            self._kept.write(_NAME, self.current)
        except (DependencyError, ContentError) as error:
            log.error("desired properties hold, but cannot be kept: %s", error)
        else:
            self._saved = self.current

    def _load(self) -> DesiredProperties:
        try:
            return self._kept.read(_NAME, without="the defaults hold until the hub answers") or DesiredProperties()
        except DependencyError as error:
            log.error("kept desired properties cannot be read, the defaults hold: %s", error)
            return DesiredProperties()
