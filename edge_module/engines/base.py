"""What the module asks of the place that keeps the device's images.

An image is made in a session, ``with engine.begin(...) as work``, layer after layer. It becomes visible when ``finish``
returns. It is then whole and durable under a name of the engine's own; ``name_image`` gives it the name people know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from imagedelta.delta.content import LayerReader
from imagedelta.errors import DependencyError

ENGINE_DISK, MODULE_DISK = "engine", "scratch"
"""Places that need room: the disk of the images; the disk of the module's own folder. An engine that keeps its images
in the module's folder names only that one, so that what goes to one disk is added up."""


class EngineDamaged(DependencyError):
    """The engine's own records are damaged and could not be repaired. No bundle is at fault."""

    code = "engine.damaged"


class LayersGone(DependencyError):
    """A layer that was here when the session began is here no more: the same work can start again at once."""

    code = "engine.layers_gone"


@dataclass(frozen=True)
class ImageName:
    """A name of an image that is here."""

    reference: str
    """``name:tag`` as people know it, without the address of a local registry."""
    digest: str | None
    """Of the manifest that a pull by digest under this name gets; None when there is none to pull."""


@dataclass(frozen=True)
class PresentImage:
    """An image that is whole here: its config and every layer, each of its size."""

    image_id: str
    diff_ids: tuple[str, ...]
    names: tuple[ImageName, ...]
    """By reference, each once. Empty: it has only the name of the engine's own."""

    @property
    def references(self) -> tuple[str, ...]:
        return tuple(name.reference for name in self.names)

    def digest_of(self, reference: str) -> str | None:
        """The digest under that name; under the first name that has one when it has no such name."""
        digests = {name.reference: name.digest for name in self.names}
        return digests.get(reference) or next(filter(None, digests.values()), None)


@dataclass(frozen=True)
class Need:
    """Bytes that one place has to have free."""

    place: str
    """``ENGINE_DISK`` or ``MODULE_DISK``."""
    bytes: int
    free: int | None
    """None: it cannot be known from here (a registry elsewhere)."""


class LayerWriter(Protocol):
    def write(self, data: bytes, /) -> int: ...


class Work(Protocol):
    """One image in the making: the sink of imagedelta.delta.apply_patch, and what it starts from.

    What is committed survives a kill, so that the next session for the same target goes on with the next layer.
    Leaving the session closes what it opened; a layer that is begun and not committed is dropped.
    """

    def has(self, diff_id: str) -> bool:
        """Whether ``finish`` can count on the layer: it is here or can be mounted, and its bytes have the digest.

        The bytes are read once in a session. Damaged ones are forgotten, so that the layer is made anew.
        """

    def begin(self, diff_id: str, size: int) -> LayerWriter:
        """Open a layer of ``size`` bytes for writing, front to back."""

    def commit(self, diff_id: str) -> None:
        """The bytes written since ``begin`` are verified: keep them, durably."""

    def abort(self, diff_id: str) -> None:
        """Drop what was written since ``begin``."""

    def find(self, diff_id: str) -> LayerReader:
        """A source layer, uncompressed, read anywhere; closed with the session.

        Raises:
            KeyError: No source image has the layer.
            SourceMissing: ``source.different``: it does not unpack to what its digest says.
        """

    def config(self, image_id: str) -> bytes:
        """Config JSON of a source image. Raises: KeyError when it is not here."""

    def finish(self, config: bytes) -> PresentImage:
        """Make the image visible, at once and durably, under a name of the engine's own.

        Raises: LayersGone when a layer that ``has`` promised is not there any more.
        """


class Engine(Protocol):
    """Every method may raise DependencyError (disk full, registry or daemon down): the job waits, the bundle is kept.

    EngineDamaged is one of them. No method takes a fault of the device for one of a bundle.
    """

    @property
    def name(self) -> str: ...

    def images(self) -> list[PresentImage]:
        """Every whole image, by image ID; damaged ones are left out."""

    def installation_id(self) -> str:
        """Random, kept on the disk that keeps the images: a replaced disk has another one."""

    def needs(self, target: str, sizes: Mapping[str, int], sources: Sequence[str]) -> list[Need]:
        """What a session with the same arguments takes of each place, beside the scratch of the patch itself."""

    def begin(
        self, target: str, reference: str, sizes: Mapping[str, int], sources: Sequence[str]
    ) -> AbstractContextManager[Work]:
        """A session for one image. Costs little: sources are opened, and layers read, when they are asked for.

        Args:
            target: Image ID.
            reference: ``name:tag`` it will get, which may decide where its blobs live; "" for none.
            sizes: diff_id -> bytes, of every layer of the target.
            sources: IDs of the images that layers and configs are read from.
        """

    def name_image(self, image_id: str, reference: str) -> PresentImage:
        """Give an image that is here one more name, durably. A name another image had moves; the other image stays.

        Raises: RequestError ``device.unknown_image``.
        """

    def drop_damaged(self, diff_ids: Iterable[str]) -> tuple[str, ...]:
        """Read the layers of these that are here; forget and return those whose bytes are not what they claim.

        Images that need a forgotten layer are whole no more.
        """

    def remove_image(self, image_id: str) -> None:
        """Forget an image, all its names and what only it needs. Raises: RequestError ``device.unknown_image``."""

    def collect(self) -> int:
        """Remove layers that no image needs, left by work that was given up; return the bytes this freed.

        Only while no bundle waits to be applied: its committed layers are among them.
        """

    def free_bytes(self) -> int | None:
        """Of the disk that keeps the images; None when it cannot be known from here."""

    def clean(self) -> None:
        """At start: remove what an interrupted run left half-written."""
