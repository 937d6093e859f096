"""A folder that the module shares with what runs its registry (edge_module/registry/run): what HTTP cannot say.

Collecting garbage while layers arrive would take them, so a session holds a lock that the collection needs. The bytes
of a damaged blob cannot be replaced through the registry, which believes its digests: they are named here and removed
there, once they were found wrong by that side, too. Without such a folder nothing of this happens: then somebody else
collects, and a session whose layers are taken starts again.

Source: docs/registry.md.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_module.files import DiskFiles, write_atomically
from imagedelta.archives.model import hex_of
from imagedelta.errors import DependencyError

_LOCK, _DAMAGED, _GIVEN_UP, _COLLECT = "lock", "damaged", "given-up", "collect"
_MAX_NAME = 100
_STEP_SECONDS = 0.2


class RegistryShared:
    def __init__(self, folder: Path | None, *, patience_seconds: float = 120.0, repair_seconds: float = 20.0) -> None:
        """Args:
        folder: On the registry's disk; None when there is none.
        patience_seconds: How long a collection that is under way is waited for.
        repair_seconds: How long the removal of damaged bytes is waited for.
        """
        self._folder = folder
        self._patience = patience_seconds
        self._repair = repair_seconds

    @contextmanager
    def no_collection(self) -> Iterator[None]:
        """While this is open nothing is collected.

        Raises: DependencyError ``registry.busy``: a collection is under way, and lasts.
        """
        if self._folder is None:
            yield
            return
        handle = self._locked(self._folder / _LOCK)
        try:
            yield
        finally:
            os.close(handle)

    def ask_collection(self) -> None:
        """Something was forgotten: its room can be had when no session is open."""
        files = self._files()
        if files is not None:
            write_atomically(files, _COLLECT, b"")

    def ask_removal(self, digest: str) -> bool:
        """Have the damaged bytes of a blob removed; tell whether that was done."""
        files = self._files()
        if files is None:
            return False
        name = f"{_DAMAGED}/{hex_of(digest)}"
        files.make_folders(_DAMAGED)
        write_atomically(files, name, b"")
        end = time.monotonic() + self._repair
        while files.size(name) is not None:
            if time.monotonic() > end:
                return False
            time.sleep(_STEP_SECONDS)
        return True

    def ask_upload_removal(self, place: str) -> None:
        """Have the bytes of an upload removed that the registry does not drop: one that broke off inside a piece."""
        files = self._files()
        upload = place.partition("?")[0].rpartition("/")[2]
        if files is not None and upload:
            files.make_folders(_GIVEN_UP)
            write_atomically(files, f"{_GIVEN_UP}/{upload[:_MAX_NAME]}", b"")

    def free_bytes(self) -> int | None:
        """Of the registry's disk; None when it cannot be known."""
        files = self._files()
        return None if files is None else files.free_bytes()

    def _files(self) -> DiskFiles | None:
        return DiskFiles(self._folder) if self._folder is not None and self._folder.is_dir() else None

    def _locked(self, path: Path) -> int:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise DependencyError(f"{path}: {error.strerror}", code="registry.shared") from error
        end = time.monotonic() + self._patience
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return handle
            except BlockingIOError:
                if time.monotonic() > end:
                    os.close(handle)
                    raise DependencyError("the registry collects garbage", code="registry.busy") from None
            time.sleep(_STEP_SECONDS)
