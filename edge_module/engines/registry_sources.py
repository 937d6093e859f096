"""Configs and layers of the images that a patch starts from, as they lie in the local registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from edge_module.engines.registry_client import RangeIgnored, RegistryClient
from edge_module.engines.registry_contents import HeldLayer, Place, RegistryContents
from edge_module.engines.registry_reader import BlobReader, Blocks, open_stream
from edge_module.engines.unpacked import HINT_BYTES, UnpackedLayers, unpacked_size
from imagedelta.delta.content import LayerReader

_TAIL_BYTES = 4
_T = TypeVar("_T")


class RegistrySources:
    """Opened when first asked for; packed layers are unpacked once into the scratch folder."""

    def __init__(
        self,
        client: RegistryClient,
        contents: RegistryContents,
        images: Sequence[str],
        unpacked: UnpackedLayers,
    ) -> None:
        """Args:
        images: IDs of those that may be read.
        """
        self._client = client
        self._contents = contents
        self._images = frozenset(images)
        self._unpacked = unpacked
        self._places = self._among(contents.recent())
        self._is_new = False
        self._blocks = Blocks()
        self._readers: dict[str, LayerReader] = {}

    def config(self, image_id: str) -> bytes:
        """Raises: KeyError when it is not here."""
        return self._looked_for(lambda: self._config(image_id))

    def find(self, diff_id: str) -> LayerReader:
        """Raises: KeyError; SourceMissing ``source.different``."""
        if diff_id not in self._readers:
            self._readers[diff_id] = self._looked_for(lambda: self._open(diff_id))
        return self._readers[diff_id]

    def _looked_for(self, look: Callable[[], _T]) -> _T:
        """What is not where it was a moment ago is looked for once more."""
        try:
            return look()
        except KeyError:
            if self._is_new:
                raise
            self._places, self._is_new = self._among(self._contents.places()), True
            return look()

    def _among(self, places: list[Place]) -> list[Place]:
        return [place for place in places if place.image.image_id in self._images]

    def _config(self, image_id: str) -> bytes:
        for place in self._places:
            if place.image.image_id == image_id:
                config = self._contents.config(place)
                if config is not None:
                    return config
        raise KeyError(image_id)

    def _open(self, diff_id: str) -> LayerReader:
        """Plain bytes before packed ones: they need no room."""
        for repository, layer in sorted(self._held(diff_id), key=lambda held: held[1].is_packed):
            if self._client.blob_size(repository, layer.blob.digest) == layer.blob.size:
                return self._unpack(repository, layer) if layer.is_packed else self._plain(repository, layer)
        raise KeyError(diff_id)

    def _held(self, diff_id: str) -> Iterator[tuple[str, HeldLayer]]:
        for place in self._places:
            for layer in place.image.layers:
                if layer.diff_id == diff_id:
                    yield place.repository, layer

    def _plain(self, repository: str, layer: HeldLayer) -> LayerReader:
        reader = BlobReader(self._client, repository, layer.blob, self._blocks)
        try:
            reader.read_at(0, min(1, reader.size))
        except RangeIgnored:
            return self._unpack(repository, layer)
        return reader

    def _unpack(self, repository: str, layer: HeldLayer) -> LayerReader:
        size = self._unpacked_size(repository, layer) if layer.is_packed else layer.blob.size
        return self._unpacked.reader(layer.diff_id, size, lambda: open_stream(self._client, repository, layer.blob))

    def _unpacked_size(self, repository: str, layer: HeldLayer) -> int:
        return hinted_size(self._client, repository, layer)


def hinted_size(client: RegistryClient, repository: str, layer: HeldLayer) -> int:
    """About how many bytes a packed layer unpacks to."""
    blob = layer.blob
    head, tail = min(HINT_BYTES, blob.size), min(_TAIL_BYTES, blob.size)
    try:
        first = client.read_range(repository, blob.digest, 0, head) if head else b""
        last = client.read_range(repository, blob.digest, blob.size - tail, tail) if tail else b""
    except RangeIgnored:
        first = last = b""
    return unpacked_size(first or b"", last or b"", blob.size)
