"""A registry in memory: images by reference, blobs by digest, calls counted, links that break in a blob."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from imagedelta.errors import ContentError, DependencyError, DigestMismatch, RequestError
from services.ports import RegistryBlob, RegistryImage
from tests.images import BuiltImage
from tests.simulators.calls import Calls

_PIECE = 1 << 20


class RegistrySimulator:
    """The port ``Registry``; layers are stored as they are, without packing."""

    def __init__(self) -> None:
        self.calls = Calls()
        self.blobs: dict[str, bytes] = {}
        self.break_after: int | None = None
        """Bytes after which the next blob's link breaks."""
        self._images: dict[str, dict[str, RegistryImage]] = {}

    def push(self, reference: str, *images: BuiltImage) -> None:
        self._images[reference] = {
            built.image.platform: RegistryImage(
                config=self._keep(built.image.config), layers=tuple(self._keep(layer) for layer in built.layers)
            )
            for built in images
        }

    def resolve(self, reference: str) -> Mapping[str, RegistryImage]:
        with self.calls.call("resolve"):
            if reference not in self._images:
                raise RequestError(f"{reference} is not in the registry", code="request.unknown_image")
            return dict(self._images[reference])

    def read_blob(self, reference: str, blob: RegistryBlob, offset: int = 0) -> Iterator[bytes]:
        with self.calls.call("read_blob"):
            self.resolve(reference)
            if blob.digest not in self.blobs:
                raise ContentError(f"{reference} has no blob {blob.digest}", code="content.missing")
            data, end, self.break_after = self.blobs[blob.digest], self.break_after, None
            if offset == 0 and end is None and _digest(data) != blob.digest:
                raise DigestMismatch(f"{reference}: {blob.digest} holds other bytes")
        for start in range(offset, len(data) if end is None else offset + end, _PIECE):
            yield data[start : start + _PIECE if end is None else min(start + _PIECE, offset + end)]
        if end is not None:
            raise DependencyError(f"{reference}: the link broke")

    def _keep(self, data: bytes) -> RegistryBlob:
        self.blobs[_digest(data)] = data
        return RegistryBlob(_digest(data), len(data))


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
