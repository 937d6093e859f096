"""A POSIX file system in memory that tells volatile from durable, and whose power can be cut.

Counts every operation that changes something and raises PowerCut at the n-th; from then on every operation
raises, as a dead process does none. Or the n-th fails with an errno, alone or with all that follow until ``heal``;
reading is counted and fails likewise, apart. Errors are those of DiskFiles. ``reboot`` then decides what the disk kept
of what was not synced:

- ``dropped``: nothing. File data counts once its writer was synced, an entry once its folder was synced.
- ``kept``: everything.
- ``torn``: data of unsynced files is cut at a random length, sometimes filled up with zeros; of unsynced
  folder changes a random prefix survives (in order, as a journaling file system keeps them).

A sync that failed loses the bytes it was to make durable, as Linux does: they can be read until the power goes, a later
sync passes over them, and after the power they are zeros in every mode, unless they were dropped and written again.
"""

from __future__ import annotations

import errno
import io
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Literal

from edge_module.files import Kind, Stamp, disk_error, parent
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
    lost: tuple[int, int] = (0, 0)
    """First and last byte, exclusive, that a failed sync lost."""
    kind: Kind = "file"
    unreadable: int = 0
    """Errno of every read, until it is written anew."""
    closed: int = 0
    """Errno of opening it for reading."""

    def as_on_disk(self) -> bytes:
        """The data, with zeros where a sync failed."""
        start, end = self.lost
        return bytes(self.data[:start]) + bytes(end - start) + bytes(self.data[end:])

    def lose(self) -> None:
        """A sync failed: what differs from the disk will never get there by itself."""
        pairs = enumerate(zip(self.data, self.durable, strict=False))
        same = next((at for at, (ours, on_disk) in pairs if ours != on_disk), min(len(self.data), len(self.durable)))
        self.lost = (min(same, self.lost[0]) if self.lost[1] else same, len(self.data))

    def truncate(self, keep: int) -> None:
        del self.data[keep:]
        self.unreadable = self.unreadable if keep else 0
        start, end = self.lost
        self.lost = (start, min(end, keep)) if start < keep else (0, 0)


@dataclass
class _Fault:
    """Operations from number ``first`` on fail, ``count`` of them, if their text contains ``only``."""

    error: int
    first: int
    count: float
    only: str = ""

    def strikes(self, number: int, text: str) -> bool:
        if number < self.first or self.count <= 0 or self.only not in text or not _can_fail(text, self.error):
            return False
        self.count -= 1
        return True


@dataclass
class _Change:
    """A change of one entry that its folder's sync makes durable; ``inode`` None removes it."""

    folder: str
    name: str
    inode: _Inode | None


class FileSystemSimulator:
    def __init__(self, capacity: int = 1 << 40) -> None:
        self.operations = 0
        self.reads = 0
        self.failures = 0
        """How many operations and reads have failed."""
        self.log: list[str] = []
        self.capacity = capacity
        self.promise_free: int | None = None
        self._cut_at: int | None = None
        self._dead = False
        self._faults: list[_Fault] = []
        self._read_faults: list[_Fault] = []
        self._live: dict[str, dict[str, _Inode]] = {".": {}}
        self._durable: dict[str, dict[str, _Inode]] = {".": {}}
        self._pending: list[_Change] = []

    # What tests do to it.

    def cut_power_at(self, operation: int) -> None:
        """The power fails instead of the ``operation``-th changing operation from now on, counted from 1."""
        self._cut_at = self.operations + operation

    def fail_at(self, operation: int, error: int = errno.EIO, count: float = 1, only: str = "") -> None:
        """The ``operation``-th changing operation from now on fails, and ``count`` in all: ``math.inf`` until healed.

        Args:
            only: Only those whose text in the log contains it.
        """
        self._faults.append(_Fault(error, self.operations + operation, count, only))

    def fail_reading_at(self, read: int, error: int = errno.EIO, count: float = 1, only: str = "") -> None:
        """The same for opening, listing, measuring, and each read of an open file."""
        self._read_faults.append(_Fault(error, self.reads + read, count, only))

    def heal(self) -> None:
        self._faults, self._read_faults = [], []

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
            inode.data = bytearray(inode.as_on_disk())
            if mode == "dropped":
                inode.data = bytearray(inode.durable)
            elif mode == "torn":
                _tear(inode, chance)
            inode.durable, inode.lost = bytes(inode.data), (0, 0)
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
        self._put(name, _Inode(bytearray(data), bytes(data)))

    def make_unreadable(self, name: str, error: int = errno.EIO, *, opening: bool = False) -> None:
        """A bad sector in the file, which stays with it under any name; ``opening``: it cannot even be opened."""
        inode = self._find(name)
        assert inode is not None
        inode.unreadable, inode.closed = (0, error) if opening else (error, 0)

    def put_no_file(self, name: str, kind: Kind = "folder") -> None:
        """A folder or a pipe where the module expects a file, or a pipe where it expects a folder."""
        for view in (self._live, self._durable):
            view.pop(name, None)
        self._put(name, _Inode(kind=kind))

    def _put(self, name: str, inode: _Inode) -> None:
        folder, own_name = _split(name)
        known = self._live.get(folder, {}).get(own_name)
        inode.changes = known.changes + 1 if known else 0
        for view in (self._live, self._durable):
            view.setdefault(folder, {})[own_name] = inode

    # The file port.

    def create(self, name: str) -> SimulatedWriter:
        self.make_folders(parent(name))
        self._operation(f"create {name}")
        return self._open_writer(name, 0)

    def append(self, name: str, keep: int) -> SimulatedWriter:
        self.make_folders(parent(name))
        self._operation(f"append {name} after {keep}")
        return self._open_writer(name, keep)

    def open(self, name: str) -> BinaryIO:
        self._read(f"open {name}")
        inode = self._find(name)
        if inode is None:
            raise FileNotFoundError(name)
        _check_file(name, inode)
        if inode.closed:
            raise _error(name, inode.closed)
        return io.BufferedReader(_SimulatedReader(self, inode, name))

    def rename(self, old: str, new: str) -> None:
        self.make_folders(parent(new))
        self._operation(f"rename {old} {new}")
        inode = self._find(old)
        if inode is None:
            raise _error(old, errno.ENOENT)
        target = self._find(new)
        if target is not None and target.kind == "folder":
            raise _error(new, errno.EISDIR)
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
        self._read(f"list {folder}")
        below = {name for each in self._live for parent, name in [_split(each)] if parent == folder and name != "."}
        return sorted(set(self._live.get(folder, {})) | below)

    def kind(self, name: str) -> Kind | None:
        self._read(f"look at {name}")
        if name in self._live:
            return "folder"
        inode = self._find(name)
        return None if inode is None else inode.kind

    def size(self, name: str) -> int | None:
        self._read(f"look at {name}")
        inode = self._find(name)
        return None if inode is None or inode.kind != "file" else len(inode.data)

    def stamp(self, name: str) -> Stamp | None:
        self._read(f"look at {name}")
        inode = self._find(name)
        if inode is None or inode.kind != "file":
            return None
        return Stamp(len(inode.data), inode.changes, inode.changes, id(inode))

    def make_folders(self, folder: str) -> None:
        missing = [each for each in _with_parents(folder) if each not in self._live]
        for each in missing:
            self._operation(f"make folder {each}")
            if self._find(each) is not None:
                raise _error(each, errno.ENOTDIR)
            self._live[each] = {}
            self._durable[each] = {}

    def free_bytes(self) -> int:
        """What the file system says; ``promise_free`` makes it lie."""
        self._read("free bytes")
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
        self._strike(self._faults, self.operations, text)

    def _read(self, text: str) -> None:
        self._alive()
        self.reads += 1
        self._strike(self._read_faults, self.reads, text)

    def _strike(self, faults: Sequence[_Fault], number: int, text: str) -> None:
        for fault in faults:
            if fault.strikes(number, text):
                self.failures += 1
                raise _error(text, fault.error)

    def _find(self, name: str) -> _Inode | None:
        folder, own_name = _split(name)
        return self._live.get(folder, {}).get(own_name)

    def _change(self, name: str, inode: _Inode | None) -> None:
        change = _Change(*_split(name), inode)
        if change.folder not in self._live:
            raise _error(name, errno.ENOENT)
        _apply(self._live, change)
        self._pending.append(change)

    def _open_writer(self, name: str, keep: int) -> SimulatedWriter:
        inode = self._find(name)
        if inode is None:
            inode = _Inode()
            self._change(name, inode)
        _check_file(name, inode)
        inode.truncate(keep)
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
        """On a full or failing disk half of it gets there."""
        try:
            self._system._operation(f"write {self._name} {len(data)}")
            if self._system.real_free_bytes() < len(data):
                raise _error(self._name, errno.ENOSPC)
        except DependencyError:
            self._inode.data += data[: min(len(data) // 2, self._system.real_free_bytes())]
            raise
        self._inode.data += data
        self._inode.changes += 1
        return len(data)

    def sync(self) -> None:
        inode = self._inode
        try:
            self._system._operation(f"sync {self._name}")
        except DependencyError:
            inode.lose()
            raise
        inode.durable = inode.as_on_disk()

    def close(self) -> None:
        """Closing makes nothing durable, so it is no operation."""


class _SimulatedReader(io.RawIOBase):
    """As long as it is open it sees what is written, also after its name is gone; each read may fail."""

    def __init__(self, system: FileSystemSimulator, inode: _Inode, name: str) -> None:
        super().__init__()
        self._system = system
        self._inode = inode
        self._name = name
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = (
            offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self._inode.data)}[whence]
        )
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        self._system._read(f"read {self._name}")
        if self._inode.unreadable:
            raise _error(self._name, self._inode.unreadable)
        data = bytes(self._inode.data[self._position : self._position + len(buffer)])
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def _error(name: str, number: int) -> DependencyError:
    return disk_error(name, OSError(number, os.strerror(number)))


def _check_file(name: str, inode: _Inode) -> None:
    if inode.kind != "file":
        raise _error(name, errno.EISDIR if inode.kind == "folder" else errno.EINVAL)


def _can_fail(text: str, error: int) -> bool:
    """A full disk still renames, removes and empties; what makes entries or brings bytes to the disk fails."""
    if error not in (errno.ENOSPC, errno.EDQUOT):
        return True
    return text.startswith(("create", "append", "write", "sync", "make folder"))


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
