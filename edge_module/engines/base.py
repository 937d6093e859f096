"""What the module asks of the place that keeps the device's images."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from imagedelta.delta.content import LayerReader


@dataclass(frozen=True)
class PresentImage:
    """An image that is whole here: its config and every layer."""

    image_id: str
    diff_ids: tuple[str, ...]
    references: tuple[str, ...]
    local_digest: str | None
    """Of its manifest in the local registry; None when the engine has none that others can pull."""


class LayerWriter(Protocol):
    def write(self, data: bytes, /) -> int: ...


class SourceLayers(Protocol):
    """Configs of the images that are here, and random access to their layers, while an apply runs."""

    def find(self, diff_id: str) -> LayerReader:
        """Raises: KeyError when no image here has the layer."""

    def config(self, image_id: str) -> bytes:
        """Raises: KeyError when the image is not here."""


class Engine(Protocol):
    """Every method may raise DependencyError (disk full, registry or daemon down): the job is blocked, not lost.

    It is also the sink of imagedelta.delta.apply_patch: ``has_layer`` to ``abort_layer``. What a sink has
    committed survives a kill, so that an apply goes on with the next layer.
    """

    @property
    def name(self) -> str: ...

    def images(self) -> list[PresentImage]:
        """Every whole image; damaged ones are left out."""

    def installation(self) -> tuple[str, int]:
        """(installationId, inventory sequence): random, kept on the disk that keeps the images."""

    def next_inventory(self) -> tuple[str, int]:
        """The same with the sequence grown by one, durably."""

    def open_sources(self) -> AbstractContextManager[SourceLayers]: ...

    def has_layer(self, diff_id: str) -> bool: ...

    def begin_layer(self, diff_id: str, size: int) -> LayerWriter: ...

    def commit_layer(self, diff_id: str) -> None:
        """The bytes written since ``begin_layer`` are verified: keep them, durably."""

    def abort_layer(self, diff_id: str) -> None: ...

    def add_image(self, config: bytes, diff_ids: tuple[str, ...], reference: str) -> PresentImage:
        """Make an image of committed layers visible, at once and durably; ``reference`` "" leaves it unnamed.

        A name that another image had moves; the other image stays.
        """

    def name_image(self, image_id: str, reference: str) -> PresentImage:
        """Give an image that is here one more name, durably."""

    def drop_damaged(self, diff_ids: Iterable[str]) -> tuple[str, ...]:
        """Read the layers of these that are here; forget and return those whose bytes are not what they claim.

        Images that need a forgotten layer are whole no more.
        """

    def remove_image(self, image_id: str) -> None:
        """Forget an image and what only it needs. Raises: RequestError ``device.unknown_image``."""

    def extra_bytes(self, source_image_ids: Iterable[str]) -> int:
        """Disk, in bytes, that opening these sources takes besides the new layers."""

    def free_bytes(self) -> int:
        """Of the disk that keeps the images."""

    def clean(self) -> None:
        """At start: remove what an interrupted run left half-written."""
