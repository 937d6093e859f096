"""The local registry as the engine ``docker`` uses it: names and images over HTTP, bytes through the daemon."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager

from edge_module.engines.base import PresentImage
from edge_module.engines.registry import RegistryEngine
from edge_module.engines.registry_client import RegistryClient
from edge_module.engines.registry_contents import Place, RegistryContents
from edge_module.engines.registry_shared import RegistryShared

_GUESS = 4
"""A packed layer unpacks to about this many times its size."""


class LocalRegistry:
    def __init__(
        self, engine: RegistryEngine, client: RegistryClient, pull_address: str, shared: RegistryShared | None = None
    ) -> None:
        """Args:
        pull_address: ``HOST[:PORT]`` by which the daemon knows it: the module may know it by another.
        """
        self._engine = engine
        self._shared = shared or RegistryShared(None)
        self._contents = RegistryContents(client)
        self.pull_address = pull_address

    def no_collection(self) -> AbstractContextManager[None]:
        """While this is open no garbage is collected, which would take what is being pushed."""
        return self._shared.no_collection()

    def images(self) -> list[PresentImage]:
        return self._engine.images()

    def installation_id(self) -> str:
        return self._engine.installation_id()

    def name_image(self, image_id: str, reference: str) -> PresentImage:
        return self._engine.name_image(image_id, reference)

    def drop_damaged(self, diff_ids: Iterable[str]) -> tuple[str, ...]:
        return self._engine.drop_damaged(diff_ids)

    def remove_image(self, image_id: str) -> None:
        self._engine.remove_image(image_id)

    def where(self, image_id: str) -> tuple[str, str] | None:
        """(repository, digest of the manifest) by which an image can be pulled; None when it is not whole there."""
        place = self._place(image_id)
        return None if place is None else (place.repository, place.image.manifest)

    def unpacked_size(self, image_id: str) -> int:
        """About how many bytes it takes once it is pulled; 0 when it is not there."""
        place = self._place(image_id)
        layers = () if place is None else place.image.layers
        return sum(layer.blob.size * (_GUESS if layer.is_packed else 1) for layer in layers)

    def config(self, image_id: str) -> bytes | None:
        place = self._place(image_id)
        return None if place is None else self._contents.config(place)

    def _place(self, image_id: str) -> Place | None:
        places = [place for place in self._contents.places() if place.image.image_id == image_id]
        return next(iter(self._contents.whole(places)), None)
