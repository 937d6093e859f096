"""The last desired properties the cloud gave, kept on disk: a device that starts offline goes on by them."""

from __future__ import annotations

import logging

from pydantic import ValidationError

from contracts.messages import DesiredProperties, to_json
from edge_module.files import Files, open_folder, read_bounded, write_atomically
from edge_module.hub import Hub

FOLDER = "state"
_FILE = f"{FOLDER}/desired.json"
_MAX_BYTES = 1024 * 1024
log = logging.getLogger("imagedelta.twin")


class DesiredState:
    def __init__(self, files: Files) -> None:
        self._files = files
        open_folder(files, FOLDER)
        self.current = self._kept = self._load()
        self.fetched = False
        """Whether the hub has answered since the module started."""

    def fetch(self, hub: Hub) -> None:
        """Raises: DependencyError; ContentError when they break the contract (the old ones stay)."""
        fresh = hub.desired()
        changed, self.current = fresh != self.current, fresh  # in force at once, also when the disk is full
        self.fetched = True
        if changed:
            log.info("desired properties changed")
        if fresh != self._kept:
            write_atomically(self._files, _FILE, to_json(fresh))
            self._kept = fresh

    def _load(self) -> DesiredProperties:
        data = read_bounded(self._files, _FILE, _MAX_BYTES)
        try:
            return DesiredProperties.model_validate_json(data) if data else DesiredProperties()
        except ValidationError as error:
            log.error("kept desired properties cannot be read, the defaults hold: %s", error)
            return DesiredProperties()
