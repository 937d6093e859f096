"""A registry in memory: images by reference, calls counted, links that break in a layer."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import BinaryIO

from imagedelta.archives import Image
from imagedelta.archives.findings import PassedOver
from imagedelta.archives.layer_stream import verified_stream
from imagedelta.errors import DependencyError, RequestError
from imagedelta_registry.manifests import Blob, Choice, for_machines
from services.ports import ImageSource
from tests.images import BuiltImage
from tests.simulators.calls import Calls

_PIECE = 64 * 1024


class RegistrySimulator:
    """The port ``Registry``."""

    def __init__(self) -> None:
        self.calls = Calls()
        self.break_after: int | None = None
        """Bytes after which the next layer's link breaks for good."""
        self.bytes_read = 0
        self._images: dict[str, tuple[BuiltImage, ...]] = {}

    def push(self, reference: str, *images: BuiltImage) -> None:
        """Several are for several platforms."""
        self._images[reference] = images

    def open(self, reference: str, machines: Sequence[Sequence[str]]) -> ImageSource:
        with self.calls.call("open"):
            if reference not in self._images:
                raise RequestError(f"{reference} is not in the registry", code="request.no_image")
            images = self._images[reference]
            if len(images) > 1:
                choices = [Choice(Blob(built.image_id, 0), built.image.platform) for built in images]
                taken = [choice.blob.digest for choice in for_machines(machines)(choices)]
                images = tuple(built for built in images if built.image_id in taken)
            return _Source(self, images)


class _Source:
    def __init__(self, registry: RegistrySimulator, built: Sequence[BuiltImage]) -> None:
        self._registry = registry
        self._layers = {each.image_id: each.layers for each in built}
        self.images: Sequence[Image] = [each.image for each in built]
        self.passed_over: Sequence[PassedOver] = ()

    def open_layer(self, image: Image, position: int) -> BinaryIO:
        with self._registry.calls.call("open_layer"):
            stream = io.BytesIO(self._layers[image.image_id][position])
            return verified_stream(iter(lambda: self._piece(stream), b""), image.diff_ids[position], stream.close)

    def _piece(self, stream: io.BytesIO) -> bytes:
        end = self._registry.break_after
        if end is not None and stream.tell() >= end:
            self._registry.break_after = None
            raise DependencyError("the link broke", code="dependency.registry")
        data = stream.read(_PIECE)
        self._registry.bytes_read += len(data)
        return data
