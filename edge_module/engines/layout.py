"""Engine ``layout``: the device's images in an OCI image layout folder.

Layers are stored uncompressed under their diff_id; layouts that other tools wrote (packed layers, image
indexes, several names) are read as well. ``index.json`` is replaced atomically after everything it leads to
is on the disk, so an image is listed whole or not at all.

Source: OCI image-spec 1.1, image-layout.md; docs/formats/device-store.md.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from edge_module.engines.base import LayerWriter, PresentImage
from edge_module.engines.layout_index import (
    Entry,
    index_bytes,
    manifest_entry,
    read_entries,
    with_entry,
    without_digest,
)
from edge_module.engines.layout_layers import LayoutSources, LayoutStore, is_packed
from edge_module.files import Files, FileWriter, move_durably, read_bounded, write_atomically
from edge_module.scratch_file import SCRATCH
from imagedelta.archives.findings import Findings, Located
from imagedelta.archives.model import hex_of, image_from_config, sha256_id
from imagedelta.archives.oci import INDEX_FILE, LAYOUT_FILE, MANIFEST_TYPE, blob_name, entry_name, read_oci
from imagedelta.archives.oci_json import layout_marker, manifest_bytes
from imagedelta.errors import ContentError, RequestError
from imagedelta.limits import DEFAULT_LIMITS, MIB, Limits

FOLDER = "images"
_BLOBS = f"{FOLDER}/blobs/sha256"
_INGEST = f"{FOLDER}/ingest"
_INSTALLATION = f"{FOLDER}/installation.json"
DEVICE_LIMITS = replace(DEFAULT_LIMITS, max_window_bytes=64 * MIB)
"""Other tools' packed layers are unpacked within the memory of a small device: builders use windows up to 8 MiB."""
_UNPACK_GUESS = 4
"""A packed layer unpacks to about this many times its size; only used to look at free disk beforehand."""
log = logging.getLogger("imagedelta.layout")


@dataclass(frozen=True)
class _Listed:
    """An image that is whole, and the top-level entry that leads to it."""

    located: Located
    entry: Entry


class LayoutEngine:
    name = "layout"

    def __init__(
        self,
        files: Files,
        limits: Limits = DEVICE_LIMITS,
        new_id: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self._files = files
        self._limits = limits
        self._new_id = new_id
        self._writers: dict[str, FileWriter] = {}
        for folder in (_BLOBS, _INGEST, SCRATCH):
            files.make_folders(folder)
        if files.size(f"{FOLDER}/{LAYOUT_FILE}") is None:
            write_atomically(files, f"{FOLDER}/{LAYOUT_FILE}", layout_marker())

    # What is here.

    def images(self) -> list[PresentImage]:
        present: dict[str, PresentImage] = {}
        for listed in self._listed():
            image = _present(listed)
            known = present.get(image.image_id)
            if known is not None:
                names = tuple(sorted({*known.references, *image.references}))
                image = PresentImage(image.image_id, image.diff_ids, names, known.local_digest)
            present[image.image_id] = image
        return [present[image_id] for image_id in sorted(present)]

    def installation(self) -> tuple[str, int]:
        data = read_bounded(self._files, _INSTALLATION, 4096)
        try:
            record = json.loads(data or b"")
            return str(record["installationId"]), int(record["inventorySequence"])
        except (ValueError, TypeError, KeyError):
            return self._write_installation(self._new_id(), 0)

    def next_inventory(self) -> tuple[str, int]:
        installation_id, sequence = self.installation()
        return self._write_installation(installation_id, sequence + 1)

    def open_sources(self) -> LayoutSources:
        names: dict[str, str] = {}
        configs: dict[str, bytes] = {}
        for listed in self._listed():
            configs[listed.located.image.image_id] = listed.located.image.config
            for diff_id, name in zip(listed.located.image.diff_ids, listed.located.layers, strict=True):
                if not is_packed(name, diff_id) or diff_id not in names:
                    names[diff_id] = name
        return LayoutSources(self._files, self._store(), names, configs, self._limits)

    def extra_bytes(self, source_image_ids: Iterable[str]) -> int:
        names = {
            name
            for image_id in source_image_ids
            for diff_id, name in self._layers_of(image_id).items()
            if is_packed(name, diff_id)
        }
        return sum(_UNPACK_GUESS * (self._files.size(f"{FOLDER}/{name}") or 0) for name in names)

    def free_bytes(self) -> int:
        return self._files.free_bytes()

    # The sink of an apply.

    def has_layer(self, diff_id: str) -> bool:
        return self._files.size(f"{FOLDER}/{blob_name(diff_id)}") is not None

    def begin_layer(self, diff_id: str, size: int) -> LayerWriter:
        writer = self._files.create(_ingest_name(diff_id))
        self._writers[diff_id] = writer
        return writer

    def commit_layer(self, diff_id: str) -> None:
        writer = self._writers.pop(diff_id)
        try:
            writer.sync()
        finally:
            writer.close()
        move_durably(self._files, _ingest_name(diff_id), f"{FOLDER}/{blob_name(diff_id)}")

    def abort_layer(self, diff_id: str) -> None:
        writer = self._writers.pop(diff_id, None)
        if writer is not None:
            writer.close()
        self._files.remove(_ingest_name(diff_id))

    # Changes of the index.

    def add_image(self, config: bytes, diff_ids: tuple[str, ...], reference: str) -> PresentImage:
        image = image_from_config(config, (), self._limits)
        sizes = [self._size_of(diff_id) for diff_id in image.diff_ids]
        manifest = manifest_bytes(image, sizes)
        digest = sha256_id(manifest)
        self._put_blob(image.image_id, config)
        self._put_blob(digest, manifest)
        entry = manifest_entry(digest, len(manifest), image.platform)
        self._write_index(with_entry(self._entries(), entry, reference))
        return self._find(image.image_id)

    def name_image(self, image_id: str, reference: str) -> PresentImage:
        for listed in self._listed():
            if listed.located.image.image_id == image_id:
                self._write_index(with_entry(self._entries(), listed.entry, reference))
                return self._find(image_id)
        raise RequestError(f"image {image_id} is not here", code="device.unknown_image")

    def drop_damaged(self, diff_ids: Iterable[str]) -> tuple[str, ...]:
        """Images that need a dropped layer stay listed, but are whole no more."""
        wanted = set(diff_ids)
        names = {diff_id: blob_name(diff_id) for diff_id in wanted if self.has_layer(diff_id)}
        for listed in self._listed():
            for diff_id, name in zip(listed.located.image.diff_ids, listed.located.layers, strict=True):
                if diff_id in wanted:
                    names.setdefault(diff_id, name)
        damaged = [diff_id for diff_id, name in names.items() if not self._is_sound(name, diff_id)]
        for diff_id in damaged:
            log.error("layer %s is damaged on this disk", diff_id)
            self._files.remove(f"{FOLDER}/{names[diff_id]}")
        if damaged:
            self._files.sync_folder(_BLOBS)
        return tuple(sorted(damaged))

    def remove_image(self, image_id: str) -> None:
        """Forget an image and the blobs that no other image needs.

        Raises: RequestError ``device.unknown_image``.
        """
        gone = [each for each in self._listed() if each.located.image.image_id == image_id]
        if not gone:
            raise RequestError(f"image {image_id} is not here", code="device.unknown_image")
        digests = frozenset(str(each.entry["digest"]) for each in gone)
        entries = self._entries()
        self._write_index(without_digest(entries, digests))
        for name in sorted(_blobs_of(gone) - _blobs_of(self._listed())):
            self._files.remove(f"{FOLDER}/{name}")
        self._files.sync_folder(_BLOBS)

    def clean(self) -> None:
        for folder in (_INGEST, SCRATCH):
            for name in self._files.list(folder):
                self._files.remove(f"{folder}/{name}")
        for folder in (FOLDER, _BLOBS):
            for name in self._files.list(folder):
                if name.endswith((".tmp", ".part")):
                    self._files.remove(f"{folder}/{name}")

    # Inside.

    def _entries(self) -> list[Entry]:
        data = read_bounded(self._files, f"{FOLDER}/{INDEX_FILE}", self._limits.max_manifest_bytes)
        return [] if data is None else read_entries(data)

    def _listed(self) -> list[_Listed]:
        """Entry by entry, so that one damaged image does not hide the others."""
        listed: list[_Listed] = []
        for entry in self._entries():
            found = Findings()
            read_oci(self._store([entry]), self._limits, found)
            if not found.images:
                for passed_over in found.passed_over:
                    log.warning("image %s is not whole: %s", entry_name(entry) or entry.get("digest"), passed_over)
            listed += [_Listed(located, entry) for located in found.images]
        return listed

    def _store(self, entries: Iterable[Entry] = ()) -> LayoutStore:
        return LayoutStore(self._files, FOLDER, index_bytes(list(entries)))

    def _find(self, image_id: str) -> PresentImage:
        for image in self.images():
            if image.image_id == image_id:
                return image
        raise ContentError(f"image {image_id} is listed but not whole", code="content.blob_missing")

    def _layers_of(self, image_id: str) -> dict[str, str]:
        for listed in self._listed():
            if listed.located.image.image_id == image_id:
                return dict(zip(listed.located.image.diff_ids, listed.located.layers, strict=True))
        return {}

    def _is_sound(self, name: str, diff_id: str) -> bool:
        try:
            with self._store().layer(name, diff_id, self._limits) as layer:
                while layer.read(MIB):
                    pass
        except ContentError:
            return False
        return True

    def _size_of(self, diff_id: str) -> int:
        size = self._files.size(f"{FOLDER}/{blob_name(diff_id)}")
        if size is None:
            raise ContentError(f"layer {diff_id} is not stored yet", code="content.blob_missing")
        return size

    def _put_blob(self, digest: str, data: bytes) -> None:
        name = f"{FOLDER}/{blob_name(digest)}"
        if read_bounded(self._files, name, len(data)) != data:
            write_atomically(self._files, name, data)

    def _write_index(self, entries: list[Entry]) -> None:
        write_atomically(self._files, f"{FOLDER}/{INDEX_FILE}", index_bytes(entries))

    def _write_installation(self, installation_id: str, sequence: int) -> tuple[str, int]:
        record = {"installationId": installation_id, "inventorySequence": sequence}
        write_atomically(self._files, _INSTALLATION, json.dumps(record).encode())
        return installation_id, sequence


def _present(listed: _Listed) -> PresentImage:
    image = listed.located.image
    is_manifest = listed.entry.get("mediaType") == MANIFEST_TYPE
    digest = str(listed.entry["digest"]) if is_manifest else None
    return PresentImage(image.image_id, image.diff_ids, image.references, digest)


def _blobs_of(listed: Iterable[_Listed]) -> set[str]:
    """Blobs that images need: layers, configs and what their entries name."""
    names: set[str] = set()
    for each in listed:
        names |= {*each.located.layers, blob_name(each.located.image.image_id)}
        names.add(blob_name(str(each.entry["digest"])))
    return names


def _ingest_name(diff_id: str) -> str:
    return f"{_INGEST}/{hex_of(diff_id)}"
