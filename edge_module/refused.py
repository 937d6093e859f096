"""Files that the device refused, kept aside for people, each with the reason beside it.

``refused/<number>-<name>`` and ``….reason.txt``. The newest few are kept, and as long as nothing needs their space.
Moved back into the inbox, a file is judged anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

from edge_module.files import Files, move_durably, open_folder, remove_durably, write_atomically
from edge_module.set_aside import is_numbered, numbered
from imagedelta.errors import DependencyError, ImageDeltaError
from imagedelta.printable import printable

FOLDER = "refused"
MAX_FILES = 8
_REASON = ".reason.txt"
_MAX_NAME_BYTES = 200
log = logging.getLogger("imagedelta.refused")


class RefusedFiles:
    def __init__(self, files: Files) -> None:
        self._files = files
        with suppress(DependencyError):  # nothing here is worth not starting for
            self._begin()

    def _begin(self) -> None:
        files = self._files
        open_folder(files, FOLDER)
        for name in files.list(FOLDER):
            if name.endswith(_REASON) and files.size(f"{FOLDER}/{name.removesuffix(_REASON)}") is None:
                files.remove(f"{FOLDER}/{name}")

    def keep(self, path: str, error: ImageDeltaError) -> None:
        """Move a file here and say why. One that cannot be moved is removed: it must not be judged for ever."""
        name = f"{FOLDER}/{numbered(_short(path.rpartition('/')[2]), self._files.list(FOLDER))}"
        try:
            with suppress(DependencyError):  # a full disk still takes the file, which needs no room
                write_atomically(self._files, name + _REASON, _reason(error))
            move_durably(self._files, path, name)
            log.info("%s is kept as %s", path, name)
        except DependencyError as failed:
            log.warning("%s cannot be kept aside, so it is removed: %s", path, failed)
            remove_durably(self._files, path)
        for old in self._kept()[:-MAX_FILES]:
            self._remove(old)

    def make_room(self, needed: int, free_bytes: Callable[[], int]) -> int:
        """Give up files, oldest first, until ``needed`` bytes are free or none is left; return what is free."""
        with suppress(DependencyError):
            while free_bytes() < needed and (kept := self._kept()):
                log.info("%s/%s is removed: its room is needed", FOLDER, kept[0])
                self._remove(kept[0])
        return free_bytes()

    def _kept(self) -> list[str]:
        return [name for name in self._files.list(FOLDER) if is_numbered(name) and not name.endswith(_REASON)]

    def _remove(self, name: str) -> None:
        self._files.remove(f"{FOLDER}/{name}{_REASON}")
        remove_durably(self._files, f"{FOLDER}/{name}")


def _short(name: str) -> str:
    """The end of a name, so that number and suffix fit into what a file system takes."""
    return name.encode(errors="surrogateescape")[-_MAX_NAME_BYTES:].decode(errors="ignore")


def _reason(error: ImageDeltaError) -> bytes:
    return f"{printable(str(error))}\ncode: {error.code}\nwhat to do: {error.remedy}\n".encode()
