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
from collections.abc import Callable, Iterable, Mapping, Sequence

from edge_module.damage import DamageLog, read_own
from edge_module.engines.base import MODULE_DISK, ImageName, Need, PresentImage
from edge_module.engines.layout_index import digest_of, manifest_entry, with_entry, without_digest
from edge_module.engines.layout_index_file import IndexFile
from edge_module.engines.layout_listing import ListedImage, Listing
from edge_module.engines.layout_repair import reachable
from edge_module.engines.layout_store import (
    BLOBS,
    FOLDER,
    LayoutStore,
    blob_path,
    has_its_bytes,
    is_packed,
    path_of,
    read_blob,
)
from edge_module.engines.layout_work import INGEST, LayoutTask, LayoutWork, packed_size
from edge_module.engines.unpacked import DEVICE_LIMITS
from edge_module.files import Files, read_bounded, write_atomically
from edge_module.scratch_file import SCRATCH
from imagedelta.archives.json_reading import parse_object
from imagedelta.archives.model import Image, sha256_id
from imagedelta.archives.oci import INDEX_FILE, LAYOUT_FILE, MANIFEST_TYPE, blob_name
from imagedelta.archives.oci_json import layout_marker, manifest_bytes
from imagedelta.errors import ContentError, LimitExceeded, RequestError, UnsupportedFormat
from imagedelta.limits import MIB, Limits

_INSTALLATION = f"{FOLDER}/installation.json"
_INSTALLATION_COPY = f"{FOLDER}/installation.copy.json"
_MARKER = f"{FOLDER}/{LAYOUT_FILE}"
_MAX_SMALL = 4096
_MANIFEST_BYTES_PER_LAYER = 512
log = logging.getLogger("imagedelta.layout")


class LayoutEngine:
    name = "layout"

    def __init__(
        self,
        files: Files,
        limits: Limits = DEVICE_LIMITS,
        new_id: Callable[[], str] = lambda: secrets.token_hex(16),
        damage: DamageLog | None = None,
    ) -> None:
        """Nothing is read or written yet: a disk that is full or damaged must not keep the module from starting.

        Args:
            damage: Told of what was found damaged and made good.
        """
        self._files = files
        self._limits = limits
        self._new_id = new_id
        self._index = IndexFile(files, limits, damage)
        self._listing = Listing(files, self._index, limits)
        self._prepared = False

    # What is here.

    def images(self) -> list[PresentImage]:
        by_id: dict[str, list[ListedImage]] = {}
        for listed in self._listing.whole():
            by_id.setdefault(listed.image_id, []).append(listed)
        return [_present(by_id[image_id]) for image_id in sorted(by_id)]

    def installation_id(self) -> str:
        """Kept twice: with a new one the cloud would believe that the disk was replaced."""
        self._prepare()
        kept = [_read_installation(self._files, name) for name in (_INSTALLATION, _INSTALLATION_COPY)]
        installation_id = kept[0] or kept[1] or self._new_id()
        record = json.dumps({"installationId": installation_id}).encode()
        for name, found in zip((_INSTALLATION, _INSTALLATION_COPY), kept, strict=True):
            if found != installation_id:
                write_atomically(self._files, name, record)
        return installation_id

    def needs(self, target: str, sizes: Mapping[str, int], sources: Sequence[str]) -> list[Need]:
        """All of it in the module's own folder."""
        new = sum(size for diff_id, size in sizes.items() if self._files.size(blob_path(diff_id)) != size)
        packed = {
            name
            for source in self._of(sources)
            for diff_id, name in zip(source.diff_ids, source.layers, strict=True)
            if is_packed(name, diff_id) and self._files.size(blob_path(diff_id)) is None
        }
        unpacked = sum(packed_size(self._files, name) for name in packed)
        records = 2 * (self._files.size(f"{FOLDER}/{INDEX_FILE}") or 0) + _MANIFEST_BYTES_PER_LAYER * (1 + len(sizes))
        return [Need(MODULE_DISK, new + unpacked + records, self.free_bytes())]

    def free_bytes(self) -> int:
        return self._files.free_bytes()

    # Changes.

    def begin(self, target: str, reference: str, sizes: Mapping[str, int], sources: Sequence[str]) -> LayoutWork:
        self._prepare()
        return LayoutWork(self._files, self._limits, LayoutTask(target, sizes, lambda: self._of(sources), self._add))

    def name_image(self, image_id: str, reference: str) -> PresentImage:
        entry = self._listed_as(image_id)[0].entry
        self._index.change(lambda entries: with_entry(entries, entry, reference))
        return _present(self._listed_as(image_id))

    def drop_damaged(self, diff_ids: Iterable[str]) -> tuple[str, ...]:
        """Images that need a dropped layer stay listed, but are whole no more."""
        self._listing.forget()
        wanted = set(diff_ids)
        names = {(each, blob_name(each)) for each in wanted if self._files.size(blob_path(each)) is not None}
        uses = {use for image in self._listing.whole() for use in image.uses}
        names |= {(diff_id, name) for diff_id, name in uses if diff_id in wanted}
        dropped = set()
        for diff_id, name in sorted(names):
            if self._is_sound(name, diff_id):
                continue
            if any(used == name and what != diff_id for what, used in uses):
                log.error("%s is no layer %s, but is needed: the image that says so is wrong", name, diff_id)
                continue
            log.error("layer %s is damaged on this disk and is forgotten", diff_id)
            self._files.remove(path_of(name))
            dropped.add(diff_id)
        if dropped:
            self._files.sync_folder(BLOBS)
        return tuple(sorted(dropped))

    def remove_image(self, image_id: str) -> None:
        """An image that other entries lead to as well (one of several platforms) takes them with it."""
        gone = frozenset(str(each.entry["digest"]) for each in self._listed_as(image_id))
        before = reachable(self._files, self._index.entries(), self._limits)
        self._index.change(lambda entries: without_digest(entries, gone))
        if self._all_can_be_followed():
            after = reachable(self._files, self._index.entries(), self._limits)
            self._forget(blob_path(digest) for digest in before - after)

    def collect(self) -> int:
        self._listing.whole()  # makes good what can be, so that nothing is taken for unneeded
        if not self._all_can_be_followed():
            return 0
        needed = {blob_path(digest) for digest in reachable(self._files, self._index.entries(), self._limits)}
        lost = {f"{BLOBS}/{name}" for name in self._files.list(BLOBS)} - needed
        freed = sum(self._files.size(path) or 0 for path in lost)
        self._forget(lost)
        return freed

    def clean(self) -> None:
        self._prepare()
        for folder in (INGEST, SCRATCH):
            for name in self._files.list(folder):
                self._files.remove(f"{folder}/{name}")
        for folder in (FOLDER, BLOBS):
            for name in self._files.list(folder):
                if name.endswith((".tmp", ".part")):
                    self._files.remove(f"{folder}/{name}")
        self._index.refresh_copy()

    # Inside.

    def _prepare(self) -> None:
        if self._prepared:
            return
        for folder in (BLOBS, INGEST, SCRATCH):
            self._files.make_folders(folder)
        self._index.found()
        if not _is_marker(read_own(self._files, _MARKER, _MAX_SMALL)):
            write_atomically(self._files, _MARKER, layout_marker())
        self._prepared = True

    def _of(self, image_ids: Iterable[str]) -> list[ListedImage]:
        wanted = set(image_ids)
        return [image for image in self._listing.whole() if image.image_id in wanted] if wanted else []

    def _listed_as(self, image_id: str) -> list[ListedImage]:
        """Every entry that leads to the image, manifests first: one of them has a digest to tell."""
        found = self._of([image_id])
        if not found:
            raise RequestError(f"image {image_id} is not here", code="device.unknown_image")
        return sorted(found, key=lambda listed: listed.entry.get("mediaType") != MANIFEST_TYPE)

    def _add(self, image: Image, sizes: Sequence[int]) -> PresentImage:
        manifest = manifest_bytes(image, sizes)
        digest = sha256_id(manifest)
        self._put_blob(image.image_id, image.config)
        self._put_blob(digest, manifest)
        entry = manifest_entry(digest, len(manifest), image.platform)
        self._files.sync_folder(BLOBS)  # an earlier process, or a sync that failed, may have left that to us
        self._index.change(lambda entries: with_entry(entries, entry, ""))
        return _present(self._listed_as(image.image_id))

    def _is_sound(self, name: str, diff_id: str) -> bool:
        if not is_packed(name, diff_id):
            return has_its_bytes(self._files, diff_id)
        try:
            with LayoutStore(self._files).layer(name, diff_id, self._limits) as layer:
                while layer.read(MIB):
                    pass
        except (LimitExceeded, UnsupportedFormat):
            return True  # it cannot be unpacked on this device, which says nothing about its bytes
        except ContentError:
            return False
        return True

    def _put_blob(self, digest: str, data: bytes) -> None:
        if read_bounded(self._files, blob_path(digest), len(data)) != data:
            write_atomically(self._files, blob_path(digest), data)

    def _all_can_be_followed(self) -> bool:
        """What a damaged manifest needs is not known: then nothing is removed."""
        digests = filter(None, map(digest_of, self._index.entries()))
        limit = self._limits.max_manifest_bytes
        return all(read_blob(self._files, digest, limit) is not None for digest in digests)

    def _forget(self, paths: Iterable[str]) -> None:
        lost = sorted(paths)
        for path in lost:
            self._files.remove(path)
        if lost:
            self._files.sync_folder(BLOBS)


def _present(listed: Sequence[ListedImage]) -> PresentImage:
    """All entries of one image together."""
    names: dict[str, str | None] = {}
    for each in listed:
        digest = str(each.entry["digest"]) if each.entry.get("mediaType") == MANIFEST_TYPE else None
        for reference in each.references:
            names[reference] = names.get(reference) or digest
    image = listed[0]
    return PresentImage(image.image_id, image.diff_ids, tuple(ImageName(*each) for each in sorted(names.items())))


def _read_installation(files: Files, name: str) -> str:
    """Empty when there is none, or it is damaged."""
    data = read_own(files, name, _MAX_SMALL)
    try:
        value = parse_object(data or b"", name).get("installationId")
    except ContentError:
        return ""
    return value if isinstance(value, str) and 0 < len(value) <= 256 else ""


def _is_marker(data: bytes | None) -> bool:
    try:
        return data is not None and "imageLayoutVersion" in parse_object(data, LAYOUT_FILE)
    except ContentError:
        return False
