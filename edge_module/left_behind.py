"""What was fetched of bundles that nobody asks for now: kept, for the same patch may come again.

A list of the outbox may miss a bundle for a while, a bundle may be withdrawn and its patch come back under another
attempt. So a part is forgotten only when its image is here, when it was asked for by nobody for a week of running, when
more than 32 others were left after it, or when somebody needs its room: then the one that was left first goes first.

Everything in ``downloads`` belongs to a stem: the name of a bundle, or the digest of a patch. Any thread may ask.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from edge_module.files import Files
from edge_module.part_file import FOLDER
from imagedelta.errors import DependencyError

KEPT_SECONDS = 7 * 86_400.0
MAX_KEPT = 32
log = logging.getLogger("imagedelta.downloads")


class LeftBehind:
    def __init__(self, files: Files, monotonic: Callable[[], float]) -> None:
        """Whatever is in the folder counts as left behind now, until it is claimed."""
        self._files = files
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._since = dict.fromkeys(self._stems(), monotonic())

    def claim(self, stem: str) -> None:
        """Somebody works on it: it is not forgotten until it is left."""
        with self._lock:
            self._since.pop(stem, None)

    def leave(self, stem: str) -> None:
        with self._lock:
            self._since.setdefault(stem, self._monotonic())

    def stems(self) -> list[str]:
        with self._lock:
            return list(self._since)

    def forget(self, stem: str) -> None:
        """It is not needed any more."""
        with self._lock:
            self._since.setdefault(stem, self._monotonic())
            self._remove(stem)

    def forget_old(self) -> None:
        with self._lock:
            now = self._monotonic()
            for number, (stem, since) in enumerate(reversed(list(self._since.items()))):
                if number >= MAX_KEPT or now - since >= KEPT_SECONDS:
                    log.info("%s is forgotten: nobody has asked for it for a long time", stem)
                    self._remove(stem)

    def make_room(self, needed: int, free_bytes: Callable[[], int]) -> int:
        """Forget, first what was left first, until ``needed`` bytes are free or none is left; return what is free."""
        with self._lock:
            for stem in list(self._since):
                if free_bytes() >= needed:
                    break
                log.info("what was fetched of %s is removed: its room is needed", stem)
                self._remove(stem)
        return free_bytes()

    def _remove(self, stem: str) -> None:
        """It stays known until the disk has let go of it: then it is tried again with the others."""
        self._since.setdefault(stem, self._monotonic())
        try:
            for file in self._files.list(FOLDER):
                if _stem(file) == stem:
                    self._files.remove(f"{FOLDER}/{file}")
            self._files.sync_folder(FOLDER)
        except DependencyError as error:
            log.warning("%s is not removed yet: %s", stem, error)
            return
        self._since.pop(stem)

    def _stems(self) -> list[str]:
        try:
            return [_stem(file) for file in self._files.list(FOLDER)]
        except DependencyError as error:  # a later start sees them
            log.error("what is in %s is not known: %s", FOLDER, error)
            return []


def _stem(file: str) -> str:
    return file.removesuffix(".tmp").rpartition(".")[0]
