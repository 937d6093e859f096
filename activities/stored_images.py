"""Registered images as the delta engine reads them: indexes whole, layer bytes by Range."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.records import LayerRecord
from imagedelta.delta.content import ImageContent, LayerContent, check_range
from imagedelta.errors import RequestError
from imagedelta.limits import DEFAULT_LIMITS
from imagedelta.signatures import LayerIndex
from services.deps import Deps
from services.ports import Blobs


@dataclass(frozen=True, slots=True)
class BlobLayer:
    """Random access to a stored layer, for as many threads as a build has."""

    blobs: Blobs
    name: str
    size: int

    def read_at(self, offset: int, length: int) -> bytes:
        """Raises: ContentError for bytes the layer does not have; DependencyError."""
        check_range(offset, length, self.size)
        return self.blobs.read_at("layers", self.name, offset, length)


def read_index(deps: Deps, layer: LayerRecord) -> LayerIndex:
    """Raises: ContentError when the stored file index is missing or damaged; DependencyError."""
    data = deps.blobs.read("indexes", layer.index.removeprefix("sha256:"), 0, DEFAULT_LIMITS.max_index_bytes)
    return LayerIndex.from_bytes(data)


class StoredImages:
    """Opens images; the index of a shared layer is read once."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
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
            reader = BlobLayer(self._deps.blobs, record.diff_id.removeprefix("sha256:"), record.size)
            self._layers[record.diff_id] = LayerContent(read_index(self._deps, record), reader)
        return self._layers[record.diff_id]
