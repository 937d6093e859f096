"""Which images of a layout are whole: found through the index, and looked at again by size alone.

Manifests and configs are read once while the engine lives. Afterwards the sizes of an image's files tell whether it is
still whole, so that a list of hundreds of images costs no reading.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from edge_module.damage import read_own
from edge_module.engines.layout_index import Entry, digest_of, index_bytes
from edge_module.engines.layout_index_file import IndexFile
from edge_module.engines.layout_store import LayoutStore, blob_path, path_of, read_blob
from edge_module.files import Files
from imagedelta.archives.findings import Findings, Located
from imagedelta.archives.json_reading import parse_object
from imagedelta.archives.oci import blob_name, entry_name, read_oci
from imagedelta.errors import ContentError, DependencyError
from imagedelta.limits import Limits

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
log = logging.getLogger("imagedelta.layout")


@dataclass(frozen=True)
class ListedImage:
    """An image that is whole, and the top-level entry that leads to it."""

    image_id: str
    diff_ids: tuple[str, ...]
    references: tuple[str, ...]
    layers: tuple[str, ...]
    """Names of their blobs in the layout, lowest first."""
    files: tuple[tuple[str, int | None], ...]
    """Everything it needs, each with its size; None where its manifest does not say."""
    entry: Entry

    @property
    def uses(self) -> set[tuple[str, str]]:
        """What its blobs are for it, and their names: layers by diff_id, documents by their own name."""
        layers = set(zip(self.diff_ids, self.layers, strict=True))
        return layers | {(name, name) for name, _ in self.files if name not in self.layers}


class Listing:
    def __init__(self, files: Files, index: IndexFile, limits: Limits) -> None:
        self._files = files
        self._index = index
        self._limits = limits
        self._known: dict[str, list[ListedImage]] = {}
        self._warned: set[tuple[str, str]] = set()

    def whole(self) -> list[ListedImage]:
        """Entry by entry, so that one damaged image does not hide the others."""
        entries = {json.dumps(entry, sort_keys=True): entry for entry in self._index.entries()}
        known = {key: self._known.get(key) or self._read(entry) for key, entry in entries.items()}
        self._known = known
        size_of = cache(lambda name: self._files.size(path_of(name)))  # most images share most layers
        return [image for images in known.values() for image in images if self._is_whole(image, size_of)]

    def forget(self) -> None:
        """Read every manifest and config again when they are next asked for: their bytes may have rotted."""
        self._known = {}

    def _read(self, entry: Entry) -> list[ListedImage]:
        found = self._follow(entry)
        if not found.images and self._is_manifest_lost(entry) and self._index.restore_manifest(digest_of(entry)):
            found = self._follow(entry)
        if not found.images:
            self._warn(entry_name(entry) or str(entry.get("digest")), "; ".join(map(str, found.passed_over)))
        return [self._listed(located, entry) for located in found.images]

    def _follow(self, entry: Entry) -> Findings:
        try:
            return self._look(entry)
        except DependencyError:
            self._let_go_of_unreadable(entry)
            return self._look(entry)

    def _look(self, entry: Entry) -> Findings:
        found = Findings()
        read_oci(LayoutStore(self._files, index_bytes([entry])), self._limits, found)
        return found

    def _let_go_of_unreadable(self, entry: Entry) -> None:
        """One document that the disk does not give must not hide all images: it counts as missing from now on.

        Raises: DependencyError when it is not the document, but the disk.
        """
        manifest = read_own(self._files, blob_path(digest_of(entry)), self._limits.max_manifest_bytes)
        config = _config_named_in(manifest) if manifest else None
        if config is not None:
            read_own(self._files, blob_path(config), self._limits.max_config_bytes)

    def _listed(self, located: Located, entry: Entry) -> ListedImage:
        image = located.image
        manifest = blob_name(digest_of(entry))
        documents = ((manifest, self._files.size(path_of(manifest))), (blob_name(image.image_id), len(image.config)))
        files = (*documents, *zip(located.layers, located.sizes, strict=True))
        return ListedImage(image.image_id, image.diff_ids, image.references, located.layers, files, entry)

    def _is_manifest_lost(self, entry: Entry) -> bool:
        digest = digest_of(entry)
        return digest != "" and read_blob(self._files, digest, self._limits.max_manifest_bytes) is None

    def _is_whole(self, image: ListedImage, size_of: Callable[[str], int | None]) -> bool:
        for name, size in image.files:
            found = size_of(name)
            if found is None or found != (found if size is None else size):
                self._warn(" = ".join(image.references) or image.image_id, f"{name} has {found or 0} bytes of {size}")
                return False
        return True

    def _warn(self, image: str, problem: str) -> None:
        """Once for each problem: images are listed many times a day."""
        if (image, problem) not in self._warned:
            self._warned.add((image, problem))
            log.warning("image %s is not whole: %s", image, problem)


def _config_named_in(manifest: bytes) -> str | None:
    try:
        config = parse_object(manifest, "a manifest").get("config")
    except ContentError:
        return None
    digest = config.get("digest") if isinstance(config, dict) else None
    return digest if isinstance(digest, str) and _DIGEST.fullmatch(digest) else None
