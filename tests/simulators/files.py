"""A POSIX file system in memory that tells volatile from durable, and whose power can be cut.

Counts every operation that changes something and raises PowerCut at the n-th; from then on every operation
raises, as a dead process does none. ``reboot`` then decides what the disk kept of what was not synced:

- ``dropped``: nothing. File data counts once its writer was synced, an entry once its folder was synced.
- ``kept``: everything.
- ``torn``: data of unsynced files is cut at a random length, sometimes filled up with zeros; of unsynced
  folder changes a random prefix survives (in order, as a journaling file system keeps them).
"""

from __future__ import annotations

import io
import random
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import BinaryIO, Literal

from edge_module.files import Stamp
from imagedelta.errors import DependencyError

Mode = Literal["dropped", "kept", "torn"]
MODES: tuple[Mode, ...] = ("dropped", "kept", "torn")


class PowerCut(BaseException):
    """Not an Exception: nothing that handles errors may handle this one."""


@dataclass(eq=False)
class _Inode:
    data: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    changes: int = 0
    """Instead of a time."""


@dataclass
class _Change:
    """A change of one entry that its folder's sync makes durable; ``inode`` None removes it."""

    folder: str
    name: str
    inode: _Inode | None


class FileSystemSimulator:
    def __init__(self, capacity: int = 1 << 40) -> None:
        self.operations = 0
        self.log: list[str] = []
        self.capacity = capacity
        self.promise_free: int | None = None
        self._cut_at: int | None = None
        self._dead = False
        self._live: dict[str, dict[str, _Inode]] = {".": {}}
        self._durable: dict[str, dict[str, _Inode]] = {".": {}}
        self._pending: list[_Change] = []

    # What tests do to it.

    def cut_power_at(self, operation: int) -> None:
        """The power fails instead of the ``operation``-th changing operation from now on, counted from 1."""
        self._cut_at = self.operations + operation

    def restart(self) -> None:
        """Only the process died: the disk's cache lives, and what was not synced is still not synced."""
        self._dead, self._cut_at = False, None

    def reboot(self, mode: Mode, seed: int = 0) -> None:
        chance = random.Random(seed)
        if mode == "dropped":
            self._live = {folder: dict(entries) for folder, entries in self._durable.items()}
        elif mode == "torn":
            self._tear_folders(chance)
        for inode in self._inodes():
            if mode == "dropped":
                inode.data = bytearray(inode.durable)
            elif mode == "torn":
                _tear(inode, chance)
            inode.durable = bytes(inode.data)
        self._durable = {folder: dict(entries) for folder, entries in self._live.items()}
        self._pending = []
        self._dead, self._cut_at = False, None

    def files(self) -> dict[str, bytes]:
        """Every file by its whole name: what a test asserts on."""
        return {
            str(PurePosixPath(folder, name)): bytes(inode.data)
            for folder, entries in self._live.items()
            for name, inode in entries.items()
        }

    def put(self, name: str, data: bytes) -> None:
        """A file that something outside the module wrote; durable, not counted."""
        inode = _Inode(bytearray(data), bytes(data))
        folder, own_name = _split(name)
        known = self._live.get(folder, {}).get(own_name)
        inode.changes = known.changes + 1 if known else 0
        for view in (self._live, self._durable):
            view.setdefault(folder, {})[own_name] = inode

    # The file port.

    def create(self, name: str) -> SimulatedWriter:
        self._operation(f"create {name}")
        return self._open_writer(name, 0)

    def append(self, name: str, keep: int) -> SimulatedWriter:
        self._operation(f"append {name} after {keep}")
        return self._open_writer(name, keep)

    def open(self, name: str) -> BinaryIO:
        self._alive()
        inode = self._find(name)
        if inode is None:
            raise FileNotFoundError(name)
        return io.BytesIO(bytes(inode.data))

    def rename(self, old: str, new: str) -> None:
        self._operation(f"rename {old} {new}")
        inode = self._find(old)
        if inode is None:
            raise DependencyError(f"{old}: no such file", code="disk.failing")
        self._change(new, inode)
        self._change(old, None)

    def sync_folder(self, folder: str) -> None:
        self._operation(f"sync folder {folder}")
        for change in [each for each in self._pending if each.folder == folder]:
            _apply(self._durable, change)
        self._pending = [each for each in self._pending if each.folder != folder]

    def remove(self, name: str) -> None:
        self._operation(f"remove {name}")
        if self._find(name) is not None:
            self._change(name, None)

    def list(self, folder: str) -> list[str]:
        self._alive()
        below = {name for each in self._live for parent, name in [_split(each)] if parent == folder and name != "."}
        return sorted(set(self._live.get(folder, {})) | below)

    def size(self, name: str) -> int | None:
        self._alive()
        inode = self._find(name)
        return None if inode is None else len(inode.data)

    def stamp(self, name: str) -> Stamp | None:
        self._alive()
        inode = self._find(name)
        return None if inode is None else Stamp(len(inode.data), inode.changes, inode.changes, id(inode))

    def make_folders(self, folder: str) -> None:
        missing = [each for each in _with_parents(folder) if each not in self._live]
        for each in missing:
            self._operation(f"make folder {each}")
            self._live[each] = {}
            self._durable[each] = {}

    def free_bytes(self) -> int:
        """What the file system says; ``promise_free`` makes it lie."""
        self._alive()
        return self.real_free_bytes() if self.promise_free is None else self.promise_free

    def real_free_bytes(self) -> int:
        return max(0, self.capacity - sum(len(inode.data) for inode in self._inodes()))

    # Inside.

    def _alive(self) -> None:
        if self._dead:
            raise PowerCut("no power")

    def _operation(self, text: str) -> None:
        self._alive()
        self.operations += 1
        if self.operations == self._cut_at:
            self._dead = True
            raise PowerCut(text)
        self.log.append(text)

    def _find(self, name: str) -> _Inode | None:
        folder, own_name = _split(name)
        return self._live.get(folder, {}).get(own_name)

    def _change(self, name: str, inode: _Inode | None) -> None:
        change = _Change(*_split(name), inode)
        if change.folder not in self._live:
            raise DependencyError(f"{name}: no such folder", code="disk.failing")
        _apply(self._live, change)
        self._pending.append(change)

    def _open_writer(self, name: str, keep: int) -> SimulatedWriter:
        inode = self._find(name)
        if inode is None:
            inode = _Inode()
            self._change(name, inode)
        del inode.data[keep:]
        return SimulatedWriter(self, inode, name)

    def _inodes(self) -> tuple[_Inode, ...]:
        return tuple({id(inode): inode for entries in self._live.values() for inode in entries.values()}.values())

    def _tear_folders(self, chance: random.Random) -> None:
        folders = {folder: dict(entries) for folder, entries in self._durable.items()}
        for change in self._pending[: chance.randint(0, len(self._pending))]:
            _apply(folders, change)
        self._live = folders


class SimulatedWriter:
    def __init__(self, system: FileSystemSimulator, inode: _Inode, name: str) -> None:
        self._system = system
        self._inode = inode
        self._name = name

    def write(self, data: bytes, /) -> int:
        self._system._operation(f"write {self._name} {len(data)}")
        if self._system.real_free_bytes() < len(data):
            raise DependencyError(f"{self._name}: no space left", code="disk.full")
        self._inode.data += data
        self._inode.changes += 1
        return len(data)

    def sync(self) -> None:
        self._system._operation(f"sync {self._name}")
        self._inode.durable = bytes(self._inode.data)

    def close(self) -> None:
        """Closing makes nothing durable, so it is no operation."""


def _apply(folders: dict[str, dict[str, _Inode]], change: _Change) -> None:
    if change.inode is None:
        folders[change.folder].pop(change.name, None)
    else:
        folders[change.folder][change.name] = change.inode


def _tear(inode: _Inode, chance: random.Random) -> None:
    live, durable = bytes(inode.data), inode.durable
    if live == durable:
        return
    least = len(durable) if live.startswith(durable) else 0
    cut = chance.randint(least, len(live))
    fill = chance.choice((0, len(live) - cut))
    inode.data = bytearray(chance.choice((durable, live[:cut] + bytes(fill))))


def _split(name: str) -> tuple[str, str]:
    folder, _, own_name = name.rpartition("/")
    return folder or ".", own_name


def _with_parents(folder: str) -> list[str]:
    path = PurePosixPath(folder)
    return [str(each) for each in [*reversed(path.parents), path]]
