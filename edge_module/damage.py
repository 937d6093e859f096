"""Files of the module's own that were found damaged: moved out of the way, told, and never in the way of the work.

``damaged/<number>-<folder>_<name>`` and ``….reason.json`` beside it; what was made good in its place has the reason
alone. The newest few are kept for people. The reported properties name what is in the folder until somebody empties
it, whichever process put it there. A disk that takes no rename keeps the file where it is.

Source: docs/formats/device-store.md, section 9.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from dataclasses import asdict, dataclass

from edge_module.files import Files, move_durably, open_folder, read_bounded, remove_durably, write_atomically
from edge_module.set_aside import is_numbered, numbered
from imagedelta.errors import DependencyError
from imagedelta.printable import printable

FOLDER = "damaged"
MAX_FILES = 16
MAX_FILE_BYTES = 1024 * 1024
"""What is larger is removed: a huge file in the place of a small one would eat the room that images need."""
MAX_TOLD = 8
_MAX_TEXT = 200
_TRIES = 3
_MAX_REASON_BYTES = 4096
_REASON = ".reason.json"
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
        self._known: dict[str, Damage] = {}
        """By name in the folder, without suffix."""
        self._elsewhere: deque[Damage] = deque(maxlen=MAX_TOLD)
        """What this disk does not let us note in the folder."""
        self._disk: str | None = None
        try:
            if files.kind(FOLDER) not in (None, "folder"):
                remove_durably(files, FOLDER)
        except DependencyError as error:
            log.error("what stands in the place of folder %s cannot be removed: %s", FOLDER, error)

    def told(self) -> list[dict[str, str]]:
        """The last ones, oldest first, for the reported properties."""
        with self._lock:
            try:
                self._look()
            except DependencyError as error:
                log.debug("folder %s cannot be read: %s", FOLDER, error)
            known = [self._known[name] for name in sorted(self._known)]
            elsewhere = [each for each in self._elsewhere if each not in known]
            return [asdict(each) for each in [*known, *elsewhere][-MAX_TOLD:]]

    @property
    def disk(self) -> str | None:
        """Code of the last write of a state file; None when it went well."""
        return self._disk

    def disk_answered(self, error: DependencyError | None) -> None:
        """How the last write of a state file went."""
        self._disk = None if error is None else error.code

    def set_aside(self, name: str, problem: str, result: str) -> bool:
        """Move a damaged file out of the way and tell; returns whether it is out of the way.

        Args:
            result: What the module does without it.
        """
        log.error("%s: %s; %s", name, problem, result)
        damage = Damage(_short(name), _short(problem), _short(result))
        with self._lock:
            try:
                kept = self._next_name(name)
                self._move(name, kept)
            except DependencyError as error:
                log.error("%s cannot be moved out of the way: %s", name, error)
                self._note_elsewhere(damage)
                return False
            self._note(kept, damage)
        return True

    def note(self, name: str, problem: str, result: str) -> None:
        """Tell of damage that was made good in its place."""
        log.error("%s: %s; %s", name, problem, result)
        damage = Damage(_short(name), _short(problem), _short(result))
        with self._lock:
            try:
                self._look()
                if damage not in self._known.values():
                    self._note(self._next_name(name), damage)
            except DependencyError:
                self._note_elsewhere(damage)

    def open_folder(self, folder: str) -> None:
        """Make a folder of the module's own, whatever stands in its place."""
        try:
            in_the_way = self._files.kind(folder) not in (None, "folder")
        except DependencyError:
            in_the_way = False
        if in_the_way:
            self.set_aside(folder, "it is no folder", "an empty one takes its place")
        open_folder(self._files, folder)

    def _look(self) -> None:
        """What is in the folder now: another process may have put something there, or people taken it away."""
        names = self._names()
        self._known = {name: self._known.get(name) or self._read(name) for name in names}

    def _read(self, name: str) -> Damage:
        return _parse(read_bounded(self._files, f"{FOLDER}/{name}{_REASON}", _MAX_REASON_BYTES), name)

    def _move(self, name: str, kept: str) -> None:
        if self._files.kind(name) is None:
            return
        if (self._files.size(name) or 0) > MAX_FILE_BYTES:
            remove_durably(self._files, name)
        else:
            move_durably(self._files, name, f"{FOLDER}/{kept}")

    def _note(self, kept: str, damage: Damage) -> None:
        self._known[kept] = damage
        try:
            write_atomically(self._files, f"{FOLDER}/{kept}{_REASON}", json.dumps(asdict(damage)).encode())
            for old in self._names()[:-MAX_FILES]:
                self._files.remove(f"{FOLDER}/{old}{_REASON}")
                remove_durably(self._files, f"{FOLDER}/{old}")
        except DependencyError as error:
            log.warning("the reason of %s is not kept: %s", kept, error)
            self._note_elsewhere(damage)

    def _note_elsewhere(self, damage: Damage) -> None:
        if damage not in self._elsewhere:
            self._elsewhere.append(damage)

    def _names(self) -> list[str]:
        found = [name for name in self._files.list(FOLDER) if is_numbered(name) and not name.endswith(".tmp")]
        return sorted({name.removesuffix(_REASON) for name in found})

    def _next_name(self, name: str) -> str:
        return numbered(name.replace("/", "_")[-150:], self._names())


def read_own(files: Files, name: str, limit: int) -> bytes | None:
    """The bytes of a small file of the module's own; None when there is none, or it is larger than ``limit``.

    One that cannot be read, though asked again, is moved out of the way and counts as missing: what it holds is made
    again. So does something else in its place.

    Raises: DependencyError when it cannot be moved either: then it is not the file, but the disk.
    """
    for _ in range(_TRIES):
        try:
            if files.kind(name) in (None, "file"):
                return read_bounded(files, name, limit)
            failure = DependencyError(f"{name}: it is no file", code="disk.failing")
            break
        except DependencyError as error:
            failure = error
    if not DamageLog(files).set_aside(name, str(failure), "what it holds is made again"):
        raise failure
    return None


def _parse(reason: bytes | None, name: str) -> Damage:
    try:
        told = json.loads(reason or b"")
        return Damage(_short(str(told["file"])), _short(str(told["problem"])), _short(str(told["result"])))
    except (ValueError, TypeError, KeyError, RecursionError):
        return Damage(_short(name), "it is damaged", "the module goes on without it")


def _short(text: str) -> str:
    return printable(text)[:_MAX_TEXT]
