"""``index.json`` on the disk: read, changed, and made good when it is damaged.

A copy is kept beside it, so that names survive its damage too. What is left of a damaged one is kept for people
(edge_module.damage).
Changes exclude each other within the process; between processes the module's own order does (one apply at a time).

Source: docs/formats/device-store.md, section 9.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from edge_module.damage import DamageLog, read_own
from edge_module.engines.base import EngineDamaged
from edge_module.engines.layout_index import Entry, index_bytes, read_entries
from edge_module.engines.layout_repair import FoundImage, find_images, find_manifest
from edge_module.engines.layout_store import BLOBS, FOLDER, blob_path
from edge_module.files import Files, read_bounded, write_atomically
from imagedelta.archives.oci import INDEX_FILE
from imagedelta.errors import ContentError, DependencyError
from imagedelta.limits import Limits

_INDEX = f"{FOLDER}/{INDEX_FILE}"
_COPY = f"{FOLDER}/index.copy.json"
log = logging.getLogger("imagedelta.layout")


class IndexFile:
    def __init__(self, files: Files, limits: Limits, damage: DamageLog | None) -> None:
        self._files = files
        self._damage = damage
        self._limits = limits
        self._lock = threading.RLock()
        self._lost: set[str] = set()
        self._unsure = False
        """The last change can be read, but may not be on the disk: it failed at its end."""

    def found(self) -> None:
        """At start. A new folder gets an index of nothing, so that one that is missing later is known to be lost."""
        if self._files.size(_INDEX) is None and self._files.size(_COPY) is None and not self._files.list(BLOBS):
            self._write([])
        else:
            self.entries()

    def entries(self) -> list[Entry]:
        """What is listed; a damaged index is made good first.

        Raises: EngineDamaged when that fails; DependencyError when the disk is full.
        """
        self._make_sure()
        found = self._read(_INDEX)
        if found is not None:
            return found
        with self._lock:
            found = self._read(_INDEX)
            return self._repair() if found is None else found

    def change(self, step: Callable[[list[Entry]], list[Entry]]) -> None:
        """Replace the entries, durably."""
        with self._lock:
            self._write(step(self.entries()))

    def restore_manifest(self, digest: str) -> bool:
        """Write a damaged manifest again, where config and layers give it; returns whether it is whole now.

        Looked for once per run: it takes a look at every small blob.
        """
        if digest in self._lost:
            return False
        manifest = find_manifest(self._files, digest, self._limits)
        if manifest is None:
            self._lost.add(digest)
            return False
        read_own(self._files, blob_path(digest), len(manifest))  # something else may stand in its place
        write_atomically(self._files, blob_path(digest), manifest)
        self._told().note(blob_path(digest), "it is damaged", "made again out of config and layers")
        return True

    def refresh_copy(self) -> None:
        """At start: the power may have gone between the index and its copy, or another tool changed the index."""
        entries = self.entries()
        if self._read(_COPY) != entries:
            write_atomically(self._files, _COPY, index_bytes(entries))

    def _make_sure(self) -> None:
        """An image is told as soon as it is listed, so it is listed only once it is on the disk."""
        with self._lock:
            if self._unsure:
                self._files.sync_folder(FOLDER)
                self._unsure = False

    def _told(self) -> DamageLog:
        self._damage = self._damage or DamageLog(self._files)
        return self._damage

    def _read(self, name: str) -> list[Entry] | None:
        data = read_own(self._files, name, self._limits.max_manifest_bytes)
        try:
            return None if data is None else read_entries(data)
        except ContentError:
            return None

    def _write(self, entries: list[Entry]) -> None:
        data = index_bytes(entries)
        self._unsure = True
        write_atomically(self._files, _INDEX, data)
        self._unsure = False
        try:
            write_atomically(self._files, _COPY, data)
        except DependencyError as error:  # the index itself is changed; the next change or start writes the copy
            log.warning("the copy of the index is behind: %s", error)

    def _repair(self) -> list[Entry]:
        if not self._files.list(BLOBS) and self._files.size(_COPY) is None:
            return []
        entries = self._read(_COPY) or []
        listed = {entry.get("digest") for entry in entries}
        found = [each for each in find_images(self._files, self._limits) if each.entry["digest"] not in listed]
        entries = [*entries, *(each.entry for each in found)]
        result = f"made again: {len(entries) - len(found)} entries from its copy, {len(found)} images from the blobs"
        try:
            self._write_manifests(found)
            self._told().set_aside(_INDEX, "it is missing or damaged", result)
            self._write(entries)
        except DependencyError as error:
            if error.code in ("disk.full", "disk.read_only"):  # says better what to do
                raise
            raise EngineDamaged(f"{_INDEX} is damaged and cannot be replaced: {error}") from error
        return entries

    def _write_manifests(self, found: list[FoundImage]) -> None:
        for each in found:
            path = blob_path(str(each.entry["digest"]))
            if read_bounded(self._files, path, len(each.manifest)) != each.manifest:
                write_atomically(self._files, path, each.manifest)
