"""One image in the making in a layout: new layers go to ``ingest`` and move, whole, to the blobs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from edge_module.engines.base import LayersGone, LayerWriter, PresentImage
from edge_module.engines.layout_listing import ListedImage
from edge_module.engines.layout_store import (
    FOLDER,
    LayoutStore,
    blob_path,
    has_its_bytes,
    is_packed,
    path_of,
    read_blob,
)
from edge_module.engines.port_reader import PortReader
from edge_module.engines.unpacked import HINT_BYTES, UnpackedLayers, unpacked_size
from edge_module.files import Files, FileWriter, move_durably
from imagedelta.archives.model import Image, hex_of, image_from_config
from imagedelta.delta.content import LayerReader
from imagedelta.errors import DigestMismatch
from imagedelta.limits import Limits

INGEST = f"{FOLDER}/ingest"
log = logging.getLogger("imagedelta.layout")


@dataclass(frozen=True)
class LayoutTask:
    """What a session is for."""

    target: str
    sizes: Mapping[str, int]
    sources: Callable[[], Sequence[ListedImage]]
    """The source images that are whole here."""
    add: Callable[[Image, Sequence[int]], PresentImage]
    """Lists an image whose layers are all here, with their sizes."""


class LayoutWork:
    def __init__(self, files: Files, limits: Limits, task: LayoutTask) -> None:
        self._files = files
        self._limits = limits
        self._task = task
        self._unpacked = UnpackedLayers(files, limits)
        self._sources: Sequence[ListedImage] | None = None
        self._readers: dict[str, PortReader] = {}
        self._writers: dict[str, FileWriter] = {}
        self._sound: dict[str, bool] = {}

    def has(self, diff_id: str) -> bool:
        if diff_id not in self._sound:
            self._sound[diff_id] = self._is_sound(diff_id)
        return self._sound[diff_id]

    def begin(self, diff_id: str, size: int) -> LayerWriter:
        writer = self._files.create(_ingest(diff_id))
        self._writers[diff_id] = writer
        return writer

    def commit(self, diff_id: str) -> None:
        """A commit that fails has not happened: leaving the session drops what it was of."""
        self._writers[diff_id].sync()
        self._writers[diff_id].close()
        move_durably(self._files, _ingest(diff_id), blob_path(diff_id))
        del self._writers[diff_id]
        self._sound[diff_id] = True

    def abort(self, diff_id: str) -> None:
        writer = self._writers.pop(diff_id, None)
        if writer is not None:
            writer.close()
        self._files.remove(_ingest(diff_id))

    def find(self, diff_id: str) -> LayerReader:
        names = {
            layer: name
            for source in self._source_images()
            for layer, name in zip(source.diff_ids, source.layers, strict=True)
            if layer == diff_id
        }
        name = names[diff_id]
        if not is_packed(name, diff_id):
            return self._plain(diff_id, path_of(name))
        if self._files.size(blob_path(diff_id)) is not None and self.has(diff_id):
            return self._plain(diff_id, blob_path(diff_id))
        size = packed_size(self._files, name)
        return self._unpacked.reader(diff_id, size, lambda: LayoutStore(self._files).packed(name))

    def config(self, image_id: str) -> bytes:
        if all(source.image_id != image_id for source in self._source_images()):
            raise KeyError(image_id)
        config = read_blob(self._files, image_id, self._limits.max_config_bytes)
        if config is None:
            raise KeyError(image_id)
        return config

    def finish(self, config: bytes) -> PresentImage:
        image = image_from_config(config, (), self._limits)
        if image.image_id != self._task.target:
            raise DigestMismatch(f"the config of image {image.image_id} came out where {self._task.target} was to be")
        return self._task.add(image, [self._size_of(diff_id) for diff_id in image.diff_ids])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for reader in self._readers.values():
            reader.close()
        if error is None or isinstance(error, Exception):  # else the process ends, and leaves this to the next start
            for diff_id in list(self._writers):
                self.abort(diff_id)
            self._unpacked.close()

    def _is_sound(self, diff_id: str) -> bool:
        size = self._files.size(blob_path(diff_id))
        if size is None:
            return False
        if size == self._task.sizes.get(diff_id, size) and has_its_bytes(self._files, diff_id):
            return True
        log.error("layer %s is damaged on this disk and is forgotten", diff_id)
        self._files.remove(blob_path(diff_id))
        return False

    def _plain(self, diff_id: str, path: str) -> PortReader:
        if diff_id not in self._readers:
            try:
                self._readers[diff_id] = PortReader(self._files, path)
            except FileNotFoundError:
                raise KeyError(diff_id) from None
        return self._readers[diff_id]

    def _source_images(self) -> Sequence[ListedImage]:
        if self._sources is None:
            self._sources = self._task.sources()
        return self._sources

    def _size_of(self, diff_id: str) -> int:
        size = self._files.size(blob_path(diff_id))
        if size is None or size != self._task.sizes.get(diff_id, size):
            self._sound.pop(diff_id, None)
            raise LayersGone(f"layer {diff_id} is not here any more")
        return size


def packed_size(files: Files, name: str) -> int:
    """About how many bytes the packed blob ``name`` unpacks to."""
    size = files.size(path_of(name)) or 0
    with files.open(path_of(name)) as stream:
        head = stream.read(HINT_BYTES)
        stream.seek(max(0, size - 4))
        return unpacked_size(head, stream.read(4), size)


def _ingest(diff_id: str) -> str:
    return f"{INGEST}/{hex_of(diff_id)}"
