"""Registered images as the delta engine reads them: indexes whole, layer bytes by Range."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import BinaryIO

from contracts.records import LayerRecord
from imagedelta.delta.content import ImageContent, LayerContent, check_range
from imagedelta.errors import RequestError, Truncated
from imagedelta.limits import DEFAULT_LIMITS
from imagedelta.signatures import LayerIndex
from services.deps import Deps


class BlobLayer:
    """Random access to a stored layer; several threads of a build may share it."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self.size = size

    def read_at(self, offset: int, length: int) -> bytes:
        """Raises: ContentError for bytes the layer does not have; DependencyError."""
        check_range(offset, length, self.size)
        parts = []
        with self._lock:
            self._stream.seek(offset)
            while length:
                part = self._stream.read(length)
                if not part:
                    raise Truncated(f"a stored layer ends {length} bytes early")
                parts.append(part)
                length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def read_index(deps: Deps, layer: LayerRecord) -> LayerIndex:
    """Raises: ContentError when the stored file index is missing or damaged; DependencyError."""
    data = deps.blobs.read("indexes", layer.index.removeprefix("sha256:"), 0, DEFAULT_LIMITS.max_index_bytes)
    return LayerIndex.from_bytes(data)


class StoredImages:
    """Opens images; their layer streams stay open until ``exits`` closes them. A shared layer is opened once."""

    def __init__(self, deps: Deps, exits: ExitStack) -> None:
        self._deps = deps
        self._exits = exits
        self._layers: dict[str, LayerContent] = {}

    def open(self, image_id: str) -> ImageContent:
        """Raises: RequestError ``request.unknown_image``; ContentError ``content.missing``."""
        image = self._deps.store.images.image(image_id)
        if image is None:
            raise RequestError(f"{image_id} is not registered", code="request.unknown_image")
        known = self._deps.store.images.known_layers(image.diff_ids)
        layers = tuple(self._layer(known[diff_id]) for diff_id in image.diff_ids)
        return ImageContent(image.image_id, image.config, layers)

    def _layer(self, record: LayerRecord) -> LayerContent:
        if record.diff_id not in self._layers:
            stream = self._exits.enter_context(self._deps.blobs.open("layers", record.diff_id.removeprefix("sha256:")))
            index = read_index(self._deps, record)
            self._layers[record.diff_id] = LayerContent(index, BlobLayer(stream, record.size))
        return self._layers[record.diff_id]
