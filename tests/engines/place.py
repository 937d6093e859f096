"""A place that keeps images, as the shared suite sees it: the engine under test, and what others do to the place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from edge_module.engines import Engine, PresentImage, Work
from tests.images import BuiltImage, Pack, plain


@dataclass(frozen=True)
class Pulled:
    """An image as whoever uses the place gets it."""

    config: bytes
    layers: tuple[bytes, ...]
    """Uncompressed."""


class Place(Protocol):
    def engine(self) -> Engine:
        """A new engine on what is there, as after a restart of the module; ``clean`` is not called."""

    def put(self, image: BuiltImage, pack: Pack = plain) -> None:
        """Another tool stores the image under its references, its layers packed so."""

    def damage(self, diff_id: str, data: bytes | None) -> None:
        """Exchange the stored bytes of a layer that is kept uncompressed; None: the file is gone."""

    def pull(self, reference: str, digest: str | None) -> Pulled:
        """The image under that name, by digest where there is one."""

    def leftovers(self) -> list[str]:
        """Scratch and half-written layers."""

    def cost(self) -> int:
        """Requests, or file operations, since the place was made."""


def sizes_of(image: BuiltImage) -> dict[str, int]:
    return {diff_id: len(tar) for diff_id, tar in zip(image.image.diff_ids, image.layers, strict=True)}


def write_layers(work: Work, image: BuiltImage, positions: Iterable[int]) -> None:
    """As an apply does: what is here already is not written."""
    for position in positions:
        diff_id, tar = image.image.diff_ids[position], image.layers[position]
        if work.has(diff_id):
            continue
        writer = work.begin(diff_id, len(tar))
        for at in range(0, len(tar), 64 * 1024):
            writer.write(tar[at : at + 64 * 1024])
        work.commit(diff_id)


def make(engine: Engine, image: BuiltImage, reference: str = "", sources: Iterable[BuiltImage] = ()) -> PresentImage:
    """The image, whole; under ``reference`` unless that is ""."""
    source_ids = [source.image_id for source in sources]
    with engine.begin(image.image_id, reference, sizes_of(image), source_ids) as work:
        write_layers(work, image, range(len(image.layers)))
        present = work.finish(image.image.config)
    return engine.name_image(image.image_id, reference) if reference else present


def listed(engine: Engine) -> Mapping[str, tuple[str, ...]]:
    """Image ID -> names of every image that is whole."""
    return {image.image_id: image.references for image in engine.images()}


def pulled(image: BuiltImage) -> Pulled:
    return Pulled(image.image.config, image.layers)


@contextmanager
def killed(place: Place, image: BuiltImage) -> Iterator[Work]:
    """A session that is never left: the process ends inside it. Only what is on the disk remains."""
    session = place.engine().begin(image.image_id, "app:1", sizes_of(image), ())
    yield session.__enter__()
    _NEVER_LEFT.append(session)


_NEVER_LEFT: list[object] = []
"""Else they would be left when they are collected."""
