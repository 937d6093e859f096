"""Files of the module's own that were found damaged: moved out of the way, told, and never in the way of the work.

``damaged/<number>-<folder>_<name>`` and ``….reason.json`` beside it. The newest few are kept for people; the reported
properties name them until somebody empties the folder. A disk that takes no rename keeps the file where it is.

Source: docs/formats/device-store.md, section 9.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections import deque
from dataclasses import asdict, dataclass

from edge_module.files import Files, move_durably, open_folder, read_bounded, remove_durably, write_atomically
from imagedelta.errors import DependencyError
from imagedelta.printable import printable

FOLDER = "damaged"
MAX_FILES = 16
MAX_FILE_BYTES = 1024 * 1024
"""What is larger is removed: a huge file in the place of a small one would eat the room that images need."""
MAX_TOLD = 8
_MAX_TEXT = 200
_REASON = ".reason.json"
_NAME = re.compile(r"(\d{6})-.*", re.DOTALL)
log = logging.getLogger("imagedelta.damage")


@dataclass(frozen=True)
class Damage:
    file: str
    problem: str
    result: str
    """What the module does without it."""


class DamageLog:
    """Shared by the parts; none of its methods raises."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._told: deque[Damage] = deque(maxlen=MAX_TOLD)
        self._disk: str | None = None
        try:
            self._begin()
        except DependencyError as error:
            log.error("folder %s cannot be read: %s", FOLDER, error)

    def told(self) -> list[dict[str, str]]:
        """The last ones, oldest first, for the reported properties."""
        return [asdict(each) for each in tuple(self._told)]

    @property
    def disk(self) -> str | None:
        """Code of the last write of a state file; None when it went well."""
        return self._disk

    def disk_answered(self, error: DependencyError | None) -> None:
        """How the last write of a state file went."""
        self._disk = None if error is None else error.code

    def set_aside(self, name: str, problem: str, result: str) -> bool:
        """Move a damaged file out of the way and tell; returns whether it is out of the way."""
        self.note(name, problem, result)
        with self._lock:
            try:
                self._keep(name, Damage(name, problem, result))
            except DependencyError as error:
                log.error("%s cannot be moved out of the way: %s", name, error)
                return False
        return True

    def note(self, name: str, problem: str, result: str) -> None:
        """Tell of damage that was repaired in place."""
        damage = Damage(_short(name), _short(problem), _short(result))
        log.error("%s: %s; %s", name, problem, result)
        with self._lock:
            if damage not in self._told:
                self._told.append(damage)

    def open_folder(self, folder: str) -> None:
        """Make a folder of the module's own, whatever stands in its place."""
        try:
            in_the_way = self._files.kind(folder) not in (None, "folder")
        except DependencyError:
            in_the_way = False
        if in_the_way:
            self.set_aside(folder, "it is no folder", "an empty one takes its place")
        open_folder(self._files, folder)

    def _begin(self) -> None:
        if self._files.kind(FOLDER) not in (None, "folder"):
            remove_durably(self._files, FOLDER)
        for name in self._kept():
            reason = read_bounded(self._files, f"{FOLDER}/{name}{_REASON}", 4096)
            self._told.append(_parse(reason, name))

    def _keep(self, name: str, damage: Damage) -> None:
        if self._files.kind(name) is None:
            return
        size = self._files.size(name)
        if size is not None and size > MAX_FILE_BYTES:
            remove_durably(self._files, name)
            return
        kept = f"{FOLDER}/{self._next_number():06d}-{name.replace('/', '_')[-150:]}"
        move_durably(self._files, name, kept)
        for old in self._kept()[:-MAX_FILES]:
            self._files.remove(f"{FOLDER}/{old}{_REASON}")
            remove_durably(self._files, f"{FOLDER}/{old}")
        write_atomically(self._files, kept + _REASON, json.dumps(asdict(damage)).encode())

    def _kept(self) -> list[str]:
        return [name for name in self._files.list(FOLDER) if _NAME.fullmatch(name) and not name.endswith(_REASON)]

    def _next_number(self) -> int:
        numbers = [int(found[1]) for name in self._files.list(FOLDER) if (found := _NAME.fullmatch(name))]
        return max(numbers, default=0) % 999_999 + 1


def _parse(reason: bytes | None, name: str) -> Damage:
    try:
        told = json.loads(reason or b"")
        return Damage(_short(str(told["file"])), _short(str(told["problem"])), _short(str(told["result"])))
    except (ValueError, TypeError, KeyError, RecursionError):
        return Damage(_short(name), "damaged", "it was moved to the folder damaged")


def _short(text: str) -> str:
    return printable(text)[:_MAX_TEXT]
